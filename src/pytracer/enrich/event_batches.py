"""From records of a stream, in the C's own layout, to a batch that a sink can show."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pytracer import ktime
from pytracer.arrays import Array, np
from pytracer.enrich.decode import (
    Computed,
    Decoder,
    convert_to_bytes,
    convert_to_strings,
    decode,
    mask_null,
)
from pytracer.model import Batch, Coded, Schema

_STEP = 100_000_000  # ns: somebody has set the clock, or the machine was suspended


def _measure_clock_offset() -> int:
    """Return the offset to add to CLOCK_MONOTONIC, the clock of records, for the time since the epoch, in
    ns."""
    return time.time_ns() - ktime.monotonic_ns()


class EventDecoder:
    """Makes batches of one schema."""

    def __init__(
        self,
        schema: Schema,
        decoders: Mapping[str, Decoder],
        computed_columns: Mapping[str, Computed] | None = None,
    ) -> None:
        """``decoders`` by the names that columns have for them; ``computed_columns`` columns by their own."""
        self._columns = {column.name: column for column in schema.columns}
        self._decoders = decoders
        self._kind = "entry" if schema.is_listing else "event"
        self._computed = computed_columns or {}
        self._epoch = _measure_clock_offset()

    def batch(self, records: Array) -> Batch:
        """Decode records of shape (n,)."""
        # It stays as it is while the clock is only steered, so that differences of times are exact.
        if abs((epoch := _measure_clock_offset()) - self._epoch) > _STEP:
            self._epoch = epoch
        times = records["ns"].astype(np.int64) + self._epoch
        return Batch(tuple(self._columns), records, times, self._read, self._kind)

    def _read(self, name: str, records: Array) -> Array | Coded:
        column = self._columns[name]
        if column.computed:
            return self._computed[name](records)
        values = records[column.source]
        ends_at_nul = values.dtype.kind == "S"
        if values.ndim == 2 and f"{column.source}_len" in (records.dtype.names or ()):
            values = convert_to_bytes(values, records[f"{column.source}_len"])
        elif values.ndim == 2:  # bytes, of which a NUL is not the end
            values = convert_to_strings(values)
        if column.is_text:
            decoder = self._decoders[column.decode or "text"]
            return decode(decoder, values, column.null, ends_at_nul=ends_at_nul)
        return mask_null(values, column.null)
