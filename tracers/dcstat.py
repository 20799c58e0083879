"""dcstat: look-ups in the directory cache."""

from pytracer.spec import Column, GroupBy, Table, Tracer, Unit
from pytracer.spec.common import TASK_KEYS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.hooks import Alternative, Fexit, Hook, Kretprobe

NAMES = ("lookup_fast", "lookup_fast.isra.0")
LOOKUP = Hook(
    "looked_up",
    "parts of paths are looked up in the directory cache",
    (
        Alternative("fexit", (Fexit("looked_up", function=NAMES[0]),)),
        # A static function: compilers that change its arguments give it a suffix.
        Alternative("kprobe", (Kretprobe("looked_up", symbols=NAMES),)),
    ),
)

TRACER = Tracer(
    name="dcstat",
    group="files",
    summary="look-ups in the directory cache: found, known not to exist, or missing",
    description="Counts look-ups of path components in the directory cache (dentries), by their results.",
    hooks=(LOOKUP,),
    filters=TASK_FILTERS,
    follow=True,
    options=(GroupBy("by", "the key of a row; several with commas", keys=TASK_KEYS),),
    outputs=(
        Table(
            "rows",
            (
                Column("lookups", "look-ups that ended", unit=Unit.COUNT),
                Column("hits", "parts that were found", unit=Unit.COUNT),
                Column("negative", "parts that the cache knows not to exist", unit=Unit.COUNT),
                Column("misses", "parts for which the file system was asked", unit=Unit.COUNT),
                Column(
                    "miss_percent",
                    "misses, as a share of all look-ups",
                    label="MISS%",
                    unit=Unit.PERCENT,
                    ratio=("misses", "lookups"),
                ),
            ),
            sort="lookups",
        ),
    ),
    examples=(
        ("dcstat", "the whole machine, a line a second"),
        ("dcstat --by pid 5", "by process, every five seconds"),
        ("dcstat -- make", "a command and its descendants"),
    ),
    notes=(
        "Each component of a path counts, except . and .., and the last one of a path to create or remove.",
        "A look-up that the kernel restarts (ECHILD) counts once, when it ends.",
        "With a return probe, calls are missed if more tasks look up at a time than it has slots.",
        "It needs trampolines or kprobes, and a kernel in which the function is not inlined.",
    ),
)
