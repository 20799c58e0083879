"""cgroupcount: packets and bytes per protocol of cgroups, and so of containers."""

from pytracer.spec import Column, Filter, Key, Table, Tracer, Unit
from pytracer.spec.packets import CGROUP_PACKET, PROTOCOL_NOTES, packet_filter

TRACER = Tracer(
    name="cgroupcount",
    group="network",
    summary="packets and bytes per protocol of cgroups and containers",
    description="Counts packets per protocol as they reach and leave the sockets of cgroups.",
    hooks=(CGROUP_PACKET,),
    filters=(Filter.CGROUP,),
    options=(packet_filter(raw=True),),
    keys=(
        Key("cgroup", (Column("cgroup", "the cgroup, from the root that is mounted", decode="cgroup"),)),
        Key("direction", (Column("direction", "in or out", decode="direction", width=3, label="DIR"),)),
        Key("protocol", (Column("protocol", "what the packet carries", decode="packet_protocol"),)),
    ),
    outputs=(
        Table(
            "rows",
            (
                Column("packets", "packets", unit=Unit.COUNT),
                Column("bytes", "bytes, from the network header on", unit=Unit.BYTES),
            ),
            sort="bytes",
        ),
    ),
    examples=(
        ("cgroupcount", "every cgroup of the machine"),
        ("cgroupcount --cgroup system.slice 10", "those of services, every ten seconds"),
        ("cgroupcount --container web --filter 'tcp port 443'", "one container; tcpdump's language"),
    ),
    notes=(
        "A socket belongs to its creator's cgroup; packets without a socket are not counted.",
        "Packets that other programs on the cgroup deny are counted, too.",
        "Up to 8 IPv6 extension headers are skipped; a packet with more is 'other'.",
        "Packets that offloads merged or have yet to split (GRO, TSO) count as one.",
        *PROTOCOL_NOTES,
        "Cgroups of version 1 have no such hook: their processes count for their cgroup of version 2.",
    ),
)
