"""numamove: threads and pages that are moved between memory nodes."""

from pytracer.spec import Column, GroupBy, Key, Table, Tracer, Unit
from pytracer.spec.common import BY_PROCESS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.hooks import Alternative, Hook, RawTracepoint, Tracepoint

BALANCING = Hook(
    "balancing",
    "threads are moved between memory nodes",
    (
        Alternative(
            "raw-tracepoint",
            tuple(
                RawTracepoint(program, event=f"sched_{program}_numa", preempted=False)
                for program in ("move", "swap", "stick")
            ),
        ),
    ),
)
MIGRATION = Hook(
    "migration",
    "pages are migrated",
    (Alternative("tracepoint", (Tracepoint("migrated", category="migrate", event="mm_migrate_pages"),)),),
)
KEYS = (
    BY_PROCESS,
    Key("cause", (Column("cause", "what was moved, and why", decode="numa_cause", width=21),)),
)

TRACER = Tracer(
    name="numamove",
    group="memory",
    summary="threads and pages that are moved between memory nodes, why, and for whom",
    description="Counts threads and pages that the kernel moves, or fails to move, to another memory node.",
    hooks=(BALANCING, MIGRATION),
    filters=TASK_FILTERS,
    follow=True,
    options=(GroupBy("by", "the key of a row; several with commas", keys=KEYS, default="pid,cause"),),
    outputs=(
        Table(
            "rows",
            (
                Column("attempts", "threads or pages that were to be moved", unit=Unit.COUNT),
                Column("failed", "those that stayed", unit=Unit.COUNT),
            ),
            sort="attempts",
        ),
    ),
    examples=(
        ("numamove 10", "what NUMA balancing does, every ten seconds"),
        ("numamove --by cause -p 181", "of one process"),
    ),
    notes=(
        "thread_move and thread_swap are of NUMA balancing; the rest are pages, by the kernel's MR_*:",
        "syscall is move_pages(2), migrate_pages(2) and cpusets, numa_misplaced is balancing.",
        "Pages count for the task that moves them: with demotion, the one that reclaims memory.",
        "Compaction moves pages within a node, and is not shown. A huge page counts as the kernel counts it.",
    ),
)
