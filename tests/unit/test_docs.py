"""The generated parts of the docs are what the code says, and what the docs link to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytracer.cli import main
from pytracer.enrich import decoders
from pytracer.spec import Option, Probe

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_generated_parts_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "record", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_no_merge_was_left_half_done():
    pages = [*PAGES, ROOT / "CHANGELOG.md"]
    assert [page.name for page in pages if re.search(r"^(<{7}|={7}|>{7})( |$)", page.read_text(), re.M)] == []


def test_options_in_the_readme_exist():
    text = (ROOT / "docs" / "tracers.md").read_text() + main._usage()
    for option in re.findall(r"`(--[a-z-]+)", (ROOT / "README.md").read_text()):
        assert option in text, option


def test_the_guide_names_every_include_decoder_probe_and_option():
    text = (ROOT / "docs" / "writing-tracers.md").read_text()
    probes = {cls.__name__ for cls in subclasses(Probe) if cls.__module__.startswith("pytracer.spec")}
    options = {cls.__name__ for cls in subclasses(Option)}
    includes = {path.name for path in (ROOT / "probes_c" / "include").glob("*.h")}
    bases = {"Kprobes", "UserProbe", "OnInterface", "OnCgroup"}
    for name in (probes - bases) | options | includes | set(decoders({})):
        assert f"`{name}" in text or f" {name}(" in text, name


def subclasses(cls):
    return {sub for child in cls.__subclasses__() for sub in (child, *subclasses(child))}
