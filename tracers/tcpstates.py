"""tcpstates: TCP sockets as they change their state."""

from pytracer.spec import Column, Stream, Tracer, Unit
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.tcp import NETNS, OWNER_NOTES, OWNERS, connection_columns, connection_options

DURATION_HELP = "how long it was in the state before; none: since before the trace"

TRACER = Tracer(
    name="tcpstates",
    group="network",
    summary="changes of state of TCP sockets, and the time in each state",
    description="Shows each change of state of TCP sockets, with the duration of the previous state.",
    hooks=OWNERS,
    filters=TASK_FILTERS,
    follow=True,
    options=connection_options("where the state before lasted"),
    outputs=(
        Stream(
            columns=(
                *connection_columns("comm", "saddr"),
                Column("old", "state before", decode="tcp_state", width=11),
                Column("new", "state from now on", decode="tcp_state", width=11),
                Column("duration_ns", DURATION_HELP, label="TIME", unit=Unit.NANOSECONDS, null=0, width=9),
                NETNS,
            )
        ),
    ),
    examples=(
        ("tcpstates", "every change of the machine"),
        ("tcpstates --min 1s --wide", "of states that lasted long, with all columns"),
        ("tcpstates -f json -- curl -s http://localhost/", "those of a command, as JSON"),
    ),
    notes=(
        *OWNER_NOTES,
        "Incoming connections begin in SYN_RECV, and have no process until they are accepted.",
        "TIME_WAIT is not seen: the kernel replaces the socket by a smaller one, and shows CLOSE.",
    ),
)
