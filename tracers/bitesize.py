"""bitesize: how large requests to disks are."""

from pytracer.spec import Column, GroupBy, Histogram, Tracer, Unit
from pytracer.spec.disks import BLOCK_REQUESTS, DISK_AUDIT, REQUEST_KEYS, REQUEST_NOTES
from pytracer.spec.filters import TASK_FILTERS

TRACER = Tracer(
    name="bitesize",
    group="disks",
    summary="sizes of block I/O requests, as histograms by process",
    description="Shows histograms of the size of requests to disks, by the process that made them.",
    hooks=BLOCK_REQUESTS,
    filters=TASK_FILTERS,
    audit=DISK_AUDIT,
    follow=True,
    options=(GroupBy("by", "a histogram for each; several with commas", keys=REQUEST_KEYS, default="pid"),),
    outputs=(
        Histogram(
            "rows",
            (
                Column("requests", "requests that came back", unit=Unit.COUNT),
                Column("bytes", "their size in all", unit=Unit.BYTES),
                Column("avg_bytes", "mean size", label="AVG", unit=Unit.BYTES, ratio=("bytes", "requests")),
                Column("max_bytes", "the largest", label="MAX", unit=Unit.BYTES, max=True),
            ),
            unit=Unit.BYTES,
            label="size",
        ),
    ),
    examples=(
        ("bitesize", "every process, a histogram of each a second"),
        ("bitesize --by disk,operation -d 10", "by disk, reads and writes apart, for ten seconds"),
        ("bitesize -- tar cf backup.tar /srv", "one command and its descendants"),
    ),
    notes=(
        *REQUEST_NOTES,
        "The size of a retried request is that of its first try. A flush has no bytes.",
    ),
)
