"""drsnoop: who has to free memory before getting some."""

from pytracer.spec import Audit, Column, Duration, Stream, Tracer, Unit
from pytracer.spec.common import TASK_COLUMNS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.hooks import Alternative, Hook, RawTracepoint

PROBES = tuple(
    RawTracepoint(f"{scope}_{end}", event=f"mm_vmscan_{scope}_reclaim_{end}")
    for scope in ("direct", "memcg")
    for end in ("begin", "end")
)
RECLAIM = Hook(
    "reclaim",
    "tasks reclaim memory",
    (
        Alternative("raw-tracepoint", PROBES),
        Alternative("raw-tracepoint-direct", PROBES[:2]),  # a kernel without memory cgroups
    ),
)

TRACER = Tracer(
    name="drsnoop",
    group="memory",
    summary="direct reclaim: tasks that must reclaim memory themselves, and how long",
    description="Shows each direct reclaim, of the machine's or a cgroup's memory, as it ends.",
    hooks=(RECLAIM,),
    filters=TASK_FILTERS,
    audit=Audit("reclaims", tolerance="the kernel counts that of cgroups elsewhere, and each try again"),
    follow=True,
    options=(Duration("min", "only those that took at least this long", config="min", default=0),),
    outputs=(
        Stream(
            columns=(
                *TASK_COLUMNS,
                Column("memory", "machine, or cgroup whose limit was reached", decode="text", width=7),
                Column("order", "requested size: 2^order pages", width=5),
                Column("pages", "pages that were reclaimed", unit=Unit.COUNT, width=9),
                Column("took_ns", "how long it took", label="TOOK", unit=Unit.NANOSECONDS),
            )
        ),
    ),
    examples=(
        ("drsnoop", "every direct reclaim of the machine"),
        ("drsnoop --min 10ms", "those that took 10 ms and more"),
        ("drsnoop --container web -f json", "of one container, as JSON"),
    ),
    notes=(
        "Background reclaim by kswapd is not shown, as no task waits for it.",
        "A write to drop_caches is no direct reclaim. A reclaim in progress at the start is not shown.",
        "At a cgroup's limit the kernel retries, so one allocation may reclaim several times.",
    ),
)
