"""Test dcstat against files that are there, and those that are not, looked up once and again."""

from __future__ import annotations

import pytest

from support.cli import run
from support.filesystems import mounted
from support.needs import was_refused
from support.renamed_process import named_rows

pytestmark = pytest.mark.kernel
# Each path is one part, so that each call is one look-up. What is looked for the first time is not cached.
BEFORE = """
def look(name):
    try:
        os.stat(name)
    except FileNotFoundError:
        pass
os.stat("there")
"""
WORK = """
for turn in range(2):
    for number in range(101):
        look(f"missing{number}")
for turn in range(23):
    os.stat("there")
"""


@pytest.mark.lab
@pytest.mark.parametrize("alternative", [pytest.param("fexit", marks=pytest.mark.smoke), "kprobe"])
def test_misses_then_negative_entries(alternative, tmp_path):
    hook = ["--hook", f"looked_up={alternative}"]
    if was_refused(run("dcstat", "--dry-run", *hook), {"looked_up": alternative}):
        return
    with mounted(tmp_path) as folder:
        (folder / "there").touch()
        [row], _, text = named_rows("dcstat", folder, WORK, *hook, before=BEFORE)
    names = {name: row[name] for name in ("lookups", "hits", "negative", "misses", "miss_percent")}
    # Found not to exist, each is remembered: the second time the file system is not asked.
    assert names == {"lookups": 225, "hits": 23, "negative": 101, "misses": 101, "miss_percent": 44}
    assert "\x1b" not in text
