"""Make views with items: intervals of syscalls, rows by (call, pid)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pytracer.model import Schema, Snapshot
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.spec import registry
from pytracer.view import View, make_view
from support.fake_kernel import FakeKernel

NOON = 1_699_963_200.25  # 2023-11-14 12:00:00.250 UTC
HOSTILE = "\x1b[2J[red]x\\"
Rows = Mapping[tuple[str, int], tuple[int, int]]
FIRST: Rows = {("read", 7): (5, 5_000), ("write", 7): (3, 30_000_000), (HOSTILE, 9): (0, 0)}


def schema(name: str, **options: object) -> Schema:
    """Return the schema of a tracer with these options."""
    return make_plan(Request(registry.get(name), options), FakeKernel()).schema


def table(seconds: float, rows: Rows) -> Snapshot:
    """Return an interval: of each (call, pid) calls and total_ns."""
    columns = {
        "syscall": [call for call, _ in rows],
        "pid": np.array([pid for _, pid in rows], dtype="u4"),
        "comm": [f"c{pid}" for _, pid in rows],
        "calls": np.array([calls for calls, _ in rows.values()], dtype="u8"),
        "errors": np.zeros(len(rows), dtype="u8"),
        "interrupted": np.zeros(len(rows), dtype="u8"),
        "total_ns": np.array([total for _, total in rows.values()], dtype="u8"),
        "avg_ns": [total // calls if calls else None for calls, total in rows.values()],
    }
    return Snapshot("row", NOON + seconds, 1.0, columns)


def view_of(*tables: Rows) -> View:
    """Return a view of these intervals."""
    view = make_view(schema("syscalls", by=("syscall", "pid")))
    for seconds, rows in enumerate(tables):
        view.add(table(seconds, rows))
    return view
