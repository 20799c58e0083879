"""Test filetop against a program that reads and writes in every manner, beside what /proc/PID/io counts."""

from __future__ import annotations

import json
import subprocess

import pytest

from support.cli import run, start, stop
from support.file_work import COUNT, DONE, command
from support.needs import running, was_refused
from support.workloads import workload

pytestmark = pytest.mark.kernel


def run_workload(tmp_path, *words):
    """Return the result, and the kernel's counts of the program during the run."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command(tmp_path), stdin=pipe, stderr=pipe, text=True) as process:
        tracer = start("filetop", "-f", "json", 60, "-p", process.pid, *words)
        _, report = process.communicate("\n")
        result = stop(tracer)
    assert result.status == 0, result.err
    assert {row.get("pid", process.pid) for row in result.of("summary")} == {process.pid}
    return result, json.loads(report)


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", ["raw-tracepoint", pytest.param("tracepoint", marks=pytest.mark.smoke)]
)
def test_each_read_and_write_of_each_file(alternative, tmp_path):
    result, _ = run_workload(tmp_path, "--hook", f"return={alternative}")
    rows = result.of("summary")
    actual = {
        row["file"]: (row["reads"], row["writes"], row["read_bytes"], row["write_bytes"])
        for row in rows
        if row["file"] in DONE
    }
    names = {name: tuple(COUNT * number for number in completed) for name, completed in DONE.items()}
    assert actual.keys() == names.keys()
    assert all(
        actual_count <= kernel_count
        for name in names
        for actual_count, kernel_count in zip(actual[name], names[name], strict=True)
    )
    assert sum(sum(names[name][:2]) - sum(actual[name][:2]) for name in names) <= result.missed
    assert actual == names or result.missed
    assert {row["inode"] for row in rows} >= {(tmp_path / name).stat().st_ino for name in DONE}


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ["tracepoint", "tracepoint-sqe"])
def test_reads_and_writes_by_io_uring(alternative, tmp_path):
    """The rows belong to the process that submits; completions run in any task."""
    hook = ["--hook", f"ring_file={alternative}"]
    if was_refused(run("filetop", "--dry-run", *hook), {"ring_file": alternative}):
        return
    file = tmp_path / "ring\x1b"
    result = run("filetop", "-f", "json", *hook, "--", workload("rings"), "files", 23, file)
    assert result.status == 0, result.err
    rows = [row for row in result.of("summary") if row["file"] == file.name]
    actual_count = [
        (row["comm"], row["reads"], row["writes"], row["read_bytes"], row["write_bytes"]) for row in rows
    ]
    has_requests = not running().excuse("requests in the events of io_uring")
    assert actual_count == ([("rings", 23, 23, 23 * 16, 23 * 16)] if has_requests else [])


def test_without_the_events_of_io_uring(tmp_path):
    words = ["--hook", "ring_file=none", "--", workload("rings"), "files", 23, tmp_path / "file"]
    result = run("filetop", "-f", "json", *words)
    assert result.status == 0, result.err
    assert not [row for row in result.of("summary") if row["file"] == "file"]


def test_the_kernel_counts_the_same_bytes(tmp_path):
    result, kernel_counts = run_workload(tmp_path, "--all", "--by", "pid")
    assert not result.of("loss")
    [row] = result.of("summary")
    # Beside it, the program reads the line that lets it begin, and its counters, of which the
    # kernel has counted the first; and writes the report.
    start = len("\n")
    report = len(json.dumps(kernel_counts))
    proc = row["read_bytes"] - kernel_counts["rchar"] - start
    assert 0 < proc < 1000
    assert row["write_bytes"] - kernel_counts["wchar"] == report


def test_pipes_are_requested(tmp_path):
    result, _ = run_workload(tmp_path, "--all", "--by", "file")
    assert not result.of("loss")
    rows = result.of("summary")
    pipes = [row for row in rows if row["type"] == "pipe" and row["reads"] and row["writes"]]
    assert (sum(row["reads"] for row in pipes), sum(row["read_bytes"] for row in pipes)) == (COUNT, 5 * COUNT)


def test_hostile_names_stay_on_their_line_and_rows_that_do_not_fit_are_lost(tmp_path):
    words = ["--", "sh", "-c", 'f="$1"; shift; echo | "$@" 2>"$f"', "sh", tmp_path / "report"]
    text = run("filetop", *words, *command(tmp_path)).out
    assert "\x1b" not in text
    assert r"read\n\x1b[2J" in text
    result = run("filetop", "-f", "json", "--max-rows", 1, "--by", "file", *words, *command(tmp_path))
    rows = result.of("summary")
    assert 1 <= len(rows) < len(DONE)  # one a second: the map is emptied as often
    lost = sum(loss["lost"] for loss in result.of("loss") if loss["reason"] == "map_full")
    shown_operations = sum(row["reads"] + row["writes"] for row in rows)
    assert lost
    assert shown_operations + lost >= COUNT * sum(sum(completed[:2]) for completed in DONE.values())
