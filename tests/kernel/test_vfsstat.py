"""Test vfsstat against known numbers of calls, beside those that the kernel counts (/proc/PID/io)."""

from __future__ import annotations

import pytest

from support.cli import run
from support.filesystems import mounted
from support.needs import was_refused
from support.renamed_process import named_rows

pytestmark = pytest.mark.kernel
WORK = """
file = os.open("file", os.O_CREAT | os.O_RDWR)
for number in range(23):
    os.write(file, b"12345")
for number in range(19):
    os.pread(file, 5, 0)
for number in range(5):
    os.fsync(file)
for number in range(7):
    os.close(os.open(f"made{number}", os.O_CREAT | os.O_WRONLY))
os.rename("made0", "moved")
os.rename("made1", "made2")
for number in range(3):
    os.mkdir(f"folder{number}")
    os.rmdir(f"folder{number}")
os.unlink("moved")
os.unlink("made2")
os.unlink("file")
for name in ("made3", "made4", "made5", "made6"):
    os.unlink(name)
"""


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ["fentry", pytest.param("kprobe", marks=pytest.mark.smoke)])
def test_each_call_is_counted(alternative, tmp_path):
    hook = ["--hook", f"called={alternative}"]
    if was_refused(run("vfsstat", "--dry-run", *hook), {"called": alternative}):
        return
    with mounted(tmp_path) as folder:  # an overlay calls the functions once more, of the file system below it
        [row], counts, text = named_rows("vfsstat", folder, WORK, *hook)
    # The write that takes the name away begins under it; the one that gives it does not.
    names = {name: row[name] for name in row if name.endswith("s") and name not in ("kind", "seconds")}
    expected = {"reads": 19, "writes": 24, "opens": 8, "unlinks": 7, "renames": 2}
    assert names == expected | {"mkdirs": 3}
    assert row["writes"] + 1 == counts["syscw"]
    assert row["reads"] <= counts["syscr"]  # which has those of the counters themselves
    assert "\x1b" not in text
