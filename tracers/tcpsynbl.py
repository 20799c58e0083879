"""tcpsynbl: how full the queues of listening TCP sockets are as connections arrive."""

from pytracer.spec import Column, Filter, Flag, GroupBy, Histogram, Table, Tracer, Unit
from pytracer.spec.tcp import LISTENER_KEYS, TCP_CLONE

CONNECTIONS = Column("connections", "connections that were established", "", "CONNS", Unit.COUNT, width=7)
WAITING = Column("waiting", "the sum of what they found waiting", unit=Unit.COUNT, width=8)
AVERAGE = Column("avg_waiting", "on average", label="AVG", ratio=("waiting", "connections"), width=4)
MAX_WAITING = Column("max_waiting", "at most", label="MAX", max=True, width=5)

TRACER = Tracer(
    name="tcpsynbl",
    group="network",
    summary="how full the queues of listening TCP sockets are as connections arrive",
    description="Shows how many connections wait to be accepted on each listening socket, when one arrives.",
    hooks=(TCP_CLONE,),
    filters=(Filter.NETNS,),
    options=(
        GroupBy("by", "the key of a row; several with commas", keys=LISTENER_KEYS, default="local"),
        Flag("histogram", "histograms of how many wait", define="HISTOGRAM"),
    ),
    outputs=(
        Table(
            "rows",
            (
                CONNECTIONS,
                WAITING,
                AVERAGE,
                MAX_WAITING,
                Column("backlog", "how many may wait: listen(2), somaxconn", max=True, width=7),
                Column("max_half_open", "requests not established yet", "", "SYN", max=True, width=5),
            ),
            sort="max_waiting",
        ),
        Histogram(
            "rows", (CONNECTIONS, WAITING, MAX_WAITING), when="histogram", unit=Unit.COUNT, label="waiting"
        ),
    ),
    examples=(
        ("tcpsynbl", "every socket that connections come to, a table a second"),
        ("tcpsynbl --histogram --by local -d 60", "how the queue of each is filled"),
    ),
    notes=(
        "The length of a queue is read before the new connection is added to it.",
        "Connections that a full queue refuses are not in these numbers: TcpExtListenOverflows",
        "(nstat) counts it for the network namespace. A queue whose MAX is its BACKLOG has been full.",
        "SYN does not count requests answered by SYN cookies. ss -lt shows the current queues.",
    ),
)
