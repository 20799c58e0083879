"""biostacks: from where in the code requests to disks come."""

from pytracer.spec import Column, Key, Stacks, Tracer, Unit
from pytracer.spec.common import MAPPING, STACK_OPTIONS
from pytracer.spec.disks import BLOCK_REQUESTS, REQUEST_NOTES
from pytracer.spec.filters import TASK_FILTERS

TRACER = Tracer(
    name="biostacks",
    group="disks",
    summary="block I/O requests by the stacks that submit them",
    description="Adds up requests to disks, and their sizes, by the stacks that make them.",
    hooks=(*BLOCK_REQUESTS, MAPPING),
    filters=TASK_FILTERS,
    follow=True,
    options=STACK_OPTIONS,
    keys=(
        Key("pid", (Column("pid", "the process that made them; none: the kernel itself", null=0),)),
        Key("comm", (Column("comm", "name of its thread, then", decode="text", null=b""),)),
    ),
    outputs=(
        Stacks(
            "rows",
            (
                Column("requests", "requests that came back", unit=Unit.COUNT),
                Column("bytes", "their size", unit=Unit.BYTES),
            ),
        ),
    ),
    examples=(
        ("biostacks -d 10", "the whole machine for ten seconds"),
        ("biostacks --sort bytes -p 181 -d 10", "one process, what moves most bytes first"),
        ("biostacks -f folded -- git status", "a command, for flame graphs; counts are requests"),
    ),
    notes=(
        *REQUEST_NOTES,
        "Requests from before the trace, and flushes, have no stack.",
        "The help of profile explains how stacks are walked and symbolized.",
    ),
)
