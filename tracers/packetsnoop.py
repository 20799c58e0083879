"""packetsnoop: packets as they pass network interfaces."""

from pytracer.spec import Alternative, Arguments, Choice, Column, Hook, SocketFilter, Stream, Tracer, Unit
from pytracer.spec.packets import DIRECTION_HELP, DIRECTIONS, packet_filter

NO_ADDRESS = b"\xff" * 16

TRACER = Tracer(
    name="packetsnoop",
    group="network",
    summary="packets as they pass an interface, with their ends",
    description="Shows each packet: direction, source, destination, protocol, length.",
    hooks=(Hook("seen", "packets pass", (Alternative("socket-filter", (SocketFilter("see"),)),)),),
    arguments=Arguments(
        "INTERFACE", "interfaces to look at, or 'any'", encode="interfaces", examples=("lo", "eth0", "any")
    ),
    options=(
        Choice("direction", DIRECTION_HELP, choices=DIRECTIONS, default="both", config="direction"),
        packet_filter(),
    ),
    outputs=(
        Stream(
            columns=(
                Column("interface", "the interface", decode="interface", label="IF", width=8),
                Column("direction", "in or out", decode="direction", label="DIR", width=3),
                Column("protocol", "what the packet carries", decode="packet_protocol", width=9),
                Column("saddr", "source address", decode="address", null=NO_ADDRESS, width=15),
                Column("sport", "source port", null=-1, width=5),
                Column("daddr", "destination address", decode="address", null=NO_ADDRESS, width=15),
                Column("dport", "destination port", null=-1, width=5),
                Column("bytes", "bytes, link header and VLAN tags included", unit=Unit.BYTES, width=5),
            )
        ),
    ),
    examples=(
        ("packetsnoop eth0 --filter 'tcp port 443'", "these; tcpdump's language, see man pcap-filter"),
        ("packetsnoop any --direction out -T", "what goes out anywhere, with the time"),
        ("packetsnoop eth0 -f json -d 10", "ten seconds of it, as JSON"),
    ),
    notes=(
        "The payload is not copied. If the buffer is full, packets are counted as lost: see --buffer.",
        "Up to two VLAN tags are skipped; a third is shown as ethertype_0x8100 or ethertype_0x88a8.",
        "On lo each packet is seen twice, outgoing and incoming.",
        "Later fragments, and packets with IPv6 extension headers, are shown without ports.",
        "Contents of tunnels (GRE, VXLAN, MPLS), IP options and checksums are not read.",
        "Packets that offloads merged or have yet to split (GRO, TSO) are shown as one.",
    ),
)
