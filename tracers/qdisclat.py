"""qdisclat: how long packets wait in the queues of interfaces."""

from pytracer.spec import (
    Alternative,
    Column,
    Filter,
    GroupBy,
    Histogram,
    Hook,
    Key,
    RawTracepoint,
    Tracer,
    Unit,
)
from pytracer.spec.common import times

ENDS = (("dequeued", "qdisc_dequeue", 4), ("gone", "kfree_skb", 2))
FORMS = {
    "raw-tracepoint": (("enqueued", "qdisc_enqueue", 3), *ENDS),  # Linux 5.14
    "raw-tracepoint-device": (("enqueued", "net_dev_queue", 1), ("gone", "net_dev_start_xmit", 2), *ENDS),
}
QUEUE = Hook(
    "queue",
    "packets enter and leave queues",
    tuple(
        Alternative(name, tuple(RawTracepoint(p, event=e, arguments=n, preempted=False) for p, e, n in form))
        for name, form in FORMS.items()
    ),
)
KEYS = (
    Key("interface", (Column("interface", "the interface", decode="text"),)),
    Key("queue", (Column("queue", "number of the interface's queue"),)),
    Key("qdisc", (Column("qdisc", "kind of the queueing discipline", decode="text"),)),
    Key("netns", (Column("netns", "network namespace of the interface (inode number)"),)),
)
PACKETS = Column("packets", "packets that left a queue", unit=Unit.COUNT)

TRACER = Tracer(
    name="qdisclat",
    group="network",
    summary="time that packets wait in queueing disciplines, as histograms",
    description="Shows histograms of the time that packets wait in queueing disciplines, by interface.",
    hooks=(QUEUE,),
    filters=(Filter.NETNS,),
    options=(GroupBy("by", "a histogram for each; several with commas", keys=KEYS, default="interface"),),
    outputs=(Histogram("rows", (PACKETS, *times("packets")), label="wait"),),
    examples=(
        ("qdisclat", "every interface, a histogram of each a second"),
        ("qdisclat --by interface,queue,qdisc -d 10", "each queue by itself, for ten seconds"),
    ),
    notes=(
        "A packet that bypasses an empty queue, or is dropped, is not counted.",
        "Interfaces without a queue (noqueue: lo, bridges, most interfaces of containers) are not seen.",
        "Before Linux 5.14, the time begins just before the packet is queued.",
        "Of a batch of packets, 512 are counted (before Linux 5.17: 32); the others count as one loss.",
    ),
)
