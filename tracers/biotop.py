"""biotop: requests to disks by process."""

from pytracer.spec import Column, GroupBy, Table, Tracer, Unit
from pytracer.spec.common import times
from pytracer.spec.disks import BLOCK_REQUESTS, DISK_AUDIT, REQUEST_KEYS, REQUEST_NOTES
from pytracer.spec.filters import TASK_FILTERS

TRACER = Tracer(
    name="biotop",
    group="disks",
    summary="block I/O by process: requests, bytes, latency",
    description="Adds up requests to disks by the process that made them.",
    hooks=BLOCK_REQUESTS,
    filters=TASK_FILTERS,
    audit=DISK_AUDIT,
    follow=True,
    options=(GroupBy("by", "the key of a row; several with commas", keys=REQUEST_KEYS, default="pid"),),
    outputs=(
        Table(
            "rows",
            (
                Column("requests", "requests that came back", unit=Unit.COUNT),
                Column("bytes", "their size", unit=Unit.BYTES),
                *times("requests")[:2],
            ),
            sort="bytes",
        ),
    ),
    examples=(
        ("biotop", "every process, a table a second"),
        ("biotop --by pid,disk,operation 5", "reads and writes of each disk apart, every five seconds"),
        ("biotop --by cgroup --sort total_ns -d 10", "by cgroup, the one that waited longest first"),
    ),
    notes=(
        *REQUEST_NOTES,
        "Times are from creation to completion of a request; times of requests in flight together overlap.",
        "/proc/diskstats counts the same requests and sectors by disk, plus a write for each flush.",
    ),
)
