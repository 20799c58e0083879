"""tccount: packets and bytes per protocol, in traffic control."""

from pytracer.spec import Arguments, Audit, Choice, Tracer
from pytracer.spec.packets import (
    DIRECTION_HELP,
    DIRECTIONS,
    KEYS,
    PROTOCOL_NOTES,
    ROWS,
    TRAFFIC,
    packet_filter,
)

TRACER = Tracer(
    name="tccount",
    group="network",
    summary="packets and bytes per protocol, in traffic control",
    description="Counts packets by what they carry, before the filters of traffic control decide on them.",
    hooks=(TRAFFIC,),
    arguments=Arguments(
        "INTERFACE", "interfaces to look at", encode="interfaces", examples=("lo", "eth0"), every=False
    ),
    options=(
        Choice("direction", DIRECTION_HELP, choices=DIRECTIONS, default="in"),
        packet_filter(),
    ),
    audit=Audit("rx_packets", "packets", tolerance="GRO joins some, XDP drops some"),
    keys=KEYS,
    outputs=(ROWS,),
    examples=(
        ("tccount eth0", "what comes in"),
        ("tccount --direction out eth0 10", "what is to go out, every ten seconds"),
        ("tccount eth0 --filter 'udp port 53'", "only that; tcpdump's language, see man pcap-filter"),
    ),
    notes=(
        "What comes in is counted after XDP; what goes out, before anything is queued or dropped there.",
        "Every packet is left to the filters of others, which decide as if this one were not there.",
        "Two VLAN tags and 8 IPv6 extension headers are looked through; then the next one is what counts.",
        "A VLAN tag that the device takes off or puts on is not among the bytes (4 each).",
        "What offloads have joined, or have yet to split (GRO, TSO), counts as one packet.",
        *PROTOCOL_NOTES,
        "Before Linux 6.6 by a clsact qdisc, which is shared, or made and taken away again.",
        "On interfaces of several kinds, --filter sees packets from the network header on.",
    ),
)
