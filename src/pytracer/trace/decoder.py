"""Decode the readings of a session: rank rows, replace numbers by names.

Nothing here is needed before programs are attached: a session imports it afterwards, while they already
count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pytracer import arrays
from pytracer.arrays import Array, np
from pytracer.bpf.read.maps import Map
from pytracer.budget import Budget
from pytracer.enrich import Decoder, check_decoders, decoders
from pytracer.enrich.decode import Computed
from pytracer.enrich.event_batches import EventDecoder
from pytracer.enrich.result_rows import Ranking, ReadTime, shape_rows
from pytracer.enrich.seccomp_calls import profile
from pytracer.model import Batch, Histograms, Schema, Snapshot, StackSnapshot
from pytracer.model.items import Kind
from pytracer.model.reduce import Rows
from pytracer.plan import Plan
from pytracer.record import record

if TYPE_CHECKING:
    from pytracer.enrich.probe_results import ResultColumns


@record
class RowLayout:
    """The dtypes of keys and values of rows that are in no map."""

    key: np.dtype[Any]
    value: np.dtype[Any]


Symbolize = Callable[[Rows, Schema, Ranking, Mapping[str, Decoder], ReadTime], StackSnapshot]
"""Makes stacks of rows."""


class ResultDecoder:
    """Decodes a plan's results. ``warn`` gets messages about missing results, ``budget`` pays for name
    lookups, ``symbolize`` makes stacks of rows (None: rows are no stacks)."""

    def __init__(
        self,
        plan: Plan,
        table: Map | RowLayout,
        warn: Callable[[str], None],
        budget: Budget,
        symbolize: Symbolize | None = None,
    ) -> None:
        """Import what decoding needs, NumPy included. ``table`` is the map whose entries are decoded.

        Raises SchemaError if a column has an unknown or unsuitable decoder.
        """
        arrays.load()
        self._schema, self._symbolize, self._warn = plan.schema, symbolize, warn
        self._ranking = Ranking(plan.sort, plan.request.top)
        specs = plan.probe_specs
        self._decoders = decoders(
            plan.request.interfaces,
            plan.targets.names,
            specs.names if specs else (),
            plan.attach_cgroups,
            budget,
        )
        self._results: ResultColumns | None = None
        self._computed: dict[str, Computed] = {}
        if specs is not None:
            from pytracer.enrich.probe_results import ResultColumns  # and a language with it

            self._results = ResultColumns(specs, budget)
            self._computed = self._results.columns(plan.schema)
        self._events = EventDecoder(plan.schema, self._decoders, self._computed)
        members = {
            name: field[0]
            for dtype in (table.key, table.value)
            for name, field in (dtype.fields or {}).items()
        }
        is_numeric = {name: dtype.kind in "iu" and not dtype.shape for name, dtype in members.items()}
        check_decoders(plan.schema, self._decoders, plan.request.tracer.file, is_numeric)

    def decode_rows(self, rows: Rows, kind: Kind, seconds: float) -> Snapshot | Histograms | StackSnapshot:
        """Decode rows that were read now and cover ``seconds``."""
        moment = ReadTime(kind, time.time(), seconds)
        if self._schema.output.balance:
            rows = _drop_balanced(rows, self._schema.output.columns[0].source)
        if self._symbolize is not None:
            return self._symbolize(rows, self._schema, self._ranking, self._decoders, moment)
        item = shape_rows(rows, self._schema, self._ranking, self._decoders, moment, self._computed)
        if self._schema.is_profile and isinstance(item, Snapshot):
            item = profile(item)
            if item.unnamed:
                self._warn(f"calls without a name are not in the profile: {', '.join(item.unnamed)}")
        return item

    def decode_batch(self, records: Array) -> Batch:
        """Decode records of a stream, shape (n,)."""
        return self._events.batch(records)

    def close(self) -> None:
        """Close files."""
        if self._results is not None:
            self._results.close()


def _drop_balanced(rows: Rows, member: str) -> Rows:
    """Return the rows in which a member is not 0."""
    is_nonzero = rows.values[member] != 0
    return Rows(rows.keys[is_nonzero], rows.values[is_nonzero])
