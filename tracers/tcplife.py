"""tcplife: TCP connections when they have ended."""

from pytracer.spec import Column, Stream, Tracer, Unit
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.tcp import NETNS, OWNER_NOTES, OWNERS, connection_columns, connection_options

DURATION_HELP = "from when it was established; none: before the trace"

TRACER = Tracer(
    name="tcplife",
    group="network",
    summary="TCP connections when they end: process, duration, bytes each way",
    description="Shows each TCP connection when it has ended, with its process, duration and bytes.",
    hooks=OWNERS,
    filters=TASK_FILTERS,
    follow=True,
    options=connection_options("connections that lasted"),
    outputs=(
        Stream(
            columns=(
                *connection_columns("saddr"),
                Column("tx_bytes", "bytes of data that were sent", label="TX", unit=Unit.BYTES, width=8),
                Column("rx_bytes", "bytes of data that were received", label="RX", unit=Unit.BYTES, width=8),
                Column("duration_ns", DURATION_HELP, label="TIME", unit=Unit.NANOSECONDS, null=0, width=8),
                NETNS,
            )
        ),
    ),
    examples=(
        ("tcplife", "every connection of the machine that ends"),
        ("tcplife --min 1s --net '!127.0.0.0/8,::1'", "long ones with other machines"),
        ("tcplife -f json -- curl -s http://localhost/", "those of a command, as JSON"),
    ),
    notes=(
        *OWNER_NOTES,
        "Bytes are payload without retransmissions. Sent bytes may not have arrived.",
        "A connection ends when no data is left to be sent, which may be after the end of its process.",
    ),
)
