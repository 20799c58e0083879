"""tcpstates: TCP sockets as they change their state."""

from pytracer.spec import Column, Duration, Stream, Tracer, Unit
from pytracer.spec.common import ONLY_NETWORKS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.tcp import COMM, DADDR, DPORT, NETNS, OWNER_NOTES, OWNERS, PID, SADDR, SPORT, wide

LASTED = "how long it was in the state before; none: since before the trace"

TRACER = Tracer(
    name="tcpstates",
    group="network",
    summary="changes of state of TCP sockets, and the time in each state",
    description="Shows each change of state of TCP sockets, and how long the state before lasted.",
    hooks=OWNERS,
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Duration("min", "only where the state before lasted at least this long", config="min", default=0),
        ONLY_NETWORKS,
    ),
    outputs=(
        Stream(
            columns=(
                PID,
                wide(COMM),
                wide(SADDR),
                SPORT,
                DADDR,
                DPORT,
                Column("old", "state before", decode="tcp_state", width=11),
                Column("new", "state from now on", decode="tcp_state", width=11),
                Column("duration_ns", LASTED, label="TIME", unit=Unit.NANOSECONDS, null=0, width=9),
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
        "TIME_WAIT is not seen: the kernel replaces the socket by a smaller one, and it enters CLOSE.",
    ),
)
