"""tcpconnlat: how long it takes to connect."""

from pytracer.spec import Column, Stream, Tracer, Unit
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.tcp import NETNS, OWNER_NOTES, OWNERS, connection_columns, connection_options

TRACER = Tracer(
    name="tcpconnlat",
    group="network",
    summary="latency of establishing TCP connections",
    description="Shows each TCP connection that is established, with the time that it took.",
    hooks=OWNERS,
    filters=TASK_FILTERS,
    follow=True,
    options=connection_options("connections that took"),
    outputs=(
        Stream(
            columns=(
                *connection_columns(),
                Column(
                    "latency_ns",
                    "from its SYN to the answer",
                    label="LATENCY",
                    unit=Unit.NANOSECONDS,
                    width=9,
                ),
                NETNS,
            )
        ),
    ),
    examples=(
        ("tcpconnlat", "every connection that is made"),
        ("tcpconnlat --min 10ms", "only slow ones"),
        ("tcpconnlat -f json -- curl -s http://localhost/", "those of a command, as JSON"),
    ),
    notes=(
        *OWNER_NOTES,
        "Connections that fail are not shown, nor accepted ones: tcptracer shows them.",
        "The time is that of the network and the peer's kernel; the peer's program may accept later.",
    ),
)
