"""Drain the rows of a double buffer while programs count.

See "Rows" in docs/internals.md.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping

from pytracer.bpf.read.maps import Map
from pytracer.bpf.read.rcu import GracePeriod, open_grace_period
from pytracer.model import Schema
from pytracer.model.ledger import Ledger
from pytracer.model.reduce import Rows, concatenate, rows_of_dense, sum_cpus

PAUSE = 1.0
"""The maximum time between two readings in seconds: the kernel's map must hold the rows of that time."""


class DoubleBuffer:
    """The two maps of probes_c/include/rows.h; ``flag`` tells programs to use the first or the second."""

    def __init__(self, maps: tuple[Map, Map], flag: Map, grace: GracePeriod) -> None:
        """Assume the state in which the kernel creates the maps: programs use the first one."""
        self._maps, self._flag, self._grace = maps, flag, grace
        self._used = 0

    def drain(self, schema: Schema, *, detached: bool) -> Rows:
        """Swap buffers, wait for running programs, then read and clear the idle buffer.

        ``detached``: no program runs any more, so neither a swap nor a wait is needed, nor if the buffer is
        empty.
        """
        side = self._maps[self._used]
        if side.is_empty:
            return sum_cpus(*side.empty_result(), schema)
        if not detached:
            self._used = 1 - self._used
            self._flag.update(struct.pack("I", 0), struct.pack("I", self._used))
            self._grace.wait()
        return sum_cpus(*side.drain(), schema)


class AggregateReader:
    """Reads the rows of a tracer from the map that its output names.

    A double-buffered map is drained: no row is counted twice or lost between two readings, and the kernel
    keeps only the rows since the last one. In other maps and in arrays rows stay and only grow: an interval
    is the difference of two readings.
    """

    def __init__(self, schema: Schema, maps: Mapping[str, Map], *, drain: bool = True) -> None:
        """Create the reader. With ``drain`` False, rows stay in the kernel, where other programs can read
        them.

        Raises KeyError if there is no such map.
        """
        self._schema = schema
        self._ledger = Ledger(schema)
        self._table = maps[schema.output.map]
        self._dense = maps.get(getattr(schema.output, "dense", ""))
        self._taken_at = time.monotonic()
        self._grace: GracePeriod | None = None
        self._double_buffer: DoubleBuffer | None = None
        other, flag = maps.get(f"{self._table.name}_other"), maps.get("pt_active_map")
        if drain and other is not None and flag is not None:
            self._grace = open_grace_period()
            if self._grace is not None:
                self._double_buffer = DoubleBuffer((self._table, other), flag, self._grace)

    @property
    def poll_interval(self) -> float | None:
        """Seconds until ``drain_rows`` is due; None if it never is."""
        return None if self._double_buffer is None else max(self._taken_at + PAUSE - time.monotonic(), 0)

    def drain_rows(self) -> None:
        """Make room in the kernel if the last reading is ``PAUSE`` ago."""
        if self._double_buffer is not None and self.poll_interval == 0:
            self._drain(self._double_buffer, detached=False)

    def read_interval(self, *, detached: bool) -> Rows:
        """Return the rows counted since the last call. ``detached``: no program runs any more."""
        return self._ledger.interval(self._read_remaining(detached=detached))

    def read_total(self, *, detached: bool) -> Rows:
        """Return the rows of the whole run. ``detached`` as for ``read_interval``."""
        return self._ledger.total(self._read_remaining(detached=detached))

    def close(self) -> None:
        """Close the descriptors of the grace period; the maps belong to the module."""
        if self._grace is not None:
            self._grace.close()

    def _read_remaining(self, *, detached: bool) -> Rows | None:
        """Return the rows that stay in the kernel, after draining the others into the ledger."""
        if self._double_buffer is None:
            table_rows: Rows | None = sum_cpus(*self._table.read(), self._schema)
        else:
            self._drain(self._double_buffer, detached=detached)
            table_rows = None
        if self._dense is None:
            return table_rows
        dense_rows = sum_cpus(*self._dense.read(), self._schema)
        return concatenate(table_rows, rows_of_dense(dense_rows, self._table.key, self._schema))

    def _drain(self, buffer: DoubleBuffer, *, detached: bool) -> None:
        self._ledger.add_drained(buffer.drain(self._schema, detached=detached))
        self._taken_at = time.monotonic()
