"""biopattern: sequential and random requests to disks."""

from pytracer.spec import Column, GroupBy, Table, Tracer, Unit
from pytracer.spec.disks import BLOCK_REQUESTS, REQUEST_KEYS, REQUEST_NOTES
from pytracer.spec.filters import TASK_FILTERS

TRACER = Tracer(
    name="biopattern",
    group="disks",
    summary="share of sequential and random block I/O requests",
    description="Counts requests to disks that begin where the previous one ended, and random ones.",
    hooks=BLOCK_REQUESTS,
    filters=TASK_FILTERS,
    follow=True,
    options=(GroupBy("by", "the key of a row; several with commas", keys=REQUEST_KEYS, default="disk"),),
    outputs=(
        Table(
            "rows",
            (
                Column("requests", "requests with data", unit=Unit.COUNT),
                Column("sequential", "those that began where the one before ended", unit=Unit.COUNT),
                Column("random", "all others, and the first", unit=Unit.COUNT),
                Column("bytes", "their size in all", unit=Unit.BYTES),
            ),
            sort="requests",
        ),
    ),
    examples=(
        ("biopattern", "every disk, a table a second"),
        ("biopattern --by disk,pid,operation", "each process's reads and writes by themselves"),
    ),
    notes=(
        *REQUEST_NOTES,
        "The previous request is that of the same row: with --by pid, of the same process.",
        "The order is that in which the driver gets requests. Flushes are left out.",
    ),
)
