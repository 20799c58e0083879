"""sockcount: packets and bytes per protocol on network interfaces."""

from pytracer.spec import Arguments, Audit, Choice, Tracer
from pytracer.spec.packets import (
    DIRECTION_HELP,
    DIRECTIONS,
    KEYS,
    PROTOCOL_NOTES,
    ROWS,
    SOCKET,
    packet_filter,
)

TRACER = Tracer(
    name="sockcount",
    group="network",
    summary="packets and bytes per protocol on an interface",
    description="Counts packets per protocol: TCP, UDP, ICMP, ICMPv6, other IP, or the EtherType.",
    hooks=(SOCKET,),
    arguments=Arguments(
        "INTERFACE",
        "interfaces to look at, or 'any'",
        encode="interfaces",
        examples=("lo", "eth0", "any"),
    ),
    options=(
        Choice("direction", DIRECTION_HELP, choices=DIRECTIONS, default="in", config="direction"),
        packet_filter(),
        Choice(
            "program",
            "the filter as written in C, or the same one written instruction by instruction",
            choices=("c", "bytecode"),
            default="c",
            program=True,
        ),
    ),
    keys=KEYS,
    outputs=(ROWS,),
    audit=Audit("rx_packets", "packets", ("program",), tolerance="GRO joins packets after they are counted"),
    examples=(
        ("sockcount lo", "what passes the loopback interface, each packet once"),
        ("sockcount --direction both eth0 eth1 10", "two interfaces, both ways, every ten seconds"),
        ("sockcount any 1 5 -f json", "all interfaces, five times, as JSON"),
        ("sockcount eth0 --filter 'tcp port 443'", "only that; tcpdump's language, see man pcap-filter"),
        ("sockcount lo --program bytecode", "the same, by the hand-written program"),
    ),
    notes=(
        "Up to two VLAN tags and 8 IPv6 extension headers are skipped; a further one counts as the protocol.",
        "VLAN tags that the device removes or inserts are not among the bytes (4 each).",
        "Packets that offloads merged or have yet to split (GRO, TSO) count as one.",
        *PROTOCOL_NOTES,
        "On 'any', or interfaces of several kinds, --filter sees packets from the network header on.",
    ),
)
