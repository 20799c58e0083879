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
    description="Counts packets per protocol, before the filters of traffic control.",
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
        "Incoming packets are counted after XDP; outgoing ones before they are queued or dropped.",
        "Every packet passes to the other filters unchanged.",
        "Up to two VLAN tags and 8 IPv6 extension headers are skipped; a further one counts as the protocol.",
        "VLAN tags that the device removes or inserts are not among the bytes (4 each).",
        "Packets that offloads merged or have yet to split (GRO, TSO) count as one.",
        *PROTOCOL_NOTES,
        "Before Linux 6.6 it uses the clsact qdisc: an existing one, or one that it adds and removes.",
        "On interfaces of several kinds, --filter sees packets from the network header on.",
    ),
)
