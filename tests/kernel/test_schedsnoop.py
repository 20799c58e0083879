"""Test schedsnoop beside the sums of the kernel (/proc/PID/schedstat), and threads that wake each other."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import pytracer
from support import cpu_contention
from support.cli import run
from support.timelines import FORMATS, timeline
from support.wakers import PIPES, ROUNDS, TIMERS, is_count

pytestmark = pytest.mark.kernel


def run_command(*command):
    result = run("schedsnoop", "-f", "json", "--", *command)
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result


@pytest.mark.smoke
@pytest.mark.lab
def test_turns_are_those_that_the_kernel_counts():
    result = run_command(*cpu_contention.command())
    kernel = cpu_contention.read_counts(result.err)
    assert len(kernel) == 3
    for pid, numbers in kernel.items():
        turns = [event for event in result.of("event") if event["pid"] == pid]
        assert cpu_contention.is_count(len(turns), numbers.runs)
        assert cpu_contention.is_close(sum(turn["ran_ns"] for turn in turns), numbers.on_cpu)
        assert cpu_contention.is_close(sum(turn["wait_ns"] or 0 for turn in turns), numbers.waiting)
        assert len({turn["cpu"] for turn in turns[len(turns) // 2 :]}) == 1  # from when it stays on one
        preempted = [turn["preempted"] for turn in turns]
        after = [turn["slept_ns"] is None for turn in turns]
        mismatches = [
            before for before, unslept in zip(preempted, after[1:], strict=False) if before and not unslept
        ]
        assert len(mismatches) <= (
            0 if cpu_contention.LAB else len(turns) // 10
        )  # a switch between them was not seen


@pytest.mark.lab
def test_the_waker_is_the_process_at_the_other_end():
    result = run_command(sys.executable, "-c", PIPES)
    waker, child = map(int, result.err.splitlines()[0].split())
    woken = [
        event
        for event in result.of("event")
        if event["pid"] == child and (event["slept_ns"] or 0) > 5_000_000
    ]
    assert is_count(len(woken), ROUNDS + 1)  # the last is the close
    assert {(row["waker_pid"], row["waker_tid"], row["waker_comm"]) for row in woken} == {
        (waker, waker, "waker\n\x1b[31m")
    }


def test_a_timer_is_no_waker():
    events = run_command(sys.executable, "-c", TIMERS).of("event")
    slept = [event for event in events if (event["slept_ns"] or 0) > 9_000_000]
    assert is_count(len(slept), ROUNDS)
    assert sum(row["waker_tid"] is None for row in slept) >= ROUNDS - 3


def test_the_timeline_has_the_rows_of_the_table():
    """Each time is a slice of the thread, time on a CPU also one of the CPU, and each wakeup is a flow."""
    command = [sys.executable, "-c", PIPES]
    with (
        Path(os.devnull).open("wb") as nowhere,
        pytracer.open("schedsnoop", command=command, stderr=nowhere) as trace,
    ):
        items = list(trace)
    rows = [
        row | {"time": time}
        for item in items
        for time, row in zip(item.times.tolist(), item.value_rows(), strict=True)
    ]
    threads, cpus, flows = [], [], []
    for row in rows:
        end, thread = row["time"], (row["pid"], row["tid"])
        for name in ("ran", "wait", "slept"):
            if (length := row[f"{name}_ns"]) is None:
                continue
            begin = end - length
            threads.append((thread, begin, end, name))
            if name == "ran":
                cpus.append((row["cpu"], begin, end, row["comm"]))
                if row["waker_tid"] and row["wait_ns"] is not None:
                    flows.append(
                        ((row["waker_pid"], row["waker_tid"]), begin - row["wait_ns"], thread, begin)
                    )
            end = begin
    assert len(flows) >= ROUNDS - 3
    for form in FORMATS:
        actual = timeline(form, trace.schema, *items)
        on_cpu = [slice_ for slice_ in actual.slices if is_cpu(slice_[0])]
        assert sorted(actual.flows) == sorted(flows)
        assert sorted((cpu_of(track), *others) for track, *others in on_cpu) == sorted(cpus)
        others = [
            slice_row
            for slice_row in actual.slices
            if not is_cpu(slice_row[0]) and not slice_row[3].startswith("wakes ")
        ]
        assert sorted(others) == sorted(threads)


def is_cpu(track):
    return track[0] == 1 << 30 if isinstance(track, tuple) else track.startswith("CPU")


def cpu_of(track):
    return track[1] if isinstance(track, tuple) else int(track.removeprefix("CPU "))
