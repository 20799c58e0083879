"""Hooks, keys and notes of the tracers of disks."""

from __future__ import annotations

from pytracer.record import replace
from pytracer.spec.audit import Audit
from pytracer.spec.columns import Column, Key
from pytracer.spec.hooks import Alternative, Hook, RawTracepoint, Tracepoint


def _requests(alternative: str, arguments: int) -> Alternative:
    """Return the raw tracepoints of block I/O; all but the last have exactly so many arguments.

    Programs on them can be preempted, but trace events would lose more: their programs exclude each other
    on a CPU, so that a request which completes in an interrupt of one would be missed.
    """
    events = ("inserted", "block_rq_insert"), ("merged", "block_rq_merge"), ("issued", "block_rq_issue")
    probes = (
        RawTracepoint(
            program,
            event=event,
            arguments=arguments,
            exact=True,
            preempted=False,
            optional=program == "merged",  # Linux 5.9, f3bdc62fd82e
            when="" if program == "issued" else "queued",
        )
        for program, event in events
    )
    completed = RawTracepoint("completed", event="block_rq_complete", preempted=False)
    return Alternative(alternative, (*probes, completed))


BLOCK_IO = Hook(
    "block_io",
    "requests go to disks and come back",
    (
        # Before Linux 5.11 (a54895fa057c), and in 5.10 before 5.10.137, the queue came before the request.
        _requests("raw-tracepoint-queue", 2),
        _requests("raw-tracepoint", 1),
        # No kprobes: what has them has these. The functions that they could be put on are passed by requests
        # that complete in batches.
        Alternative(
            "tracepoint",
            (
                Tracepoint("inserted", category="block", event="block_rq_insert", when="queued"),
                Tracepoint("merged", category="block", event="block_rq_merge", when="queued", optional=True),
                Tracepoint("issued", category="block", event="block_rq_issue"),
                Tracepoint("completed", category="block", event="block_rq_complete"),
            ),
        ),
    ),
)
"""A request is queued (``inserted``), becomes part of another (``merged``), is given to its driver
(``issued``), comes back (``completed``); probes_c/include/block.h. The first two with the flag ``queued``."""

_GETRQ = RawTracepoint("submitted", event="block_getrq", preempted=False)
BLOCK_SUBMIT = Hook(
    "block_submit",
    "requests to disks are made",
    (
        # Linux 6.5 (5a80bd075f3b). Before, the event that a bio gets a request says of which bio only; until
        # Linux 5.11 (e8a676d61c07) the queue came before it.
        Alternative("request", (RawTracepoint("submitted", event="block_io_start", preempted=False),)),
        Alternative("bio-queue", (replace(_GETRQ, arguments=3),)),
        Alternative("bio", (replace(_GETRQ, arguments=1, exact=True),)),
    ),
)
BLOCK_REQUESTS = (
    BLOCK_SUBMIT,
    replace(
        BLOCK_IO,
        alternatives=tuple(
            replace(alternative, probes=tuple(replace(probe, when="") for probe in alternative.probes))
            for alternative in BLOCK_IO.alternatives[:2]
        ),
    ),
)
"""A task submits a request, in its own context (``submitted``), and the request's later events;
probes_c/include/requests.h. Trace events do not identify requests well enough to remember their owners."""

BY_ISSUER = Key(
    "pid",
    (
        Column("pid", "the process that made the requests; none: the kernel, as in writeback", null=0),
        Column("comm", "name of its thread, the latest", last=True, null=b""),
    ),
)
BY_DISK = Key("disk", (Column("disk", "the disk", decode="disk"),))
BY_OPERATION = Key("operation", (Column("operation", "read, write, ...", decode="block_operation"),))
REQUEST_KEYS = (
    BY_ISSUER,
    Key("comm", (Column("comm", "name of the thread that made them", decode="text", null=b""),)),
    BY_DISK,
    BY_OPERATION,
    Key("cgroup", (Column("cgroup", "cgroup (v2) that is charged for them", decode="cgroup", null=0),)),
)
"""Rows of requests: probes_c/include/request_rows.h."""

DISK_AUDIT = Audit(
    "disk_requests",
    column="requests",
    options=("queued",),
    tolerance="a flush that is asked for counts as a write, too; what was under way before is not seen",
)
EVENT_AUDIT = replace(DISK_AUDIT, column="")
"""The kernel's own count of requests; of tracers with a row for many, and with an event for each."""
REQUEST_NOTES = (
    "Requests of the kernel itself (writeback, journals, cache flushes) have no process: pid is null.",
    "A request is one unit for the driver: several merged reads or writes, or a part of one.",
    "RAID, device mapper and zram have no requests; the requests of the disks below them are seen.",
    "Requests that were issued to the driver before the trace are not shown.",
)
