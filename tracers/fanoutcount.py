"""fanoutcount: how the packets of an interface spread over the sockets of a fanout group."""

from pytracer.spec import Arguments, Choice, Column, Key, Number, Table, Tracer, Unit
from pytracer.spec.packets import FANOUT, packet_filter

TRACER = Tracer(
    name="fanoutcount",
    group="network",
    summary="how packets spread over the workers of a fanout group",
    description="Counts packets by the worker that gets them, if several workers share an interface.",
    hooks=(FANOUT,),
    arguments=Arguments(
        "INTERFACE", "interfaces to look at, or 'any'", encode="interfaces", examples=("lo", "eth0", "any")
    ),
    options=(
        Number(
            "workers",
            "number of workers that share the packets",
            short="n",
            default=2,
            maximum=256,
            config="workers",
        ),
        Choice(
            "spread",
            "by addresses and ports, by addresses, or by the CPU that the packet came in by",
            choices=("flow", "hosts", "cpu"),
            default="flow",
            config="spread",
        ),
        packet_filter(raw=True),
    ),
    keys=(
        Key("interface", (Column("interface", "the interface", decode="interface"),)),
        Key("worker", (Column("worker", "the worker, from 0 on"),)),
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
        ("fanoutcount eth0 -n 8", "would eight capturing processes have equal shares?"),
        ("fanoutcount eth0 -n 8 --spread hosts 10", "fragments stay together; every ten seconds"),
        ("fanoutcount eth0 -n 4 --filter 'tcp port 443'", "of these; tcpdump's language"),
    ),
    notes=(
        "Incoming packets are counted. Both directions of a flow have the same worker.",
        "By flow, fragments and protocols other than TCP and UDP use addresses only. Worker 0 gets non-IP.",
        "pytracer makes a group of its own; groups of capturing programs keep their packets.",
        "To count packets needs no group: see sockcount.",
    ),
)
