"""The generated parts of the docs are what the code says, and what the docs link to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    text = (ROOT / "docs" / "tracers.md").read_text()
    for option in re.findall(r"`(--[a-z-]+)", (ROOT / "README.md").read_text()):
        assert option in text, option
