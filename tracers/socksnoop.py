"""socksnoop: sockets as they are made, bound, connected and sent by."""

from pytracer.spec import Column, Filter, NameSet, Stream, Tracer
from pytracer.spec.packets import SOCKETS

CALLS = ("socket", "bind", "bound", "connect", "send")  # enum call in probes_c/socksnoop.c

TRACER = Tracer(
    name="socksnoop",
    group="network",
    summary="sockets as they are created, bound and connected, and their sendto() calls",
    description="Shows processes that create, bind and connect IPv4 and IPv6 sockets, or send by them.",
    hooks=(SOCKETS,),
    filters=(Filter.PID, Filter.TID, Filter.COMM, Filter.UID, Filter.CGROUP),
    follow=True,
    options=(
        NameSet(
            "calls",
            "only these ('connect,send'), or all but these ('!socket')",
            short="e",
            names=CALLS,
            map="pt_kinds",
            define="PT_ONLY",
        ),
    ),
    outputs=(
        Stream(
            columns=(
                Column("pid", "process id", width=7),
                Column("comm", "name of the thread", decode="text", width=15),
                Column("call", "what it does: " + ", ".join(CALLS), decode="socket_call", width=7),
                Column(
                    "family", "IPv4 or IPv6, as the call goes", decode="socket_family", width=6, wide=True
                ),
                Column("type", "stream, dgram, raw", decode="socket_type", width=6, wide=True),
                Column("protocol", "the protocol of the socket", decode="ip_protocol", width=8),
                Column("address", "the address that is given", decode="address", null=b"\xff" * 16, width=15),
                Column("port", "the port that is given", null=-1, width=5),
            )
        ),
    ),
    examples=(
        ("socksnoop", "every socket of the machine"),
        ("socksnoop -e connect,send -- curl -s http://localhost/", "where one command connects and sends"),
        ("socksnoop -e bound --container web", "the ports that a container takes"),
        ("socksnoop --cgroup user.slice -f json", "all of a cgroup and those below it, as JSON"),
    ),
    notes=(
        "Requests are shown, whether they succeed or not; 'bound' is the result of a bind.",
        "'send' is a datagram with an address; those of connected sockets are not shown.",
        "A socket belongs to its creator's cgroup. UNIX, netlink and packet sockets are not seen.",
        "Requests that other programs on the cgroup deny are shown, too.",
    ),
)
