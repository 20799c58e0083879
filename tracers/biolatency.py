"""biolatency: how long requests to disks take."""

from pytracer.spec import Column, Flag, GroupBy, Histogram, Tracer, Unit
from pytracer.spec.common import times
from pytracer.spec.disks import BLOCK_IO, BY_DISK, BY_OPERATION, DISK_AUDIT

TRACER = Tracer(
    name="biolatency",
    group="disks",
    summary="latency of block I/O requests, as histograms",
    description="Shows histograms of the time from the issue of a request to a disk to its completion.",
    hooks=(BLOCK_IO,),
    audit=DISK_AUDIT,
    options=(
        GroupBy(
            "by",
            "what a histogram stands for; several with commas",
            keys=(BY_DISK, BY_OPERATION),
            default="disk",
        ),
        Flag("queued", "the time in the disk's queue (its I/O scheduler) as well", define="QUEUED"),
    ),
    outputs=(
        Histogram(
            "rows",
            (Column("requests", "requests that came back", unit=Unit.COUNT), *times("requests")),
            label="latency",
        ),
    ),
    examples=(
        ("biolatency", "every disk, a histogram of each a second"),
        ("biolatency --by disk,operation 5 12", "reads, writes, ... apart, every five seconds for a minute"),
        ("biolatency --queued -d 10 -f json", "with the time in the queue, for ten seconds, as JSON"),
    ),
    notes=(
        "Completions run in interrupt context, so requests cannot be filtered by process.",
        "A request is one unit for the driver: several merged reads or writes, or a part of one.",
        "RAID, device mapper and zram have no requests; the requests of the disks below them are seen.",
        "Requests in flight at the start are not counted. A retried request is timed from the retry.",
        "With --hook block_io=tracepoint, requests are identified by disk and sector only.",
    ),
)
