"""Test each loss reason, forced by a workload with a known number of events: made = shown + lost.

A new reason needs an entry in ``FORCED``; without one its test fails.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

import pytest

import pytracer
from pytracer.bpf.attach.link import Link
from pytracer.model import Loss
from pytracer.model.loss import MISSED, REASONS, UNSHOWN_MEANING
from support.cli import LIMIT, Result, finish, run, start, wait_for
from support.package_copy import copy_package
from support.spec_workload import TIMES, file_in, run_spec
from support.uprobes import Program
from support.workloads import workload

pytestmark = pytest.mark.kernel

PLACES = 7
"""Entries of a map that is made small enough to overflow, in a copy of the C."""


class Forced(NamedTuple):
    """A run with a known number of events: ``made`` by the workload, ``shown`` in the output."""

    result: Result
    made: int
    shown: int


def summed(result: Result, column: str) -> int:
    """Return a column of the summary, over all rows."""
    return sum(row[column] for row in result.of("summary"))


def keys(folder: Path) -> Forced:
    script = f"for i in 1 2 3 4 5; do {workload('calls')} getppid 23; done"
    words = ["--max-rows", 2, "--by", "pid", "--comm", "calls", "-e", "getppid", "--", "sh", "-c", script]
    result = run("syscalls", "-f", "json", *words)
    return Forced(result, 5 * 23, summed(result, "calls"))


def starts_of_functions(folder: Path) -> Forced:
    """Nested calls, of which more are in flight than the map has entries."""
    small = copy_package(folder, {"include/calls.h": ("pt_call, 65536)", f"pt_call, {PLACES})")})
    with Program(workload("timed"), "nested", 23, 1) as program:
        target = f"u:{workload('timed')}:nest"
        tracer = start("funclatency", "-f", "json", target, "-p", program.pid, env=os.environ | small)
        program.go()
        program.process.wait()
        result = finish(tracer)
    return Forced(result, 23, summed(result, "calls"))


BLOCKED = """
import fcntl, os, sys
held = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(held, fcntl.LOCK_EX)
children = []
for _ in range(23):
    children.append(os.fork())
    if not children[-1]:
        fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX)
        os._exit(0)
for child in children:
    while not open(f"/proc/{child}/syscall").read().startswith("73 "):  # flock sleeps
        pass
fcntl.flock(held, fcntl.LOCK_UN)
for _ in children:
    os.wait()
"""


def starts_of_system_calls(folder: Path) -> Forced:
    """Tasks that all sleep in a system call, of which more are in flight than the map has entries."""
    small = copy_package(folder, {"include/inflight.h": ("pt_start, 65536)", f"pt_start, {PLACES})")})
    lock = folder / "lock"
    lock.touch()
    words = ["-e", "flock", "--", sys.executable, "-c", BLOCKED, lock]
    result = run("syscalls", "-f", "json", *words, env=small)
    return Forced(result, 23 + 2, summed(result, "calls"))


FORKS = """
import os
here, there = os.pipe()
for _ in range(23):
    if not os.fork():
        os.close(there)
        os.read(here, 1)  # until all have been forked
        os.getppid()
        os._exit(0)
os.close(there)
for _ in range(23):
    os.wait()
"""


def family(folder: Path) -> Forced:
    """Make more children at a time than the map of followed processes has entries."""
    map_of_all = "pt_followed_pids, u32, u8, PT_FOLLOW)"
    small = copy_package(
        folder, {"include/task.h": (map_of_all, map_of_all.replace("PT_FOLLOW", str(PLACES)))}
    )
    words = ["-e", "getppid", "--", sys.executable, "-c", FORKS]
    result = run("syscalls", "-f", "json", *words, env=small)
    return Forced(result, 23, summed(result, "calls"))


def ring(folder: Path) -> Forced:
    """Fill the ring while its reader is stopped."""
    script = f"echo ready; read line; exec {workload('opens')} open 0 1009 /pt/not"
    with Program("sh", "-c", script) as program:
        tracer = start("opensnoop", "-f", "json", "--buffer", "4k", "-p", program.pid)
        os.kill(tracer.pid, signal.SIGSTOP)
        program.go()
        program.process.wait()
        os.kill(tracer.pid, signal.SIGCONT)
        result = finish(tracer)
    return Forced(result, 1009, sum(event["path"] == "/pt/not" for event in result.of("event")))


def truncate_strings(folder: Path) -> Forced:
    """Open paths longer than the kernel allows, and some that are shown whole."""
    opens = workload("opens")
    script = f"{opens} openat 0 23; {opens} openat 0 7 /pt/not"
    result = run("opensnoop", "-f", "json", "--", "sh", "-c", script)
    return Forced(result, 23 + 7, sum(event["path"] == "/pt/not" for event in result.of("event")))


def stacks(folder: Path) -> Forced:
    with Program(workload("stacked"), 23) as program:
        result = program.seen_by("stackcount", f"u:{workload('stacked')}:*", "--max-stacks", 1)
    with Program(workload("stacked"), 23) as program:
        expected = summed(program.seen_by("stackcount", f"u:{workload('stacked')}:*"), "hits")
    return Forced(result, expected, summed(result, "hits"))


def returns(folder: Path) -> Forced:
    """Leave calls by longjmp, with the kernel's return probe. The next call reveals each loss, except of the
    last."""
    target = f"u:{workload('timed')}:leave"
    with Program(workload("timed"), "jumps", 23, 1) as program:
        result = program.seen_by("funclatency", target, "--hook", "ur=uretprobe")
    return Forced(result, 23 - 1, summed(result, "calls"))


def unwound(folder: Path) -> Forced:
    """Leave calls by longjmp. The last one ends with its process."""
    with Program(workload("returns"), "jumps", 23) as program:
        result = program.seen_by("funclatency", f"u:{workload('returns')}:leave")
    return Forced(result, 23, summed(result, "calls"))


def indirect(folder: Path) -> Forced:
    """Make calls of which every other one ends in an indirect jump."""
    with Program(workload("returns"), "indirect", 23) as program:
        result = program.seen_by("funclatency", f"u:{workload('returns')}:through")
    return Forced(result, 23, summed(result, "calls"))


def unread(folder: Path) -> Forced:
    spec = f"u:{workload('argcalls')}:work()::*(int *)arg1"
    result = run_spec("argdist", file_in(folder), "-H", spec)
    assert result is not None
    return Forced(result, TIMES, summed(result, "count"))


def unread_goroutines(folder: Path) -> Forced:
    """Make calls of goroutines where g cannot be read, so that their owner is unknown."""
    present = "offset = PT_G_OFFSET;"
    elsewhere = copy_package(folder, {"include/calls.h": (present, "offset = 1ULL << 46;")})
    with Program(workload("returns.go"), "exit", 23) as program:
        target = f"u:{workload('returns.go')}:main.Leave"
        tracer = start("funclatency", "-f", "json", target, "-p", program.pid, env=os.environ | elsewhere)
        program.go()
        result = finish(tracer)
    return Forced(result, 23, summed(result, "calls"))


def negative(folder: Path) -> Forced:
    signature = "(int n, char *t, u64 big, short less)"
    result = run_spec("argdist", file_in(folder), "-H", f"u:{workload('argcalls')}:work{signature}::less")
    assert result is not None
    return Forced(result, TIMES, summed(result, "count"))


FAULTS = """
import mmap, os, sys
print("ready", flush=True)
sys.stdin.readline()
zero = open("/dev/zero", "rb", buffering=0)
for _ in range(23):
    with mmap.mmap(-1, 4096) as page:
        zero.readinto(page)  # the kernel writes to a page that is not there yet
"""


def missed(folder: Path) -> Forced:
    """Return a program on faults of the kernel that makes one itself, during which it cannot run again.

    On the raw tracepoint: perf drops trace events within another trace event without a counter, which -v
    reports.
    """
    with Program(sys.executable, "-c", FAULTS) as program:
        result = program.seen_by("trace", 'rt:page_fault_kernel "%d", *(int *)0xffff800000000008')
    with Program(sys.executable, "-c", FAULTS) as program:
        faults = len(program.seen_by("trace", 'rt:page_fault_kernel "%x", arg1').of("event"))
    return Forced(result, 2 * faults, len(result.of("event")))


def loops(_folder: Path) -> Forced:
    """Return a script of five loops within a loop, of which three never end by themselves."""
    inner_loop = "$j = 0; while (true) { if (++$j == 7 && $i > 2) { @ended++; break; } }"
    result = run("script", "-f", "json", "-e", f"begin {{ $i = 0; while ($i < 5) {{ {inner_loop} $i++; }} }}")
    outputs = [(line["type"], line["data"]) for line in result.lines]
    losses = [
        {"kind": "loss", "reason": data["reason"], "lost": data["events"]}
        for kind, data in outputs
        if kind == "lost_events"
    ]
    error = sum(data["@ended"] for kind, data in outputs if kind == "map")
    return Forced(Result(result.status, "\n".join(map(json.dumps, losses)), result.err), 5, error)


def compat(_folder: Path) -> Forced:
    """Return a run of three 32-bit programs, which do not raise the trace events of single calls."""
    opens = workload("opens32")
    result = run(
        "opensnoop", "-f", "json", "--hook", "return=call-tracepoints", "--", "sh", "-c", f"{opens};" * 3
    )
    return Forced(result, 3, len([event for event in result.of("event") if event["comm"] == "opens32"]))


FORCED: dict[str, tuple[Callable[[Path], Forced], ...]] = {
    "map_full": (keys,),
    "inflight_full": (starts_of_functions, starts_of_system_calls),
    "follow_full": (family,),
    "ring_full": (ring,),
    "truncated": (truncate_strings,),
    "stacks_full": (stacks,),
    "no_return": (returns,),
    "unwound": (unwound,),
    "indirect": (indirect,),
    "unread": (unread, unread_goroutines),
    "negative": (negative,),
    "loop_cut": (loops,),
    "compat": (compat,),
    MISSED: (missed,),
}


@pytest.mark.parametrize("reason", [*REASONS, MISSED])
def test_made_equals_shown_plus_lost(reason, tmp_path):
    assert reason in FORCED, f"no workload forces the loss '{reason}': write one, and add it to FORCED"
    for workload_of in FORCED[reason]:
        folder = tmp_path / workload_of.__name__
        folder.mkdir()
        result, expected, shown_count = workload_of(folder)
        assert result.status == 0, result.err
        assert {loss["reason"] for loss in result.of("loss")} == {reason}
        lost = sum(loss["lost"] for loss in result.of("loss"))
        assert lost > 0
        assert expected == shown_count + lost


def test_every_workload_forces_a_reason_that_there_is():
    assert set(FORCED) == {*REASONS, MISSED}


def test_one_loss_is_enough_for_strict():
    words = ["-f", "json", "--strict", "--", workload("opens"), "openat", 0, 1]
    result = run("opensnoop", *words)
    assert [(loss["reason"], loss["lost"]) for loss in result.of("loss")] == [("truncated", 1)]
    assert result.status == 3
    assert "1 lost" in result.err


def test_strings_that_the_reader_of_a_stream_cut_are_counted():
    with pytracer.open("execsnoop", command=["true"]) as trace:
        trace.session.collector.reader.truncated = 5  # the rest of so many events came too late
        items = list(trace)
    assert [(item.reason, item.lost) for item in items if isinstance(item, Loss)] == [("truncated", 5)]


def test_a_trace_event_that_may_be_dropped_uncounted_is_reported_so():
    gap = "an event within the handling of another is not seen, and not counted: hit"
    for event, is_said in (("t:exceptions:page_fault_kernel", True), ("rt:page_fault_kernel", False)):
        result = run("funccount", "-v", event, "-d", 0.1)
        assert result.status == 0, result.err
        assert (gap in result.err) == is_said


def test_missed_runs_of_links_count_before_and_after_detaching():
    """Only kprobes miss runs, and this kernel may have none, so the test adds a link that reports some."""

    class Missing(Link):
        missed = 5

    with pytracer.open("syscalls", command=[workload("calls"), "getppid", "23"]) as trace:
        trace.session._links.attached.append(Missing(os.dup(0)))
        assert [(loss.reason, loss.lost) for loss in trace.session.losses()] == [(MISSED, 5)]
        Missing.missed = 7
        items = list(trace)
    assert [(item.reason, item.lost) for item in items if isinstance(item, Loss)] == [(MISSED, 2)]


@pytest.mark.parametrize("form", ["table", "json", "csv"])
@pytest.mark.parametrize("again", [False, True])
def test_events_that_a_stuck_reader_does_not_read_are_counted_and_reported(form, again):
    """Nobody reads the pipe. What it holds at the end was shown, up to the last complete line."""
    expected = 20011
    script = f"echo ready; read line; exec {workload('opens')} open 0 {expected} /pt/not"
    with Program("sh", "-c", script) as program:
        tracer = start("opensnoop", "-f", form, "--path", "/pt/not", "-p", program.pid)
        assert tracer.stdout is not None
        program.go()
        program.process.wait()
        wait_for(
            lambda: bytes_in_pipe(tracer.stdout) == bytes_in_pipe(tracer.stdout, after=0.1) > 0, "a full pipe"
        )
        tracer.terminate()
        if again:
            tracer.send_signal(signal.SIGINT)
        assert tracer.wait(LIMIT) == 0
        out, err = tracer.communicate()
    losses = [line for line in err.splitlines() if line.startswith("pytracer: warning: lost:")]
    [lost] = [line.split()[3] for line in losses if UNSHOWN_MEANING in line]
    assert len(losses) == 1
    assert sum("/pt/not" in line for line in out.splitlines(keepends=True) if line.endswith("\n")) == (
        expected - int(lost)
    )


def bytes_in_pipe(pipe: IO[str], after: float = 0) -> int:
    """Return the number of bytes that wait in a pipe after some seconds."""
    time.sleep(after)
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), sys.byteorder)
