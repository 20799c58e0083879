"""compactsnoop: who compacts memory, and how long that takes."""

from pytracer.spec import Column, Duration, Stream, Tracer, Unit
from pytracer.spec.common import TASK_COLUMNS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.hooks import Alternative, Hook, Tracepoint

EVENTS = (("begun", "begin"), ("looked", "finished"), ("ended", "end"))
COMPACTION = Hook(
    "compaction",
    "tasks compact memory",
    (
        # The raw arguments differ between 5.10 and 6.1; the fields of the trace events have stayed.
        Alternative(
            "tracepoint",
            tuple(Tracepoint(p, category="compaction", event=f"mm_compaction_{e}") for p, e in EVENTS),
        ),
    ),
)

TRACER = Tracer(
    name="compactsnoop",
    group="memory",
    summary="compaction of memory: who waits for it, in which zone, how long, how it ends",
    description="Shows each compaction of a memory zone as it ends, with the task that does it.",
    hooks=(COMPACTION,),
    filters=TASK_FILTERS,
    follow=True,
    options=(Duration("min", "only those that took at least this long", config="min", default=0),),
    outputs=(
        Stream(
            columns=(
                *TASK_COLUMNS,
                Column("node", "memory node", null=-1, width=4),
                Column("zone", "memory zone", decode="memory_zone", null=-1, width=8),
                Column("order", "requested size: 2^order contiguous pages", null=-1, width=5),
                Column("mode", "sync may wait for pages under I/O, async does not", decode="text", width=5),
                Column("result", "how it ended", decode="compact_result", width=16),
                Column("took_ns", "how long it took", label="TOOK", unit=Unit.NANOSECONDS, width=9),
            )
        ),
    ),
    examples=(
        ("compactsnoop", "every compaction of the machine"),
        ("compactsnoop --min 10ms", "those that took 10 ms and more"),
        ("compactsnoop --comm kcompactd0", "those in the background, of node 0"),
    ),
    notes=(
        "A task that needs contiguous pages compacts memory itself. kcompactd and khugepaged do so in",
        "the background, where no task waits for them. Each attempt on a zone is a line.",
        "Without an order (-), the whole zone is compacted, by a write to /proc/sys/vm/compact_memory.",
        "Results are the kernel's COMPACT_*. A compaction in progress at the start is not shown.",
    ),
)
