"""memleak: memory that programs allocate and do not free."""

from pytracer.spec import Column, Key, Number, Stacks, Targets, Tracer, Unit
from pytracer.spec.common import INLINES, MAPPING, MAX_STACKS, UNWIND
from pytracer.spec.filters import TASK_FILTERS

NAMES = (
    *("malloc", "calloc", "realloc", "reallocarray", "memalign", "aligned_alloc", "posix_memalign"),
    *("valloc", "pvalloc", "free"),
)
BYTES = Column("bytes", "bytes not freed", unit=Unit.BYTES)
BLOCKS = Column("blocks", "allocations not freed", unit=Unit.COUNT)

TRACER = Tracer(
    name="memleak",
    group="memory",
    summary="memory that programs allocate and do not free, by stack",
    description="Adds up the memory that is allocated during the trace and not freed, by allocating stack.",
    hooks=(MAPPING,),
    arguments=Targets(
        "PATTERN",
        "u:FILE:malloc, :free and the like, of another allocator than the C library's",
        begin="begins",
        end="returns",
        minimum=0,
        default=tuple(f"u:libc:{name}" for name in NAMES),
        kinds=NAMES,
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Number("sample", "keep one of N allocations, and count it N times", default=1, config="sample"),
        Number("min-size", "only blocks of at least N bytes", default=0, minimum=0, config="least"),
        Number("max-blocks", "blocks kept at a time", default=1 << 18, maximum=1 << 24, define="BLOCKS_MAX"),
        MAX_STACKS,
        INLINES,
        UNWIND,
    ),
    keys=(Key("pid", (Column("pid", "process id"),)),),
    outputs=(Stacks("rows", (BYTES, BLOCKS), balance=True),),
    examples=(
        ("memleak -p 181 -d 60", "what one process leaks in a minute"),
        ("memleak --sample 100 -- ./server", "one of a hundred blocks, at less cost"),
        ("memleak -p 181 u:libjemalloc:malloc u:libjemalloc:free", "another allocator"),
    ),
    notes=(
        "Memory that is not freed yet may be a cache, no leak. With INTERVAL, each table shows the changes.",
        "Each allocation hits two or three breakpoints, each free one more: most of memleak's cost",
        "(scripts/bench allocations measures it). --sample avoids the rest, such as stacks.",
        "With --sample, numbers are estimates: for n sampled allocations, the error is about 2 / sqrt(n).",
        "The exit of a process does not count as free. mmap(2) and brk(2) are not seen.",
        "The help of profile explains how stacks are walked and symbolized.",
    ),
)
