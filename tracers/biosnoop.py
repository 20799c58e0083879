"""biosnoop: each request to a disk."""

from pytracer.spec import Column, Duration, Stream, Tracer, Unit
from pytracer.spec.disks import BLOCK_REQUESTS, EVENT_AUDIT, REQUEST_NOTES
from pytracer.spec.filters import TASK_FILTERS

QUEUE = "from when it was made until the driver got it; none: it was made before the trace"

TRACER = Tracer(
    name="biosnoop",
    group="disks",
    summary="each block I/O request: process, disk, sector, size, latency",
    description="Shows each request to a disk when it completes, with the process that made it.",
    hooks=BLOCK_REQUESTS,
    filters=TASK_FILTERS,
    audit=EVENT_AUDIT,
    follow=True,
    options=(Duration("min", "only requests that took at least this long in all", config="min", default=0),),
    outputs=(
        Stream(
            columns=(
                Column("pid", "the process that made it; none: the kernel itself", null=0, width=7),
                Column("comm", "name of its thread, then", decode="text", null=b"", width=10),
                Column("disk", "the disk", decode="disk", width=6),
                Column("operation", "read, write, ...", label="OP", decode="block_operation", width=7),
                Column("sector", "the first sector, of 512 bytes", null=-1, width=10),
                Column("bytes", "its size", unit=Unit.BYTES, width=8),
                Column("queue_ns", QUEUE, label="QUEUE", unit=Unit.NANOSECONDS, null=0, width=9),
                Column(
                    "service_ns",
                    "time from the driver to completion",
                    label="SERVICE",
                    unit=Unit.NANOSECONDS,
                    width=9,
                ),
                Column("cgroup", "cgroup (v2) that is charged for it", decode="cgroup", null=0, wide=True),
            )
        ),
    ),
    examples=(
        ("biosnoop", "every request of the machine"),
        ("biosnoop --min 10ms", "only slow ones"),
        ("biosnoop -f json -- tar cf backup.tar /srv", "those of a command, as JSON"),
    ),
    notes=(
        *REQUEST_NOTES,
        "For merged requests, the process of the first is shown. A retried request is timed from the retry.",
        "Writeback has no process; its cgroup (--wide) is that of the pages, if blkcg tracks it.",
    ),
)
