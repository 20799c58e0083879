"""slabratetop: which slab caches the kernel allocates from."""

from pytracer.spec import Column, GroupBy, Key, Table, Tracer, Unit
from pytracer.spec.common import TASK_KEYS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.hooks import Alternative, Hook, Kprobe, RawTracepoint

OTHER_FUNCTIONS = ("kmem_cache_alloc_node", "kmem_cache_alloc_lru")
FUNCTIONS = ("kmem_cache_alloc", *OTHER_FUNCTIONS)
VALUES = (
    Column("allocations", "objects allocated", unit=Unit.COUNT),
    Column("bytes", "their size in the cache", unit=Unit.BYTES),
)
KEYS = (Key("cache", (Column("cache", "the cache, as in /proc/slabinfo", decode="text"),)), *TASK_KEYS)
SLAB = Hook(
    "slab",
    "the kernel allocates from slab caches",
    (
        # The event has the cache since Linux 5.19 (b347aa7b5747), when that of kmalloc got a sixth argument.
        Alternative(
            "raw-tracepoint",
            (
                RawTracepoint("kmalloced", event="kmalloc", arguments=6),
                RawTracepoint("allocated", event="kmem_cache_alloc", arguments=5),
            ),
        ),
        Alternative(
            "kprobe",
            (
                *(
                    Kprobe("allocates", symbols=(f"{name}_noprof", name), optional=name in OTHER_FUNCTIONS)
                    for name in FUNCTIONS
                ),
                RawTracepoint("kmalloced", event="kmalloc", arguments=5),
            ),
        ),
    ),
)

TRACER = Tracer(
    name="slabratetop",
    group="memory",
    summary="allocations of the kernel by slab cache, how many and how large",
    description="Counts allocations from the kernel's slab caches and by kmalloc, and their bytes.",
    hooks=(SLAB,),
    filters=TASK_FILTERS,
    follow=True,
    options=(GroupBy("by", "the key of a row; several with commas", keys=KEYS, default="cache"),),
    outputs=(Table("rows", VALUES, sort="allocations"),),
    examples=(
        ("slabratetop", "the whole machine, a table a second"),
        ("slabratetop --by cache,comm -d 10", "who allocates what, for ten seconds"),
    ),
    notes=(
        "kmalloc's caches are shown by size: events do not distinguish kmalloc-64 from kmalloc-cg-64.",
        "Merged caches have one name, as in /proc/slabinfo.",
        "Filters test the current task; allocations of an interrupt count for the interrupted task.",
        "Objects allocated in bulk are not seen. By kprobe, allocations that fail count.",
    ),
)
