"""tcptop: what programs send and receive by TCP."""

from pytracer.spec import (
    Alternative,
    Column,
    Fexit,
    GroupBy,
    Hook,
    RawTracepoint,
    Table,
    Tracer,
    Unit,
)
from pytracer.spec.common import ONLY_NETWORKS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.tcp import CONNECTION_KEYS

EVENTS = (("sent", "sock_send_length"), ("received", "sock_recv_length"))
FUNCTIONS = (("sent", "inet_sendmsg"), ("received", "inet_recvmsg"))
OPTIONAL = (("sent6", "inet6_sendmsg"), ("received6", "inet6_recvmsg"), ("sent_page", "inet_sendpage"))
SOCKET_BYTES = Hook(
    "socket_bytes",
    "programs send and receive by sockets",
    (
        Alternative("raw-tracepoint", tuple(RawTracepoint(p, event=e) for p, e in EVENTS)),  # Linux 6.3
        Alternative(
            "fexit",
            (
                *(Fexit(program, function=name) for program, name in FUNCTIONS),
                *(Fexit(program, optional=True, function=name) for program, name in OPTIONAL),
            ),
        ),
    ),
)
TX = Column("tx_bytes", "bytes that were sent", label="TX", unit=Unit.BYTES)
RX = Column("rx_bytes", "bytes that were received", label="RX", unit=Unit.BYTES)

TRACER = Tracer(
    name="tcptop",
    group="network",
    summary="bytes that programs send and receive by TCP, by process and connection",
    description="Adds up the bytes that programs send and receive by TCP connections.",
    hooks=(SOCKET_BYTES,),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy("by", "the key of a row; several with commas", keys=CONNECTION_KEYS, default="pid"),
        ONLY_NETWORKS,
    ),
    outputs=(Table("rows", (TX, RX), sort="tx_bytes"),),
    examples=(
        ("tcptop", "every process, a table a second"),
        ("tcptop --by pid,local,peer 5", "each connection, every five seconds"),
        ("tcptop --by address --sort rx_bytes", "by the other end, who sends most to this machine first"),
    ),
    notes=(
        "Bytes are those of calls: what waits in buffers counts, what the kernel sends again does not.",
        "Before Linux 6.3 it needs trampolines. What splice(2) and zero-copy receiving take is not seen.",
    ),
)
