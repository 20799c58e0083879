"""latency: the time between two events."""

from pytracer.spec import Column, Histogram, ProbeSpecArguments, Stream, Tracer, Unit
from pytracer.spec.common import COMPAT_NOTE, STRING_SIZE, times
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.pairs import PAIR_EVENT, PAIR_OPTIONS, PAIR_TOTALS

PAIRS = Column("pairs", "pairs of a start and an end", unit=Unit.COUNT)

TRACER = Tracer(
    name="latency",
    group="system",
    summary="the time between two events of any kind, as histograms or pair by pair",
    description="Shows histograms of the time from a start to the next end of the same thread or key.",
    hooks=(),
    arguments=ProbeSpecArguments(
        "START END",
        'a start and an end, as trace takes them: PROBE[(SIGNATURE)] [(FILTER)] ["FORMAT", ARGUMENTS]',
        minimum=2,
        examples=("t:syscalls:sys_enter_read", "t:syscalls:sys_exit_read"),
        pair=True,
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(*PAIR_OPTIONS, STRING_SIZE),
    outputs=(
        Histogram("rows", (PAIRS, *times("pairs")), label="latency"),
        Stream(columns=PAIR_EVENT, when="min"),
    ),
    totals=PAIR_TOTALS,
    examples=(
        ("latency usdt:postgresql:query__start usdt:postgresql:query__done -d 10", "queries"),
        ("latency --by '$comm' t:syscalls:sys_enter_fsync t:syscalls:sys_exit_fsync", "by program"),
        ("latency --key 'args->sector' t:block:block_rq_issue t:block:block_rq_complete", "requests"),
        ("latency 't:syscalls:sys_enter_futex \"%p\", uaddr' t:syscalls:sys_exit_futex -m 1", "waits"),
    ),
    notes=(
        "docs/probe-specs.md describes the language of probes, keys and values.",
        "A second start of a key replaces the first and is counted; --nested makes a stack of them.",
        "Ends without a start, and starts that are open when the trace ends, are counted, too.",
        "Filters (-p) select starts: an end counts wherever it happens, also in an interrupt.",
        COMPAT_NOTE,
    ),
)
