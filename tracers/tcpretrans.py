"""tcpretrans: TCP segments that are sent again."""

from pytracer.spec import Alternative, Column, Hook, RawTracepoint, Stream, Tracepoint, Tracer, Unit, tcp
from pytracer.spec.common import ONLY_NETWORKS
from pytracer.spec.filters import TASK_FILTERS

EVENTS = (("retransmitted", "tcp_retransmit_skb"), ("synack_retransmitted", "tcp_retransmit_synack"))
RETRANSMIT = Hook(
    "retransmit",
    "segments are sent again",
    (
        Alternative("raw-tracepoint", tuple(RawTracepoint(p, event=e, preempted=False) for p, e in EVENTS)),
        Alternative("tracepoint", tuple(Tracepoint(p, category="tcp", event=e) for p, e in EVENTS)),
    ),
)
TYPE = "timeout, fast (a loss was told), probe (TLP), SYN, SYNACK"

TRACER = Tracer(
    name="tcpretrans",
    group="network",
    summary="retransmitted TCP segments: process, addresses, reason",
    description="Shows each retransmitted TCP segment, with the reason and the state of the connection.",
    hooks=(*tcp.OWNERS, RETRANSMIT),
    filters=TASK_FILTERS,
    audit=tcp.SEGMENTS_AUDIT,
    follow=True,
    options=(ONLY_NETWORKS,),
    outputs=(
        Stream(
            columns=(
                *tcp.connection_columns("saddr"),
                Column("type", TYPE, decode="retransmission", width=7),
                Column("state", "state of the connection", decode="tcp_state", width=11),
                Column("segments", "segments that were sent as one packet", width=8, wide=True),
                Column("bytes", "bytes of data", unit=Unit.BYTES, width=8, wide=True),
                tcp.NETNS,
            )
        ),
    ),
    examples=(
        ("tcpretrans", "every segment that is sent again"),
        ("tcpretrans --net 192.0.2.0/24 --wide", "to one network, with sizes"),
    ),
    notes=(
        *tcp.OWNER_NOTES[:2],
        "A SYNACK belongs to the listening process.",
    ),
)
