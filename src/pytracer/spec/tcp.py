"""Hooks, columns and notes of the tracers of TCP connections."""

from __future__ import annotations

from pytracer.record import replace
from pytracer.spec.audit import Audit
from pytracer.spec.calls import CallTracepoint, call_tracepoints
from pytracer.spec.columns import Column, Key, Unit
from pytracer.spec.common import ONLY_NETWORKS
from pytracer.spec.filters import Filter
from pytracer.spec.hooks import Alternative, Fexit, Hook, Iterator, Kprobe, RawTracepoint, Tracepoint
from pytracer.spec.options import Duration, Option

TCP_STATE = Hook(
    "tcp_state",
    "TCP connections change their state",
    (
        Alternative("raw-tracepoint", (RawTracepoint("state", event="inet_sock_set_state"),)),
        Alternative("tracepoint", (Tracepoint("state", category="sock", event="inet_sock_set_state"),)),
        Alternative("kprobe", (Kprobe("state", symbols=("tcp_set_state",)),)),
    ),
)
"""A sock is about to enter another state (``state``); probes_c/include/tcp.h. The trace event: Linux 4.16."""

TCP_ACCEPT = Hook(
    "tcp_accept",
    "connections are accepted",
    (
        # Where an accepted connection gets its socket, by whatever call. A kretprobe of inet_csk_accept would
        # lose what more threads accept than it has slots for: they sleep in there.
        Alternative("kprobe", (Kprobe("accepted", symbols=("security_sock_graft",)),)),
        call_tracepoints(CallTracepoint("accepted", calls=("accept", "accept4"), at_return=True)),
        Alternative("raw-tracepoint", (RawTracepoint("accepted", event="sys_exit"),)),
        Alternative("tracepoint", (Tracepoint("accepted", category="raw_syscalls", event="sys_exit"),)),
    ),
)
"""A task accepts a connection, in its own context (``accepted``); probes_c/include/tcp.h."""

SOCKETS = Hook(
    "open_sockets",
    "sockets are open as the trace begins",
    (Alternative("iterator", (Iterator("owned", of="task_file"),)), Alternative("none", ())),
)
OWNERS = (TCP_STATE, TCP_ACCEPT, SOCKETS)
"""The hooks that find the owners of TCP connections: probes_c/include/owners.h."""

PID = Column("pid", "the process that connected, accepted or listens; none: not known", null=0, width=7)
COMM = Column("comm", "its name, then", decode="text", null=b"", width=9)
SADDR = Column("saddr", "address of this end", decode="address", width=15)
SPORT = Column("sport", "port of this end", width=5)
DADDR = Column("daddr", "address of the other end", decode="address", width=15)
DPORT = Column("dport", "port of the other end", width=5)
NETNS = Column("netns", "network namespace of the socket (inode number)", width=10, wide=True)
"""The network namespace of a connection: probes_c/include/connection_members.h."""

CONNECTION_KEYS = (
    Key("address", (DADDR,)),
    Key("peer", (DADDR, DPORT)),
    Key("local", (SADDR, SPORT)),
    Key("pid", (PID, COMM)),
    Key("netns", (replace(NETNS, wide=False),)),
)
"""Rows of connections: probes_c/include/connection_rows.h."""

_DURATION_HELP = "how long it was open (close) or took to be (connect, fail); 0: opened before the trace"
CONNECTION_EVENT = (
    Column("type", "the event", decode="connection_event", width=7),
    Column("pid", "the process that connected or accepted; 0: not known", width=7),
    Column("comm", "its name, then", decode="text", width=14),
    *(SADDR, SPORT, DADDR, DPORT, NETNS),
    Column("duration_ns", _DURATION_HELP, label="DURATION", unit=Unit.NANOSECONDS, wide=True),
    Column("errno", "why it failed", field="error", decode="connection_error", wide=True),
    Column("tx_bytes", "bytes that were sent (close)", label="TX", unit=Unit.BYTES, null=-1, wide=True),
    Column("rx_bytes", "bytes that were received (close)", label="RX", unit=Unit.BYTES, null=-1, wide=True),
)
CONNECTION_COUNTS = (
    Column("connects", "connections that were opened", unit=Unit.COUNT),
    Column("accepts", "connections that were accepted", unit=Unit.COUNT),
    Column("closes", "connections that were closed", unit=Unit.COUNT),
    Column("fails", "connections that failed to open", unit=Unit.COUNT),
    Column("tx_bytes", "bytes that the closed ones sent", label="TX", unit=Unit.BYTES),
    Column("rx_bytes", "bytes that the closed ones received", label="RX", unit=Unit.BYTES),
)
"""Columns of events of connections, and of their counts: probes_c/include/connection_events.h."""

LISTENER_KEYS = tuple(key for key in CONNECTION_KEYS if key.name in ("local", "netns"))
"""Rows of listening sockets."""

TCP_CLONE = replace(TCP_STATE, alternatives=TCP_STATE.alternatives[:2])
"""As :data:`TCP_STATE`, but not by a function: also the first state of the sock of a new connection, which is
a copy of the one that listens."""


def wide(column: Column) -> Column:
    """Return the same column, shown in tables only with ``--wide``."""
    return replace(column, wide=True)


def connection_columns(*hidden: str) -> tuple[Column, ...]:
    """Return the columns of the connection and its owner; those named in ``hidden`` are for --wide."""
    columns = (PID, COMM, SADDR, SPORT, DADDR, DPORT)
    return tuple(wide(column) if column.name in hidden else column for column in columns)


def connection_options(events: str) -> tuple[Option, ...]:
    """Return the options that leave out short and other connections; ``events`` completes the help."""
    return Duration("min", f"only {events} at least this long", config="min", default=0), ONLY_NETWORKS


SEGMENTS_AUDIT = Audit(
    "retransmissions",
    column="segments",
    filters=(Filter.NETNS,),
    tolerance="before Linux 6.16, the kernel also counts what could not leave",
)
"""The kernel's own count of segments that are sent again."""
OWNER_NOTES = (
    "A connection belongs to the process that connected or accepted.",
    "A connection from before the trace belongs to the first process that has it open at the start.",
    "--netns selects the socket's namespace. MPTCP is shown as its subflows.",
    "Without kprobes, a connection accepted by io_uring has no process until it is closed.",
)

_EVENTS = (("sent", "sock_send_length"), ("received", "sock_recv_length"))
_FUNCTIONS = (("sent", "inet_sendmsg"), ("received", "inet_recvmsg"))
_OPTIONAL = (("sent6", "inet6_sendmsg"), ("received6", "inet6_recvmsg"), ("sent_page", "inet_sendpage"))
SOCKET_BYTES = Hook(
    "socket_bytes",
    "programs send and receive by sockets",
    (
        Alternative("raw-tracepoint", tuple(RawTracepoint(p, event=e) for p, e in _EVENTS)),  # Linux 6.3
        Alternative(
            "fexit",
            (
                *(Fexit(program, function=name) for program, name in _FUNCTIONS),
                *(Fexit(program, optional=True, function=name) for program, name in _OPTIONAL),
            ),
        ),
    ),
)
"""Bytes that programs send and receive: probes_c/include/socket_bytes.h."""

TX = Column("tx_bytes", "bytes that were sent", label="TX", unit=Unit.BYTES)
RX = Column("rx_bytes", "bytes that were received", label="RX", unit=Unit.BYTES)
