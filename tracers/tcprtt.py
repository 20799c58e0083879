"""tcprtt: round-trip times of TCP connections."""

from pytracer.spec import (
    Alternative,
    Column,
    GroupBy,
    Histogram,
    Hook,
    Kprobe,
    RawTracepoint,
    Tracer,
    Unit,
)
from pytracer.spec.common import ONLY_NETWORKS, times
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.tcp import CONNECTION_KEYS, OWNER_NOTES, OWNERS

SEGMENT = Hook(
    "tcp_segment",
    "segments come in",
    (
        Alternative("raw-tracepoint", (RawTracepoint("received", event="tcp_probe", preempted=False),)),
        Alternative("kprobe", (Kprobe("received", symbols=("tcp_rcv_established",)),)),
    ),
)
SEGMENTS = Column("segments", "segments that came in, of connections with an estimate", unit=Unit.COUNT)

TRACER = Tracer(
    name="tcprtt",
    group="network",
    summary="round-trip times of TCP connections, as histograms",
    description="Shows histograms of the smoothed round-trip time, sampled at each incoming segment.",
    hooks=(*OWNERS, SEGMENT),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy(
            "by",
            "a histogram for each; several with commas",
            keys=CONNECTION_KEYS,
            default="address",
        ),
        ONLY_NETWORKS,
    ),
    outputs=(Histogram("rows", (SEGMENTS, *times("segments")), label="srtt"),),
    examples=(
        ("tcprtt", "by the other end's address, a histogram of each a second"),
        ("tcprtt --by peer,pid -d 10", "by its port and the process, too, for ten seconds"),
        ("tcprtt --net 192.0.2.0/24", "of one network"),
    ),
    notes=(
        "The value is the kernel's srtt (as in ss -i) before it processes the segment.",
        "A busy connection counts more often. A connection without an estimate yet does not count.",
        *OWNER_NOTES[:2],
    ),
)
