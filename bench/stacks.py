"""Measure what a program takes to walk and store the stack of a program's function: its own time, as the
kernel counts it."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytracer
from bench.measure import MissingPeerError, Result, in_turns, result
from bench.programs import loaded
from bench.work import flood, gated, go
from pytracer.bpf.sys import Command, bpf
from pytracer.errors import PytracerError

CALLS, DEPTH = 20_000, 30
_RUN_TIME = 0  # BPF_STATS_RUN_TIME


def walk(way: str) -> float:
    """Return the nanoseconds for a stack of DEPTH functions; ``way`` is a value of ``--unwind``."""
    statistics = bpf(Command.ENABLE_STATS, struct.pack("I", _RUN_TIME))
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, statistics)
        work = stack.enter_context(gated(flood(), "gated", "deep", str(CALLS)))
        target = f"u:{flood()}:passed"
        trace = stack.enter_context(
            pytracer.open("stackcount", target, user_only=True, unwind=way, pid=work.pid)
        )
        program = loaded("hit")
        go(work)
        work.wait()
        numbers = dict(
            line.split(":", 1) for line in Path(f"/proc/self/fdinfo/{program}").read_text().splitlines()
        )
        depths = [len(row["user"]) for item in trace for row in item.rows()]
    if int(numbers["run_cnt"]) != CALLS or min(depths) < DEPTH:
        raise MissingPeerError(f"stacks: the program ran {numbers['run_cnt']} times, with depths of {depths}")
    return int(numbers["run_time_ns"]) / CALLS


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure walks by tables beside the kernel's own by frame pointers."""
    try:
        tables, pointers = in_turns(rounds, lambda: walk("table"), lambda: walk("fp"))
    except (MissingPeerError, OSError, PytracerError) as missing:
        yield MissingPeerError(f"stacks: {missing}")
        return
    yield result(
        "stack-tables",
        f"what a stack of {DEPTH} functions takes by tables",
        "the kernel's walk by frame pointers",
        tables,
        pointers,
        target=None,
        unit="ns",
    )
