"""Test latency on pairs of events whose numbers are known: USDT probes, functions, trace events."""

from __future__ import annotations

import pytest

from support.cli import run
from support.needs import was_refused
from support.workloads import workload

pytestmark = pytest.mark.kernel

TIMES = 23
SLOW = 15_000_000  # ns; every fifth pair takes 20 ms at least


def usdt(arguments="", end_arguments=""):
    """Return the two probes of the workload."""
    probe = f"usdt:{workload('pairs')}:pairs"
    return f"{probe}:start {arguments}", f"{probe}:done {end_arguments}"


def measure(mode, *words, times=TIMES, losses=()):
    """Return the result of tracing the workload."""
    result = run("latency", "-f", "json", *words, "--", workload("pairs"), mode, times)
    assert result.status == 0, result.err
    assert [(loss["reason"], loss["lost"]) for loss in result.of("loss")] == list(losses)
    return result


def totals(result):
    """Return the totals of a run, in the order starts, pairs, replaced, unstarted, open."""
    [record] = result.of("totals")
    assert record.pop("kind") == "totals"
    return tuple(record.values())


def pairs(result):
    """Return the number of pairs in the histograms of a run."""
    rows = result.of("summary")
    for row in rows:
        assert sum(bucket["count"] for bucket in row["latency_ns"]) == row["pairs"]
    return sum(row["pairs"] for row in rows)


@pytest.mark.lab
@pytest.mark.smoke
def test_pairs_of_usdt_probes():
    result = measure("plain", *usdt())
    assert pairs(result) == TIMES
    assert totals(result) == (TIMES, TIMES, 0, 0, 0)
    [row] = result.of("summary")
    assert sum(bucket["count"] for bucket in row["latency_ns"] if bucket["high"] > SLOW) >= 5
    assert row["max_ns"] >= 20_000_000
    assert row["total_ns"] >= 5 * 20_000_000 + 18 * 1_000_000


@pytest.mark.lab
def test_pairs_of_functions_and_of_two_kinds_of_events():
    program = workload("pairs")
    result = measure("plain", f"u:{program}:begin", f"ur:{program}:finish")
    assert (pairs(result), totals(result)) == (TIMES, (TIMES, TIMES, 0, 0, 0))
    mixed = measure("plain", usdt()[0], "t:syscalls:sys_exit_clock_nanosleep")
    assert (pairs(mixed), totals(mixed)) == (TIMES, (TIMES, TIMES, 0, 0, 0))


@pytest.mark.lab
def test_pairs_of_trace_events():
    events = [f"t:syscalls:sys_{point}_clock_nanosleep" for point in ("enter", "exit")]
    result = measure("plain", *events)
    assert (pairs(result), totals(result)) == (TIMES, (TIMES, TIMES, 0, 0, 0))


def test_ends_that_fail():
    starts_only = len(range(0, TIMES, 3))
    result = measure("failing", *usdt())
    assert totals(result) == (TIMES, TIMES - starts_only, starts_only, 2, 0)
    assert pairs(result) == TIMES - starts_only
    # By key nothing is replaced; the two ends of what never began have no start.
    by_key = measure("failing", *usdt(), "--key", "arg1")
    assert totals(by_key) == (TIMES, TIMES - starts_only, 0, 2, starts_only)
    lines = run("latency", *usdt(), "--", workload("pairs"), "failing", TIMES).out.splitlines()
    assert lines[-1] == (
        f"total: {TIMES} starts, {TIMES - starts_only} pairs,"
        f" {starts_only} starts that a second start replaced,"
        " 2 ends without a start, which began before the trace or was not seen"
    )


def test_nested_pairs():
    assert totals(measure("nested", *usdt(), times=13)) == (13, 1, 12, 12, 0)
    result = measure("nested", *usdt('"%d", arg1', '"%d", arg1'), "--nested", "--min", "0", times=13)
    assert totals(result) == (13, 13, 0, 0, 0)
    assert [(e["start:arg1"], e["end:arg1"]) for e in result.of("event")] == [
        (n, n) for n in range(12, -1, -1)
    ]
    # Sixteen fit. Those on top of them are lost, with their ends.
    result = measure(
        "nested", *usdt('"%d", arg1', '"%d", arg1'), "--nested", "-m", "0", losses=[("inflight_full", 7)]
    )
    assert totals(result) == (TIMES, 16, 0, 0, 0)
    assert [(e["start:arg1"], e["end:arg1"]) for e in result.of("event")] == [
        (n, n) for n in range(15, -1, -1)
    ]


def test_threads_and_keys():
    assert totals(measure("threads", *usdt())) == (4 * TIMES, 4 * TIMES, 0, 0, 0)
    # One thread starts and another one ends.
    assert totals(measure("requests", *usdt())) == (TIMES, 0, TIMES - 1, TIMES, 1)
    assert totals(measure("requests", *usdt(), "--key", "arg1")) == (TIMES, TIMES, 0, 0, 0)
    result = measure("requests", *usdt(), "--key", "arg1 * 2", "--end-key", "arg2", "--min", "0")
    assert totals(result) == (TIMES, TIMES, 0, 0, 0)
    assert {event["tid"] == event["start_tid"] for event in result.of("event")} == {False}


def test_a_thread_does_not_end_what_one_before_it_started():
    """The kernel uses the task_struct of a thread that ended again."""
    starts, paired, _, unstarted, _ = totals(measure("ended", *usdt(), times=4 * TIMES))
    assert (starts, paired, unstarted) == (4 * TIMES, 0, 4 * TIMES)


def test_a_thread_has_another_id_after_its_exec():
    assert totals(measure("exec", *usdt(), times=1)) == (1, 1, 0, 0, 0)


@pytest.mark.parametrize("nested", [(), ("--nested",)])
def test_ends_and_starts_of_a_key_on_two_cpus(nested):
    """An end does not take out a start that began after it."""
    starts = 30_000
    result = run(
        "latency", "-f", "json", *usdt(), "--key", "arg1", *nested, "--", workload("pairs"), "race", starts
    )
    begun, paired, replaced, unstarted, left_open = totals(result)
    assert begun == starts == paired + replaced + left_open + sum(loss["lost"] for loss in result.of("loss"))
    assert pairs(result) == paired
    # Those that are lost in a stack that is full lose their ends.
    assert nested or unstarted == starts - paired
    for row in result.of("summary"):
        assert row["max_ns"] < 1 << 63


def test_starts_that_do_not_fit_are_lost():
    result = measure(
        "requests", *usdt(), "--key", "arg1", "--max-open", "7", losses=[("inflight_full", TIMES - 7)]
    )
    assert totals(result) == (TIMES, 7, 0, TIMES - 7, 0)


@pytest.mark.lab
def test_slow_pairs_with_the_fields_of_both_ends():
    begin, end = usdt('"%d %s", arg1, arg2@user', '"%d", arg2')
    result = measure("plain", begin, end, "--by", "arg1 % 5", "--min", SLOW // 1_000_000)
    events = result.of("event")
    slow = {event["arg1"]: event for event in events}
    assert set(range(0, TIMES, 5)) <= set(slow)
    assert all(event["latency_ns"] >= SLOW for event in events)
    assert totals(result) == (TIMES, TIMES, 0, 0, 0)
    for number, event in slow.items():
        assert event["arg2@user"] == f"request {number % 3}"
        assert (event["arg2"], event["arg1 % 5"]) == (2 * number, number % 5)
        assert event["text"] == f"{number} request {number % 3} {2 * number}"
        assert event["comm"] == "pairs"
    assert pairs(measure("plain", begin, end)) == TIMES


def test_histograms_by_values_of_both_ends():
    result = measure("plain", *usdt(), "--by", "(char *)arg2, arg1 % 2", "--end-by", "arg2 % 4")
    rows = {(r["(char *)arg2"], r["arg1 % 2"], r["arg2 % 4"]): r["pairs"] for r in result.of("summary")}
    numbers = [(f"request {n % 3}", n % 2, 2 * n % 4) for n in range(TIMES)]
    assert rows == {key: numbers.count(key) for key in numbers}


def test_a_stranger_is_not_traced():
    result = run(
        "latency", "-f", "json", *usdt(), "--comm", "nobody", "--load", "--", workload("pairs"), "plain", 3
    )
    assert (result.of("summary"), totals(result)) == ([], (0, 0, 0, 0, 0))


@pytest.mark.lab
@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["k", "f"])
def test_pairs_of_kernel_functions(kind):
    ends = f"{kind}:hrtimer_nanosleep", f"{kind}r:hrtimer_nanosleep"
    result = run("latency", "-f", "json", *ends, "--", workload("pairs"), "plain", TIMES)
    if result.status in (4, 5) and was_refused(result, {}):
        return
    assert result.status == 0, result.err
    assert (pairs(result), totals(result)) == (TIMES, (TIMES, TIMES, 0, 0, 0))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("usdt:a:b", "usdt:a:b"), "is both the start and the end"),
        (("usdt:a:b",), "needs a start and an end"),
        (("usdt:a:b", "usdt:a:c", "usdt:a:d"), "is too much"),
        (("t:sched:sched_switch", "rt:sched_wakeup", "--end-key", "1"), "the start has none"),
        (("t:sched:sched_switch", "rt:sched_wakeup", "--key", "$comm"), "this is text, and no number"),
        (("t:sched:sched_switch", "rt:sched_wakeup", "--by", "nosuch"), "has no field 'nosuch'"),
        (("t:sched:sched_switch", "rt:sched_wakeup", "--key", "1, 2"), "','"),
    ],
)
def test_mistakes(words, message):
    result = run("latency", *words, "-d", "1")
    assert result.status == 2
    assert message in result.err
