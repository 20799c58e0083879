"""Define a tracer with an event for each call of tests/workloads/serials.c, by its number."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from bench.work import gated

from pytracer.features.kernel_facts import RunningKernel
from pytracer.model import Batch, Item, Loss
from pytracer.request import Request
from pytracer.spec import Alternative, Column, Filter, Hook, RawTracepoint, Stream, Tracer
from pytracer.trace.loop import TraceLoop
from support.stream import NoRing
from support.workloads import workload

THREAD = 40  # bits of a serial below the number of its thread
LETTERS = 255  # of a text: the room for it in tests/support/probes/serials.c but the NUL


def tracer(*defines: str) -> Tracer:
    """Return the tracer. TEXT and DISCARD are explained in tests/support/probes/serials.c."""
    alternative = Alternative("raw-tracepoint", (RawTracepoint("enter", event="sys_enter"),), defines)
    columns = [Column("serial", "its number"), Column("pid", "process id"), Column("cpu", "where")]
    if "TEXT" in defines:
        columns.append(Column("text", "what it points at", decode="text"))
    return Tracer(
        name="serials",
        group="system",
        summary="numbered calls",
        description="Numbered calls.",
        hooks=(Hook("call", "calls begin", (alternative,)),),
        filters=(Filter.PID,),
        outputs=(Stream(columns=tuple(columns)),),
        source=str(Path(__file__).parent / "probes/serials.c"),
    )


FACTS = {"ring": RunningKernel, "perf": NoRing}


def calls(count: int, threads: int = 1) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Start a process that waits for ``go``, then makes calls on several CPUs."""
    return gated(workload("serials"), str(count), str(threads))


def trace(kind: str, process: subprocess.Popen[bytes], *defines: str, buffer: int = 1 << 20, **more: object):
    """Return an open trace of a process, by a ``ring`` or by ``perf`` rings."""
    pids = (process.pid.to_bytes(4, sys.byteorder),)
    request = Request(tracer(*defines), filters={Filter.PID: pids}, buffer=buffer, **more)
    return TraceLoop(request, FACTS[kind])


def batches(items: list[Item]) -> list[Batch]:
    """Return the events among them."""
    return [item for item in items if isinstance(item, Batch)]


def losses(items: list[Item]) -> dict[str, int]:
    """Return the losses by reason."""
    counts: dict[str, int] = {}
    for item in items:
        if isinstance(item, Loss):
            counts[item.reason] = counts.get(item.reason, 0) + item.lost
    return counts


def column(items: list[Item], name: str) -> np.ndarray:
    """Return a column of all events, strings as objects."""
    return np.concatenate([batch.to_numpy()[name] for batch in batches(items)])


def text(number: int) -> str:
    """Return the text that the call of this number points at, truncated to the room."""
    return chr(ord("a") + number % 26) * min(number * 7 % 300, LETTERS)


def plugin(folder: Path) -> dict[str, str]:
    """Return the environment in which ``pytracer serials`` runs: the tracer as another package would bring
    it."""
    info = folder / "serials-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: serials\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pytracer.tracers]\nserials = serials_plugin:TRACER\n")
    (folder / "serials_plugin.py").write_text("from support.serials import tracer\nTRACER = tracer()\n")
    tests = Path(__file__).parents[1]
    return os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{tests}"}
