"""Measure what a program takes to walk and store the stack of a program's function: its own time, as the
kernel counts it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytracer
from bench.measure import MissingPeerError, Result, in_turns, result
from bench.programs import loaded
from bench.work import flood, gated, go
from pytracer.bpf.obj_info import read_program
from pytracer.errors import PytracerError
from pytracer.prog.run_stats import count_runs

CALLS, DEPTH = 20_000, 30


def walk(way: str) -> float:
    """Return the nanoseconds for a stack of DEPTH functions; ``way`` is a value of ``--unwind``."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(count_runs())
        work = stack.enter_context(gated(flood(), "gated", "deep", str(CALLS)))
        target = f"u:{flood()}:passed"
        trace = stack.enter_context(
            pytracer.open("stackcount", target, user_only=True, unwind=way, pid=work.pid)
        )
        program = loaded("hit")
        go(work)
        work.wait()
        info = read_program(program, code=False)
        depths = [len(row["user"]) for item in trace for row in item.rows()]
    if info.run_count != CALLS or min(depths) < DEPTH:
        raise MissingPeerError(f"stacks: the program ran {info.run_count} times, with depths of {depths}")
    return info.run_time / CALLS


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
