"""xdpcount: frames and bytes per protocol, as they come in from the device."""

from pytracer.spec import Arguments, Audit, Choice, Tracer
from pytracer.spec.packets import FRAME, KEYS, PROTOCOL_NOTES, ROWS, packet_filter

TRACER = Tracer(
    name="xdpcount",
    group="network",
    summary="frames and bytes per protocol, as they come in (XDP)",
    description="Counts frames per protocol, before the kernel makes packets of them.",
    hooks=(FRAME,),
    arguments=Arguments(
        "INTERFACE", "interfaces to look at", encode="interfaces", examples=("lo", "eth0"), every=False
    ),
    options=(
        Choice(
            "mode",
            "in the driver, behind it, or the first of these that the interface has",
            choices=("best", "native", "generic"),
            default="best",
        ),
        packet_filter(frames=True),
    ),
    audit=Audit("rx_packets", "packets", ("mode",), tolerance="drivers may drop some before"),
    keys=KEYS,
    outputs=(ROWS,),
    examples=(
        ("xdpcount eth0", "what comes in, in the driver if it can"),
        ("xdpcount --mode generic eth0 eth1 10", "behind the drivers, every ten seconds"),
        ("xdpcount eth0 --filter 'tcp port 443'", "only that; tcpdump's language, see man pcap-filter"),
    ),
    notes=(
        "Every frame is passed on. Outgoing frames are not seen.",
        "An interface has one XDP program. That of another owner stays, and the error names it.",
        "In the driver, frames are counted as on the wire, before GRO merges them.",
        "Up to two VLAN tags and 8 IPv6 extension headers are skipped; a further one counts as the protocol.",
        "VLAN tags are part of the frames and bytes, unless the device has removed them;",
        "to --filter, 'tcp port 443' is then a frame without a tag, 'vlan and tcp port 443' one with it.",
        "On lo, on veth and in generic mode, data that the sender has yet to split is one frame.",
        *PROTOCOL_NOTES,
    ),
)
