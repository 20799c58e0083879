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
from pytracer.model.reduce import Rows, joined, of_dense, sum_cpus

PAUSE = 1.0
"""Seconds between two readings, at the most: until then the kernel has to have room for what is counted."""


class DoubleBuffer:
    """The two maps of probes_c/include/rows.h, one of which programs use, as ``flag`` says."""

    def __init__(self, maps: tuple[Map, Map], flag: Map, grace: GracePeriod) -> None:
        """They are as the kernel makes them: programs use the first."""
        self._maps, self._flag, self._grace = maps, flag, grace
        self._used = 0

    def drain(self, schema: Schema, *, quiet: bool) -> Rows:
        """What was counted since the last time; it is in the kernel no more.

        ``quiet``: no program runs any more. Else they are sent to the other side, and those waited for that
        may still use this one. Where nothing was counted there is nothing to wait for.
        """
        side = self._maps[self._used]
        if side.is_empty:
            return sum_cpus(*side.empty_result(), schema)
        if not quiet:
            self._used = 1 - self._used
            self._flag.update(struct.pack("I", 0), struct.pack("I", self._used))
            self._grace.wait()
        return sum_cpus(*side.drain(), schema)


class AggregateReader:
    """The rows of a tracer, from the map that its output names.

    Where that map has two sides, rows are taken out as they are read: nothing is counted twice or lost in
    between, and what the kernel keeps is what was counted since. Where it has not, and in arrays, rows stay
    and only grow: there an interval is the difference of two readings.
    """

    def __init__(self, schema: Schema, maps: Mapping[str, Map], *, drain: bool = True) -> None:
        """Read nothing yet. ``drain`` False leaves the rows in the kernel, where others can look at them.

        Raises KeyError if there is no such map.
        """
        self._schema = schema
        self._ledger = Ledger(schema)
        self._table = maps[schema.output.map]
        self._dense = maps.get(getattr(schema.output, "dense", ""))
        self._taken_at = time.monotonic()
        self._grace: GracePeriod | None = None
        self._sides: DoubleBuffer | None = None
        other, flag = maps.get(f"{self._table.name}_other"), maps.get("pt_side")
        if drain and other is not None and flag is not None:
            self._grace = open_grace_period()
            if self._grace is not None:
                self._sides = DoubleBuffer((self._table, other), flag, self._grace)

    @property
    def poll_interval(self) -> float | None:
        """Seconds until ``drain_rows`` has something to do; None if it never has."""
        return None if self._sides is None else max(self._taken_at + PAUSE - time.monotonic(), 0)

    def drain_rows(self) -> None:
        """Make room in the kernel, unless that was done a moment ago."""
        if self._sides is not None and self.poll_interval == 0:
            self._drain(self._sides, quiet=False)

    def read_interval(self, *, quiet: bool) -> Rows:
        """What was counted since this was last asked. ``quiet``: no program runs any more."""
        return self._ledger.interval(self._read_remaining(quiet=quiet))

    def read_total(self, *, quiet: bool) -> Rows:
        """What was counted in all. ``quiet`` as for ``interval``."""
        return self._ledger.total(self._read_remaining(quiet=quiet))

    def close(self) -> None:
        """Let go of what waiting needs; the maps are the module's."""
        if self._grace is not None:
            self._grace.close()

    def _read_remaining(self, *, quiet: bool) -> Rows | None:
        """The rows that stay in the kernel, after those that do not were taken."""
        if self._sides is None:
            standing: Rows | None = sum_cpus(*self._table.read(), self._schema)
        else:
            self._drain(self._sides, quiet=quiet)
            standing = None
        if self._dense is None:
            return standing
        dense = sum_cpus(*self._dense.read(), self._schema)
        return joined(standing, of_dense(dense, self._table.key, self._schema))

    def _drain(self, sides: DoubleBuffer, *, quiet: bool) -> None:
        self._ledger.add_drained(sides.drain(self._schema, quiet=quiet))
        self._taken_at = time.monotonic()
