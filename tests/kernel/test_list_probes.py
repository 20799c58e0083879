"""Test list-probes against what funccount then attaches to."""

from __future__ import annotations

import re
import subprocess

import pytest

from support.cli import run
from support.workloads import workload

pytestmark = pytest.mark.kernel


@pytest.mark.lab
def test_trace_events_and_their_fields():
    listed = run("list-probes", "t:sched:sched_process_f*", "rt:sched_process_fork", "-f", "json")
    assert listed.status == 0, listed.err
    by_name = {record["name"]: record for record in listed.of("probe")}
    assert {"t:sched:sched_process_fork", "rt:sched_process_fork"} <= set(by_name)
    fork = by_name["t:sched:sched_process_fork"]
    assert fork["alternatives"] == ["tracepoint"]
    assert "pid_t child_pid" in fork["fields"]
    assert not any("common_" in field for field in fork["fields"])
    assert by_name["rt:sched_process_fork"]["alternatives"][0] == "raw-tracepoint"


@pytest.mark.lab
def test_functions_and_alternatives_equal_those_of_funccount():
    listed = run("list-probes", "k:vfs_re*d", "f:vfs_read", "-f", "json")
    assert listed.status == 0, listed.err
    by_name = {record["name"]: record["alternatives"] for record in listed.of("probe")}
    assert {"k:vfs_read", "f:vfs_read"} <= set(by_name)
    for name in ("k:vfs_read", "f:vfs_read"):
        planned = run("funccount", "--dry-run", name)
        alternative = re.search(r"^hook +\w+: ([\w-]+)", planned.out, re.M)
        assert (alternative[1] if alternative else None) == next(iter(by_name[name]), None), planned.err
        if alternative is None:
            assert re.search(f"{name[0]}:vfs_\\S+: not .*: .+", listed.err)


@pytest.mark.lab
def test_probes_of_a_process_are_listed():
    program = workload("marks")
    with subprocess.Popen([program, "forms", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            listed = run("list-probes", "-p", process.pid, "-f", "json")
            functions = run(
                "list-probes", "-p", f"{process.pid},{process.pid}", "u:marks:work*", "-f", "json"
            )
        finally:
            process.kill()
    assert listed.status == functions.status == 0, listed.err
    arguments = {record["name"]: record["fields"] for record in listed.of("probe")}
    assert arguments["usdt:forms:nowhere"] == ["u64 arg1", "u64 arg2"]
    assert arguments["usdt:forms:bare"] == []
    assert {record["name"] for record in functions.of("probe")} == {"u:marks:work", "u:marks:work_more"}
    assert len(functions.of("probe")) == 2


def test_without_a_pattern_a_process_is_needed():
    assert "needs a pattern, or a process" in run("list-probes").err


@pytest.mark.parametrize(
    ("pattern", "status", "message"),
    [
        ("k:vfs_reed", 2, "did you mean vfs_read"),
        ("t:nothing:*", 2, "no trace event"),
        ("k:vfs-read", 2, "at character 6"),
    ],
)
def test_missing_names(pattern, status, message):
    listed = run("list-probes", pattern)
    assert listed.status == status
    assert message in listed.err
