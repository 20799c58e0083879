"""kmemleak: what the kernel allocates and does not free."""

from pytracer.spec import Column, Flag, Number, Stacks, Tracer, Unit
from pytracer.spec.common import STACK_OPTIONS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.kernel_memory import ALLOCATION, PAGES

VALUES = (
    Column("bytes", "bytes not freed", unit=Unit.BYTES),
    Column("blocks", "allocations not freed", unit=Unit.COUNT),
)

TRACER = Tracer(
    name="kmemleak",
    group="memory",
    summary="memory that the kernel allocates and does not free, by stack",
    description="Adds up the memory that the kernel allocates during the trace and does not free, by stack.",
    hooks=(ALLOCATION,),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Flag("pages", "pages instead of objects", define="PAGES"),
        Number("sample", "keep one of N allocations, and count it N times", default=1, config="sample"),
        Number("min-size", "only blocks of so many bytes at least", default=0, minimum=0, config="least"),
        Number("max-blocks", "blocks kept at a time", default=1 << 18, maximum=1 << 24, define="BLOCKS_MAX"),
        STACK_OPTIONS[3],
    ),
    outputs=(
        Stacks("rows", VALUES, balance=True),
        Stacks("rows", VALUES, balance=True, when="pages", hooks=(PAGES,)),
    ),
    examples=(
        ("kmemleak -d 60", "what all of the kernel keeps of a minute"),
        ("kmemleak --pages --sample 100 -d 60", "of pages, one of a hundred, at less cost"),
    ),
    notes=(
        "Not freed yet is not leaked: caches grow, too. With INTERVAL, each is what changed meanwhile.",
        "Filters look at the task that allocates, or that an interrupt runs in; frees count by any task.",
        "Objects allocated or freed in bulk, and per-CPU memory, raise no event, and may seem to stay.",
        "With --sample the numbers are estimates: of n kept allocations, within some 2 / sqrt(n) of them.",
    ),
)
