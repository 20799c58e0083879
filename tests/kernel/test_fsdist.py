"""Test fsdist against a program that reads and writes in every manner, on a file system of the test's own."""

from __future__ import annotations

import pytest

from support.cli import run
from support.file_work import COUNT, OPERATIONS, command
from support.filesystems import mounted
from support.workloads import workload

pytestmark = pytest.mark.kernel
EXPECTED = {
    kind: COUNT * sum(number for (_, which, _), number in OPERATIONS.items() if which == kind)
    for kind in ("open", "read", "write", "sync")
}


def histograms(tmp_path, *words):
    with mounted(tmp_path) as folder:
        script = 'echo | exec "$@"'
        run_words = [
            "-f",
            "json",
            "--comm",
            "python",
            *words,
            "--",
            "sh",
            "-c",
            script,
            "sh",
            *command(folder),
        ]
        result = run("fsdist", *run_words)
    assert result.status == 0, result.err
    return result.of("summary"), result.missed


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", ["raw-tracepoint", pytest.param("tracepoint", marks=pytest.mark.smoke)]
)
def test_each_operation_is_in_one_bucket(alternative, tmp_path):
    rows, missed = histograms(tmp_path, "--by", "fs,operation", "--hook", f"return={alternative}")
    actual = {row["operation"]: row["operations"] for row in rows if row["fs"] == "ext4"}
    # Python opens and reads files of its own before, which may be on ext4 as well.
    assert all(actual[kind] <= EXPECTED[kind] for kind in ("write", "sync"))
    assert sum(max(EXPECTED[kind] - actual[kind], 0) for kind in EXPECTED) <= missed
    for row in rows:
        assert sum(bucket["count"] for bucket in row["latency_ns"]) == row["operations"]
        assert row["avg_ns"] <= row["max_ns"] <= row["total_ns"]


def test_latencies_are_counted_by_process_and_name(tmp_path):
    rows, missed = histograms(tmp_path, "--by", "pid,comm,operation")
    [row] = [row for row in rows if row["operation"] == "sync"]
    assert row["comm"] == "python"
    assert COUNT - missed <= row["operations"] <= COUNT


def test_operations_by_io_uring(tmp_path):
    with mounted(tmp_path) as folder:
        words = ["--by", "fs,operation,comm", "--", workload("rings"), "files", 23, folder / "ring"]
        result = run("fsdist", "-f", "json", *words)
    assert result.status == 0, result.err
    rows = {
        row["operation"]: row for row in result.of("summary") if (row["fs"], row["comm"]) == ("ext4", "rings")
    }
    assert {name: rows[name]["operations"] for name in ("write", "sync")} == {"write": 23, "sync": 2}
    assert rows["read"]["operations"] >= 23  # and reads of libraries, if they are on ext4
