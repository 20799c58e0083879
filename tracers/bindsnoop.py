"""bindsnoop: who binds sockets to addresses, and who listens there."""

from pytracer.spec import Column, NameSet, Number, Stream, Tracer
from pytracer.spec.common import ONLY_FAILED, TASK_COLUMNS, return_of
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.io_uring import RING_FILES
from pytracer.spec.tcp import NETNS

NO_ADDRESS = b"\xff" * 16

TRACER = Tracer(
    name="bindsnoop",
    group="network",
    summary="sockets as they are bound to addresses and begin to listen, by whom, with what result",
    description="Shows each bind(2) and listen(2) of an IPv4 or IPv6 socket as it returns.",
    hooks=(return_of("bind listen socketcall"), RING_FILES),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        NameSet(
            "calls",
            "only these ('listen'), or all but these ('!bind')",
            short="e",
            names=("bind", "listen"),
            map="pt_kinds",
            define="PT_ONLY",
        ),
        Number("port", "only this port; 0: all", minimum=0, maximum=65535, config="port"),
        ONLY_FAILED,
    ),
    outputs=(
        Stream(
            columns=(
                *TASK_COLUMNS,
                Column("call", "bind or listen", decode="text", width=6),
                Column("error", "why it failed", decode="errno", null=0, width=10),
                Column("protocol", "the protocol of the socket", decode="ip_protocol", width=8),
                Column("port", "the port that it got, or that was refused", null=-1, width=5),
                Column("address", "that address", decode="address", null=NO_ADDRESS, width=15),
                Column("backlog", "connections that may wait to be accepted", null=-1, wide=True),
                Column("interface", "the interface it is bound to", decode="interface", null=0, wide=True),
                NETNS,
            )
        ),
    ),
    examples=(
        ("bindsnoop", "every bind and listen of the machine"),
        ("bindsnoop -x", "those that failed: the port is taken, or not allowed"),
        ("bindsnoop -e listen -- ./server", "where one command listens"),
    ),
    notes=(
        "Not shown: sockets that the kernel binds when they connect or send, and UNIX sockets.",
        "Operations of io_uring (Linux 6.11) are seen, except those that it refuses when they are submitted.",
        "For sockets that already listen, see openfiles or ss -l. --netns selects the socket's namespace.",
    ),
)
