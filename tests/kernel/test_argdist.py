"""Test argdist on a workload of the test's own: how often each value occurs, to the last call."""

from __future__ import annotations

from collections import Counter

import pytest

from pytracer.plan.attach_targets import ALTERNATIVES
from support.cli import finish, start
from support.spec_workload import NAME, NUMBERS, TIMES, file_in, run_spec
from support.uprobes import Program
from support.workloads import workload

pytestmark = [pytest.mark.kernel, pytest.mark.lab]


@pytest.fixture
def path(tmp_path):
    return file_in(tmp_path)


def run_argdist(path, *words):
    """Return the rows of a run; None if this kernel refuses and may do so."""
    result = run_spec("argdist", path, *words)
    if result is None:
        return None
    assert not result.of("loss")
    return result.of("summary")


@pytest.mark.smoke
def test_values_are_counted_to_the_last(path):
    program = workload("argcalls")
    rows = run_argdist(
        path,
        "-C",
        f"p:{program}:work(int n, char *t, u64 big, short less):int,char*,int:n%3,t,less:n<20#some",
        f"p:{program}:work(int n)::n%5,$comm",
        f"r:{program}:deep()",
        't:syscalls:sys_enter_openat():int:flags & 3:STRCMP("/no/such/7", filename)',
    )
    rows_of_some = {
        (row["n%3"], row["t"], row["less"]): row["count"] for row in rows if row["probe"] == "some"
    }
    assert rows_of_some == {(i % 3, f"text {i}", -i): 1 for i in range(20)}
    by_five = {row["n%5"]: row["count"] for row in rows if row["n%5"] is not None}
    assert by_five == Counter(i % 5 for i in NUMBERS)
    returned = {row["$retval"]: row["count"] for row in rows if row["probe"] == f"ur:{program}:deep"}
    assert returned == {100: 1, 101: 1, 102: 1}
    assert [(row["flags & 3"], row["count"]) for row in rows if row["flags & 3"] is not None] == [(3, 1)]


def test_histograms(path):
    program = workload("argcalls")
    rows = run_argdist(
        path,
        "-H",
        f"p:{program}:work(int n):int:n",
        f"r:{program}:deep():u64:$latency > 0",
        f"r:{program}:work(int n):int:$entry(n)*1000:$entry(n) < 2#a thousand",
    )
    actual = {row["probe"]: {(b["low"], b["high"]): b["count"] for b in row["values"]} for row in rows}
    assert actual == {
        f"u:{program}:work": {(0, 2): 2, (2, 4): 2, (4, 8): 4, (8, 16): 8, (16, 32): TIMES - 16},
        f"ur:{program}:deep": {(0, 2): 3},
        "a thousand": {(0, 2): 1, (512, 1024): 1},
    }


def test_unreadable_values_are_null_or_lost(path):
    spec = f"u:{workload('argcalls')}:work()::*(int *)arg1"
    [row] = run_argdist(path, spec)
    assert (row["*(int *)arg1"], row["count"]) == (None, TIMES)
    result = run_spec("argdist", path, "-H", spec)
    assert [(loss["reason"], loss["lost"]) for loss in result.of("loss")] == [("unread", TIMES)]


def test_negative_values_are_lost_in_a_histogram(path):
    work = f"u:{workload('argcalls')}:work"
    signature = "(int n, char *t, u64 big, short less)"
    result = run_spec("argdist", path, "-H", f"{work}{signature}::less#less", f"{work}(int n)::~(u64)n#great")
    assert [(loss["reason"], loss["lost"]) for loss in result.of("loss")] == [("negative", TIMES - 1)]
    rows = result.of("summary")
    actual = {row["probe"]: [(b["low"], b["high"], b["count"]) for b in row["values"]] for row in rows}
    assert actual == {"less": [(0, 2, 1)], "great": [(1 << 63, 1 << 64, TIMES)]}


KERNEL = [(kind, alternative.name) for kind in ("kr", "fr") for alternative in ALTERNATIVES[kind]]


@pytest.mark.parametrize(("kind", "alternative"), KERNEL, ids=lambda value: value)
def test_functions_of_the_kernel(path, kind, alternative):
    name = "file->f_path.dentry->d_name.name"
    spec = f'{kind}:vfs_read():char*,long:$entry({name}),$retval:$entry({name}) == "{NAME}" && $latency'
    rows = run_argdist(path, spec, f"--hook={kind}={alternative}")
    if rows is None:
        return
    actual = {row["$retval"]: row["count"] for row in rows}
    assert actual == {i + 1: 1 for i in NUMBERS}
    assert {row[f"$entry({name})"] for row in rows} == {NAME}


def test_a_usdt_probe():
    with Program(workload("marks"), "forms", TIMES) as program:
        source = f"usdt:{workload('marks')}:forms:registers"
        words = ("-f", "json", "-p", program.pid, f"{source}():long,int:arg1,arg3", "1")
        process = start("argdist", *words)
        program.go()
        result = finish(process)
    assert not result.of("loss")
    [row] = result.of("summary")
    assert (row["arg1"], row["arg3"], row["count"]) == (0x1020304050607080, -7, TIMES)
