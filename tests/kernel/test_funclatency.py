"""Test funclatency on functions that take at least so long, for calls that are known to the last one."""

from __future__ import annotations

import pytest

import pytracer
from pytracer.model import Histograms, Loss
from pytracer.model.buckets import ERROR
from pytracer.plan.attach_targets import ALTERNATIVES
from support.cli import run, wait_for
from support.needs import was_refused
from support.uprobes import Program
from support.workloads import workload

pytestmark = pytest.mark.kernel

CALLS = 23
MS = 1_000_000
FUNCTION = "__x64_sys_nanosleep"
PAIRS = {"k": "kr", "f": "fr", "u": "ur"}
# Every way at least once, with the best of the other part.
EVERY = [
    (kind, part, alternative.name)
    for kind, end in PAIRS.items()
    for part in (kind, end)
    for alternative in ALTERNATIVES[part]
]


def histograms(result, *losses):
    """Return the summary's histograms by target."""
    assert result.status == 0, result.err
    assert [record["reason"] for record in result.of("loss")] == list(losses), result.out
    return {record["target"]: record for record in result.of("summary")}


def of_functions(mode, times, ms, *names, options=()):
    with Program(workload("timed"), mode, times, ms) as program:
        return program.seen_by("funclatency", *options, *(f"u:{workload('timed')}:{name}" for name in names))


def check(rows, calls, minimum, maximum=0):
    """Check the number of calls, the minimum time of all, and the time of one long call."""
    maximum = maximum or minimum
    assert rows["calls"] == calls
    assert sum(bucket["count"] for bucket in rows["latency_ns"]) == calls
    assert all(bucket["high"] > minimum * MS for bucket in rows["latency_ns"])
    assert rows["total_ns"] >= (calls - 1) * minimum * MS + maximum * MS
    assert rows["avg_ns"] == rows["total_ns"] // calls
    assert rows["max_ns"] >= maximum * MS
    shares = [rows[name] for name in ("p50_ns", "p90_ns", "p99_ns", "p999_ns")]
    assert shares == sorted(shares)
    assert shares[0] >= minimum * MS * (1 - ERROR)
    assert shares[-1] <= rows["max_ns"]
    assert shares[-1] >= rows["max_ns"] * (1 - 2 * ERROR)  # of fewer than a thousand it is the greatest


@pytest.mark.lab
@pytest.mark.parametrize(("kind", "part", "alternative"), EVERY, ids=lambda value: value)
def test_every_alternative_sees_every_call_and_how_long_it_took(kind, part, alternative):
    if kind == "u":
        result = of_functions("nap", CALLS, 2, "nap", options=["--hook", f"{part}={alternative}"])
    else:
        words = [
            "--hook",
            f"{part}={alternative}",
            f"{kind}:{FUNCTION}",
            "--",
            workload("calls"),
            "sleep",
            CALLS,
        ]
        result = run("funclatency", "-f", "json", *words)
    if not was_refused(result, {part: alternative}):
        [row] = histograms(result).values()
        check(row, CALLS, 2)


@pytest.mark.lab
@pytest.mark.smoke
def test_calls_within_calls_are_each_one_value():
    actual = histograms(of_functions("nested", CALLS, 2, "nest"))[f"u:{workload('timed')}:nest"]
    check(actual, CALLS, 2, maximum=2 * CALLS)
    assert actual["total_ns"] >= 2 * MS * CALLS * (CALLS + 1) // 2
    # The nth within takes as long as n naps: so many are above each power of two.
    for bucket in actual["latency_ns"]:
        count_above = sum(other["count"] for other in actual["latency_ns"] if other["low"] >= bucket["low"])
        assert count_above >= sum(2 * MS * n >= bucket["low"] for n in range(1, CALLS + 1))


@pytest.mark.lab
def test_calls_within_calls_are_seen_however_deep():
    actual = histograms(of_functions("twice", 100, 1, "nest"))[f"u:{workload('timed')}:nest"]
    check(actual, 2 * 100, 1, maximum=100)


@pytest.mark.lab
def test_returns_that_the_kernel_does_not_show_are_no_other_calls():
    """The kernel keeps 64 return addresses of a task: of 100 nested calls it shows no return of the inner
    36."""
    result = of_functions("twice", 100, 1, "nest", options=["--hook", "ur=uretprobe"])
    [row] = histograms(result, "no_return").values()
    check(row, 2 * 64, 37, maximum=100)
    assert [record["lost"] for record in result.of("loss")] == [36]


@pytest.mark.lab
def test_threads_are_distinguished():
    actual = histograms(of_functions("both", CALLS, 2, "nap"))[f"u:{workload('timed')}:nap"]
    check(actual, CALLS + 1, 2, maximum=2 * CALLS)


@pytest.mark.lab
def test_a_call_that_is_left_by_a_jump_is_no_other_call():
    result = of_functions("jumps", CALLS, 1, "leave", "rest")
    assert not [r for r in histograms(result, "unwound") if r.endswith("leave")]
    assert [record["lost"] for record in result.of("loss")] == [CALLS]


def test_a_call_under_way_when_the_trace_begins_does_not_count():
    actual = histograms(of_functions("inside", CALLS, 2, "nap"))[f"u:{workload('timed')}:nap"]
    check(actual, CALLS, 2)


@pytest.mark.lab
def test_tasks_that_died_in_a_call_leave_no_entries():
    target = f"u:{workload('timed')}:quit"
    with (
        Program(workload("timed"), "dies", CALLS, 1) as program,
        pytracer.open("funclatency", target, comm="timed", duration=60) as trace,
    ):
        calls = trace.session._losses.calls._table
        counts = []

        def swept():
            trace.session.poll()
            counts.append(len(calls.read()[0]))
            return counts[-1] == 0

        program.go()
        counts.append(len(calls.read()[0]))
        wait_for(swept, "a sweep")
        assert [(loss.reason, loss.lost) for loss in trace.session.losses()] == [("unwound", CALLS)]
    assert counts[0] == CALLS
    assert counts[-1] == 0


@pytest.mark.lab
def test_intervals_by_process_add_up_to_the_summary():
    words = [f"u:{workload('timed')}:nap", "--by", "pid,target"]
    with Program(workload("timed"), "nap", CALLS, 100) as program:
        result = program.seen_by("funclatency", *words, 0.5)
    rows, [summary] = result.of("row"), result.of("summary")
    assert summary["comm"] == "timed"
    check(summary, CALLS, 100)
    assert len(rows) > 1
    for name in ("calls", "total_ns"):
        assert sum(row[name] for row in rows) == summary[name]
    assert max(row["max_ns"] for row in rows) == summary["max_ns"]


def test_calls_that_find_no_room_are_lost(monkeypatch):
    words = {"max_rows": 1, "command": ["sh", "-c", f"echo | {workload('timed')} nested 23 1"]}
    with pytracer.open("funclatency", f"u:{workload('timed')}:nest", **words) as trace:
        items = list(trace)
    [histograms_item] = (item for item in items if isinstance(item, Histograms))
    lost = sum(item.lost for item in items if isinstance(item, Loss) and item.reason == "map_full")
    assert lost > 0
    assert int(histograms_item.counts.sum()) + lost == CALLS


@pytest.mark.parametrize("source", ["t:sched:sched_switch", "rt:sched_switch", "kr:vfs_read", "ur:{}:nest"])
def test_a_target_without_a_return_is_an_error(source):
    source = source.format(workload("timed"))
    result = run("funclatency", source, "-d", 1)
    assert result.status == 2
    assert f"needs what begins and returns, not {source}" in result.err
    assert len(result.err.splitlines()) == 2
