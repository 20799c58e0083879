"""The generated parts of the docs are what the code says, and what the docs link to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytracer.bpf.cache import image_cache
from pytracer.budget import RUN, USER, Limits
from pytracer.cli import main
from pytracer.enrich import decoders
from pytracer.kernel import filter_values
from pytracer.spec import Option, Probe
from pytracer.symbols import debuginfod, demangle, dwarf, entries, maps, tables

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


def test_the_budgets_are_those_of_the_code():
    def row(what: str, text: Callable[[Limits], str]) -> str:
        return f"| {what} | {text(USER)} | {text(RUN)} |"

    page = (ROOT / "docs" / "security.md").read_text()
    for line in (
        row(
            "CPU time (`cpu`, and `share` of the run's time)",
            lambda one: f"{one.cpu:g} s, {100 * one.share:g} %",
        ),
        row("waiting for debuginfod (`wait`)", lambda one: f"{one.wait:g} s"),
        row("memory that is kept (`memory`)", lambda one: f"{one.memory >> 20} MiB"),
        row("symbols, lines of perf maps, mappings (`entries`)", lambda one: f"{one.entries:,}"),
        f"| one table of an ELF file | {tables.TABLE_LIMIT >> 20} MiB | `symbols/tables.py` |",
        f"| a name | {tables.NAME_LIMIT:,} bytes | `symbols/tables.py` |",
        f"| debug information, unpacked | {dwarf._LIMIT >> 20} MiB | `symbols/dwarf.py` |",
        f"| a file from a debuginfod server | {debuginfod._LIMIT >> 30} GiB, {debuginfod._PATIENCE:g} s "
        "| `symbols/debuginfod.py` |",
        f"| mappings with code of one process | {maps.RANGES:,} | `symbols/maps.py` |",
        f"| demangling a batch of names | {demangle._SECONDS} s of CPU, 512 MiB, in a process of its own "
        "| `symbols/demangle.py` |",
        f"| images that are kept | {image_cache.MAX_IMAGES}, {image_cache.MAX_BYTES >> 20} MiB "
        "| `bpf/cache/image_cache.py` |",
    ):
        assert line in page
    assert f"is charged as {entries.WEIGHT} entries" in page
    assert f"a cgroup as {filter_values._CGROUP}\n" in page
