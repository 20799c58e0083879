"""tcptracer: TCP connections as they are opened, accepted and closed."""

from pytracer.spec import Column, NameSet, Stream, Tracer, Unit
from pytracer.spec.common import ONLY_NETWORKS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.tcp import TCP_ACCEPT, TCP_STATE

TYPES = ("connect", "accept", "close", "fail")  # enum type in probes_c/tcptracer.c
DURATION_HELP = "how long it was open (close) or took to be (connect, fail); 0: opened before the trace"

TRACER = Tracer(
    name="tcptracer",
    group="network",
    summary="TCP connections: connect, accept, close",
    description="Shows TCP connections, IPv4 and IPv6, as they are opened, accepted and closed, or fail.",
    hooks=(TCP_STATE, TCP_ACCEPT),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        NameSet(
            "types",
            "only these events ('connect,fail'), or all but these ('!close')",
            short="e",
            names=TYPES,
            map="pt_kinds",
            define="PT_ONLY",
        ),
        ONLY_NETWORKS,
    ),
    outputs=(
        Stream(
            columns=(
                Column("type", "the event", decode="connection_event", width=7),
                Column("pid", "the process that connected or accepted; 0: not known", width=7),
                Column("comm", "its name, then", decode="text", width=14),
                Column("saddr", "address of this end", decode="address", width=15),
                Column("sport", "port of this end", width=5),
                Column("daddr", "address of the other end", decode="address", width=15),
                Column("dport", "port of the other end", width=5),
                Column("netns", "network namespace of the socket (inode number)", width=10, wide=True),
                Column("duration_ns", DURATION_HELP, label="DURATION", unit=Unit.NANOSECONDS, wide=True),
                Column("errno", "why it failed", field="error", decode="connection_error", wide=True),
            )
        ),
    ),
    examples=(
        ("tcptracer", "every connection of the machine"),
        ("tcptracer -- curl -s http://localhost/", "those of one command"),
        ("tcptracer -e connect,fail --wide", "who connects where, how long that took, and what failed"),
        ("tcptracer --net '!127.0.0.0/8,::1'", "not those within this machine"),
        ("tcptracer --netns 4711 -f json", "those of a container's network namespace, as JSON"),
    ),
    notes=(
        "A connection is closed when neither side can send, or its process has closed it.",
        "A failure without errno: the process gave up, or no port was free. Missing routes are not seen.",
        "A connection from before the trace belongs to who closes it; null if the peer resets it.",
        "--netns selects the socket's namespace. MPTCP is shown as its subflows.",
        "Without kprobes, accepts by io_uring or the kernel itself are not seen.",
    ),
)
