"""Declare options, columns and totals for tracers that measure the time between two events.

See probes_c/include/pairs.h.
"""

from __future__ import annotations

from pytracer.spec.columns import Column, Unit
from pytracer.spec.options import Duration, ExpressionOption, Flag, Number

PAIR_OPTIONS = (
    Duration(
        "min",
        "show each pair that takes so long: 10ms, 2s; a bare number is ms",
        short="m",
        default=0,
        config="min",
    ),
    ExpressionOption("key", "a start and an end with the same value are a pair (default: the thread)"),
    ExpressionOption("end-key", "the value at the end (default: that of --key)"),
    ExpressionOption("by", "a histogram for each of these values at the start"),
    ExpressionOption("end-by", "a histogram for each of these values at the end"),
    Flag("nested", "an end belongs to the latest of up to 16 open starts", define="PT_NESTED"),
    Number(
        "max-open", "the number of open starts, at most", default=16384, maximum=1 << 20, define="PT_OPEN_MAX"
    ),
)
"""Options that match starts with ends and select what is shown; probes_c/include/pairs.h reads them."""

PAIR_EVENT = (
    Column("pid", "process id at the end"),
    Column("tid", "thread id at the end", wide=True),
    Column("comm", "name of the thread at the end", decode="text", width=15),
    Column("latency_ns", "from the start to the end", label="LATENCY", unit=Unit.NANOSECONDS),
    Column("start_tid", "thread id at the start", wide=True),
    Column("start", "the event that was the start", field="start_target", decode="target", wide=True),
    Column("end", "the event that was the end", field="target", decode="target", wide=True),
    Column("text", "the formatted text of both", decode="text", computed=True),
)
"""A pair as it ends."""

PAIR_TOTALS = (
    Column("starts", "starts"),
    Column("pairs", "pairs"),
    Column("replaced", "starts that a second start replaced"),
    Column("unstarted", "ends without a start, which began before the trace or was not seen"),
    Column("open", "starts still open at the end"),
)
"""Starts are pairs, replaced, open, or lost."""
