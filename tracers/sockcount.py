"""sockcount: packets and bytes per protocol on network interfaces."""

from pytracer.spec import Alternative, Arguments, Choice, Column, Hook, Key, SocketFilter, Table, Tracer, Unit

PACKETS = Column("packets", "packets", unit=Unit.COUNT)
BYTES = Column("bytes", "bytes, link header included", unit=Unit.BYTES)

TRACER = Tracer(
    name="sockcount",
    group="network",
    summary="packets and bytes per protocol on an interface",
    description="Counts packets by what they carry: TCP, UDP, ICMP, ICMPv6, other IP, or the EtherType.",
    hooks=(Hook("packet", "packets pass", (Alternative("socket-filter", (SocketFilter("count"),)),)),),
    arguments=Arguments(
        "INTERFACE",
        "interfaces to look at, or 'any'",
        encode="interfaces",
        examples=("lo", "eth0", "any"),
    ),
    options=(
        Choice(
            "direction",
            "which packets: those that come in, go out, or both",
            choices=("in", "out", "both"),
            default="in",
            config="direction",
        ),
        Choice(
            "program",
            "the filter as written in C, or the same one written instruction by instruction",
            choices=("c", "bytecode"),
            default="c",
            program=True,
        ),
    ),
    keys=(
        Key("interface", (Column("interface", "the interface", decode="interface"),)),
        Key("protocol", (Column("protocol", "what the packet carries", decode="packet_protocol"),)),
    ),
    outputs=(Table("rows", (PACKETS, BYTES), sort="bytes"),),
    examples=(
        ("sockcount lo", "what passes the loopback interface, each packet once"),
        ("sockcount --direction both eth0 eth1 10", "two interfaces, both ways, every ten seconds"),
        ("sockcount any 1 5 -f json", "all interfaces, five times, as JSON"),
        ("sockcount lo --program bytecode", "the same, by the hand-written program"),
    ),
    notes=(
        "VLAN tags and IPv6 extension headers are looked through, to what they lead to.",
        "A VLAN tag that the device takes off or puts on is not among the bytes (4 each).",
        "What offloads have joined, or have yet to split (GRO, TSO), counts as one packet.",
        "'other' is any further IP protocol, 'malformed' a packet whose headers end too early.",
    ),
)
