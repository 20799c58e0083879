"""Hooks, keys and columns of tracers of io_uring; probes_c/include/io_uring.h."""

from __future__ import annotations

from pytracer.record import replace
from pytracer.spec.columns import Column, Key, Unit
from pytracer.spec.common import BY_PROCESS, times
from pytracer.spec.hooks import Alternative, Hook, Iterator, Tracepoint
from pytracer.spec.outputs import Histogram


def _events(submitted: str) -> tuple[Tracepoint, ...]:
    """Return probes for requests that are submitted (``submitted``) and completed, and rings that are
    created."""
    return (
        Tracepoint("submitted", category="io_uring", event=submitted),
        Tracepoint("completed", category="io_uring", event="io_uring_complete"),
        Tracepoint("created", category="io_uring", event="io_uring_create"),
    )


# The formats have their fields by name: raw arguments changed with Linux 5.12, 5.18, 6.0, 6.3 and 6.16.
REQUESTS = Hook(
    "ring_request",
    "operations of io_uring begin and end",
    (
        Alternative("tracepoint", _events("io_uring_submit_req")),  # Linux 6.3
        Alternative("tracepoint-sqe", _events("io_uring_submit_sqe")),
    ),
)
"""A request is submitted in the context of its process, and completed in any."""

RING_FILES = Hook(
    "ring_file",
    "operations of io_uring on files begin and end",
    (
        *(
            replace(alternative, probes=alternative.probes[:2])  # all but the rings
            for alternative in REQUESTS.alternatives
        ),
        Alternative("none", ()),
    ),
)
"""Files are read and written by io_uring; probes_c/include/ring_files.h, which can do without."""

RINGS = Hook(
    "open_rings",
    "rings are open as the trace begins",
    (Alternative("iterator", (Iterator("listed", of="task_file"),)), Alternative("none", ())),
)
"""Each ring that is open (``listed``); probes_c/include/ringfds.h."""

_OPERATION = Column("operation", "as IORING_OP_*", decode="ring_operation", null=0xFFFF, width=12)
KEYS = (
    BY_PROCESS,
    Key("operation", (_OPERATION,)),
    Key("ring", (Column("ring", "descriptor of the ring in its process", null=-1),)),
)
_TOTAL, _AVERAGE, _MOST = times("timed")


def _count(name: str, text: str, label: str = "", width: int = 0) -> Column:
    """Return a number of requests; those without a width are shown with ``--wide`` alone."""
    return Column(name, text, label=label, unit=Unit.COUNT, width=width, wide=not width)


COUNTS = (
    _count("submitted", "requests that were submitted", "SUBMIT", 7),
    _count("completed", "requests that ended with a completion", "DONE", 7),
    _count("failed", "results below 0", width=6),
    _AVERAGE,
    _count("more", "further results of multishot and zero-copy requests"),
    replace(_TOTAL, wide=True),
    replace(_MOST, wide=True),
    _count("timed", "completions of which the time is known"),
    _count("skipped", "submitted without completion on success"),
    _count("fixed", "submitted with a fixed file"),
    _count("polled", "submitted by the kernel's thread (SQPOLL)"),
)
TIMES = Histogram(
    "rows",
    (Column("timed", "requests that ended", unit=Unit.COUNT), *times("timed")),
    when="latency",
    label="duration",
)
