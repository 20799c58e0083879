"""Test addresses that are reused: plugins loaded one after the other at one address."""

from __future__ import annotations

import os
from collections import Counter

import pytest

import pytracer
from pytracer.bpf.read.streams import mmap_events
from pytracer.spec.common import MAPPING
from support.cli import run
from support.needs import running, was_refused
from support.uprobes import Program
from support.workloads import workload

pytestmark = pytest.mark.kernel

ROUNDS, CALLS, THREADS = 3, 23, 3
MOVES = [alternative.name for alternative in MAPPING.alternatives if alternative.probes]
ALTERNATIVES = [name for name in MOVES if name != "kprobe"]
"""The alternatives that see that code is moved, and those that see that it is mapped, too."""
EVENT = "t:syscalls:sys_enter_getppid"
PAIRS = {"first": "alpha", "second": "beta"}
"""Who calls which function."""
CLOCK = "now"  # which both callers look at, too
NAMELESS = {(caller, "[unloaded]") for caller in ("", *PAIRS)}
"""Calls while it is not known what is mapped: of code that moves not even the callers have names."""


def plugins(mode, milliseconds=0, rounds=ROUNDS):
    files = [workload(name) for name in PAIRS.values()]
    return [workload("plugins"), mode, str(rounds), str(CALLS), str(milliseconds), str(THREADS), *files]


def command(*words):
    """Return the same as a command that begins at once and prints nothing."""
    return ["sh", "-c", 'echo | exec "$@" >/dev/null', "sh", *plugins(*words)]


def hits_by_name(result, kind, counter):
    """Return how often each caller was seen with each name of its callee; "" counts calls where no name
    is known."""
    assert not result.of("loss")
    return names_seen(result, kind, counter)


def names_seen(result, kind="summary", counter="hits"):
    """Return the same of a trace that may have missed calls: while user space that reads a map is preempted,
    the kernel skips programs on trace events on that CPU."""
    assert result.status == 0, result.err
    counts = Counter()
    for record in result.of(kind):
        callers = PAIRS.keys() & set(record["user"])
        if not callers and "[unloaded]" in record["user"]:
            counts["", "[unloaded]"] += record[counter]
        for caller in callers:
            frame_index = record["user"].index(caller)
            callee = record["user"][frame_index - 1] if frame_index else ""
            counts[caller, "" if callee == CLOCK else callee] += record[counter]
    return counts


def checked(result, expected):
    """Return the same of a trace in which every call is counted or reported as missed."""
    lost = result.of("loss")
    assert {loss["reason"] for loss in lost} <= {"missed"}
    actual, missed = names_seen(result), sum(loss["lost"] for loss in lost)
    total = sum(expected.values())
    assert sum(actual.values()) <= total <= sum(actual.values()) + missed, result.err
    return actual


def calls(rounds=ROUNDS):
    return dict.fromkeys(PAIRS.items(), rounds * THREADS * CALLS)


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_each_call_is_counted_by_the_function_that_made_it(alternative):
    """Each plugin is loaded for some milliseconds."""
    words = ["-U", "-f", "json", "--hook", f"mapping={alternative}", EVENT]
    result = run("stackcount", *words, "--", *command("plain"))
    if was_refused(result, {"mapping": alternative}):
        return
    actual = checked(result, calls())
    assert actual.keys() <= calls().keys()
    assert all(actual[pair] <= count for pair, count in calls().items())


@pytest.mark.lab
def test_without_a_hook_no_frame_has_the_name_of_the_other_plugin():
    """Addresses that a generation cannot distinguish are [unloaded]."""
    result = run("stackcount", "-U", "-f", "json", "--hook", "mapping=none", EVENT, "--", *command("plain"))
    actual = checked(result, calls())
    assert actual.keys() <= {(caller, name) for caller in PAIRS for name in (PAIRS[caller], "[unloaded]")}


@pytest.mark.lab
@pytest.mark.parametrize(("mode", "rounds"), [("fork", ROUNDS), ("exec", 1)])
def test_inherited_mappings(mode, rounds):
    """A forked child has its parent's mappings; an executed program has none of the previous one, even at the
    same addresses."""
    result = run("stackcount", "-U", "-f", "json", EVENT, "--", *command(mode))
    actual = checked(result, calls(rounds))
    if all(running().excuse(f"mapping={alternative}") for alternative in ALTERNATIVES):  # as without a hook
        assert actual.keys() <= PAIRS.items() | NAMELESS
        return
    assert actual.keys() <= calls(rounds).keys()
    assert all(actual[pair] <= count for pair, count in calls(rounds).items())


@pytest.mark.lab
@pytest.mark.parametrize("alternative", MOVES)
def test_code_that_is_moved_has_the_name_of_its_time(alternative):
    """The kernel records no mremap: until a move is known, names are unknown."""
    words = ["-U", "-f", "json", "--hook", f"mapping={alternative}", EVENT]
    result = run("stackcount", *words, "--", *command("move", 400))
    if was_refused(result, {"mapping": alternative}):
        return
    actual = checked(result, calls())
    assert actual.keys() <= PAIRS.items() | NAMELESS


@pytest.mark.parametrize("mode", ["move", "child"])
def test_all_calls_of_moved_code_are_counted(mode):
    result = run("stackcount", "-U", "-f", "json", EVENT, "--", *command(mode, 400))
    assert hits_by_name(result, "summary", "hits") == calls()


@pytest.mark.parametrize("mode", ["move", "child"])
def test_immediately_moved_code_gets_no_wrong_names(mode):
    result = run("stackcount", "-U", "-f", "json", EVENT, "--", *command(mode, 0, 50))
    assert hits_by_name(result, "summary", "hits").keys() <= PAIRS.items() | NAMELESS
    total = sum(record["hits"] for record in result.of("summary"))
    assert total >= 2 * 50 * THREADS * CALLS


def test_data_that_is_moved_changes_no_names():
    """A new generation for each move would split every sample into a row of its own."""
    code = (
        "import mmap, os\nm = mmap.mmap(-1, 4096)\nfor n in range(2, 500): m.resize(4096 * n); os.getppid()"
    )
    result = run("stackcount", "-U", "-f", "json", EVENT, "--", "/usr/bin/python3", "-c", code)
    rows = [record for record in result.of("summary") if record["hits"] >= 400]
    assert len(rows) == 1, result.out
    assert "[unloaded]" not in rows[0]["user"]


def test_a_process_that_was_running_before_the_trace():
    with Program(*plugins("plain", 20)) as program:
        result = program.seen_by("stackcount", "-U", EVENT)
    assert hits_by_name(result, "summary", "hits") == calls()


def test_the_summary_is_the_sum_of_its_rows():
    with Program(*plugins("plain", 70, rounds=5)) as program:
        result = program.seen_by("stackcount", "-U", "-T", EVENT, 0.1)
    rows = hits_by_name(result, "row", "hits")
    assert len({record["time"] for record in result.of("row")}) > 1
    assert rows == hits_by_name(result, "summary", "hits") == calls(5)


@pytest.mark.parametrize("interval", [(), (0.1,)], ids=["whole", "interval"])
@pytest.mark.parametrize("mode", ["plain", "fork", "exec"])
def test_samples_of_two_functions_are_not_mixed(mode, interval):
    words = ["-U", "-F", 499, "-f", "json", *interval]
    result = run("profile", *words, "--", *command(mode, 100))
    actual = hits_by_name(result, "summary", "samples")
    assert actual.keys() == PAIRS.items() | (actual.keys() & {(caller, "") for caller in PAIRS})
    if interval:
        assert hits_by_name(result, "row", "samples") == actual


def test_moved_code_gets_no_wrong_names_without_a_hook():
    """Only the kernel's mmap records are left: they have the time of a mapping, but not its order with
    samples."""
    words = ["--hook", "mapping=none"]
    with Program(*plugins("plain", 20)) as program:
        result = program.seen_by("stackcount", "-U", *words, EVENT)
    actual = hits_by_name(result, "summary", "hits")
    assert sum(actual.values()) == sum(calls().values())
    assert actual.keys() <= PAIRS.items() | NAMELESS


@pytest.mark.parametrize("interval", [(), (0.5,)], ids=["whole", "interval"])
def test_functions_that_were_made_at_one_address(interval):
    """Lines of perf maps have no times: a sample taken while a function is replaced may belong to either."""
    words = ["-U", "-F", 199, "-f", "json", *interval]
    result = run("profile", *words, "--", workload("jitted"), 2000, "one", "two")
    actual = hits_by_name(result, "summary", "samples")
    assert actual["first", "one"] > 0
    assert actual["second", "two"] > 0
    assert actual.keys() <= {(caller, name) for caller, name in (
        ("first", "one"), ("first", "[unloaded]"), ("second", "two"), ("second", "[unloaded]"),
        ("first", ""), ("second", ""), ("", "[unloaded]"),
    )}  # fmt: skip
    if interval:
        assert hits_by_name(result, "row", "samples") == actual


def test_fast_successions_of_code_get_no_wrong_names():
    """Load hundreds of plugins, each for less time than it takes to read a memory map."""
    result = run("stackcount", "-U", "-f", "json", EVENT, "--", *command("plain", 0, 200))
    actual = hits_by_name(result, "summary", "hits")
    assert sum(actual.values()) == sum(calls(200).values())
    assert actual.keys() <= PAIRS.items() | NAMELESS


def test_records_that_the_kernel_had_no_room_for_are_missed_in_their_time_alone(monkeypatch):
    monkeypatch.setattr(mmap_events, "_SIZE", os.sysconf("SC_PAGE_SIZE"))
    with pytracer.open("stackcount", EVENT, user_only=True, command=command("plain", 0, 200)) as trace:
        [summary] = trace
        gaps = trace.session.collector._names.user._breaks
    counts = Counter()
    for user, hits in zip(summary.columns["user"], summary.columns["hits"].tolist(), strict=True):
        for caller in PAIRS.keys() & set(user):
            counts[caller, user[user.index(caller) - 1]] += hits
    assert gaps
    assert summary.columns["hits"].sum() >= sum(calls(200).values())
    assert counts.keys() <= PAIRS.items() | NAMELESS


@pytest.mark.parametrize(("kind", "names"), [("shared", {"one", "two"}), ("nameless", {"[anon]"})])
def test_code_in_shared_memory_has_the_names_of_the_perf_map_or_none(kind, names):
    """The kernel shows such memory as the file /dev/zero, which has no symbols."""
    words = ["-U", "-F", 199, "-f", "json"]
    result = run("profile", *words, "--", workload("jitted"), 1000, "one", "two", kind)
    actual = {name for _, name in hits_by_name(result, "summary", "samples")}
    assert names <= actual
    assert actual <= {*names, "[unloaded]", ""}
