"""tcptracer: TCP connections as they are opened, accepted and closed."""

from pytracer.spec import Flag, GroupBy, NameSet, Number, Stream, Table, Tracer
from pytracer.spec.common import ONLY_NETWORKS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.tcp import CONNECTION_COUNTS, CONNECTION_EVENT, CONNECTION_KEYS, TCP_ACCEPT, TCP_STATE

TYPES = ("connect", "accept", "close", "fail")  # enum type in probes_c/tcptracer.c

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
        Number(
            "port", "only with this port at either end", default=0, minimum=0, maximum=65535, config="port"
        ),
        Flag("count", "count them, by --by", define="COUNT"),
        GroupBy(
            "by", "the key of a row of --count; several with commas", keys=CONNECTION_KEYS, default="peer"
        ),
    ),
    outputs=(
        Stream(columns=CONNECTION_EVENT),
        Table("rows", CONNECTION_COUNTS, when="count", sort="connects"),
    ),
    examples=(
        ("tcptracer", "every connection of the machine"),
        ("tcptracer -- curl -s http://localhost/", "those of one command"),
        ("tcptracer -e connect,fail --wide", "who connects where, how long that took, and what failed"),
        ("tcptracer --net '!127.0.0.0/8,::1'", "not those within this machine"),
        ("tcptracer --count --port 5432", "connections to and from databases, and their bytes"),
    ),
    notes=(
        "A connection is closed when neither side can send, or its process has closed it.",
        "Bytes are payload, of connections that close: what was received until then, and sent.",
        "A failure without errno: the process gave up, or no port was free. Missing routes are not seen.",
        "A connection from before the trace belongs to who closes it; null if the peer resets it.",
        "--netns selects the socket's namespace. MPTCP is shown as its subflows.",
        "Without kprobes, accepts by io_uring or the kernel itself are not seen.",
    ),
)
