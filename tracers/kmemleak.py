"""kmemleak: memory that the kernel allocates and does not free."""

from pytracer.spec import Column, Flag, Number, Stacks, Tracer, Unit
from pytracer.spec.common import MAX_STACKS
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
        MAX_STACKS,
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
        "Memory that is not freed yet may be a cache, no leak. With INTERVAL, each table shows the changes.",
        "Filters test the task that allocates or is interrupted; frees count by any task.",
        "Bulk allocations and per-CPU memory raise no event, so objects may seem not to be freed.",
        "With --sample, numbers are estimates: for n sampled allocations, the error is about 2 / sqrt(n).",
    ),
)
