"""dnssnoop: DNS queries and answers, by whom, and how long answers take."""

from pytracer.spec import Choice, Column, Duration, Number, Stream, Tracer, Unit
from pytracer.spec.common import ONLY_FAILED
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.packets import CGROUP_PACKET, CREATED, OWNER, PEER
from pytracer.spec.tcp import NETNS, SOCKETS

MESSAGES = ("both", "queries", "answers")
TRACER = Tracer(
    name="dnssnoop",
    group="network",
    summary="DNS queries and answers: names, types, codes, how long, by whom",
    description="Shows DNS messages as they leave and reach sockets, and how long each answer took.",
    hooks=(CGROUP_PACKET, CREATED, SOCKETS),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Number("port", "the port of DNS servers; mDNS has 5353", default=53, maximum=65535, config="port"),
        Choice("messages", "which messages", choices=MESSAGES, default="both", config="messages"),
        Duration("min", "only answers that took at least this long", config="min", default=0),
        ONLY_FAILED,
    ),
    outputs=(
        Stream(
            columns=(
                *OWNER,
                Column("direction", "to the socket, or from it", label="DIR", decode="direction", width=3),
                Column("code", "how the server answers; none: a query", decode="dns_code", null=-1, width=8),
                Column("latency_ns", "since the query", "", "LATENCY", Unit.NANOSECONDS, width=10, null=-1),
                Column("type", "what is asked for", "question", decode="dns_type", null=b"", width=5),
                Column("name", "the requested name", "question", decode="dns_name", null=b""),
                Column("message", "query or answer", "is_answer", decode="dns_message", wide=True),
                Column("answers", "records of the answer section", null=-1, wide=True),
                Column("protocol", "UDP or TCP", decode="ip_protocol", width=5, wide=True),
                *PEER,
                NETNS,
            )
        ),
    ),
    examples=(
        ("dnssnoop", "every query and answer of the machine"),
        ("dnssnoop --failed --container web", "what one container asks for in vain"),
        ("dnssnoop --messages answers --min 100ms --wide", "slow answers, and which servers gave them"),
    ),
    notes=(
        "A socket belongs to the last sender, else to its creator or the process that has it open; data",
        "on a TCP connection before accept belongs to no process. A query without an answer has no time.",
        "An answer is matched to the first query with the same id, question, socket and peer.",
        "Encrypted DNS is not seen. By TCP, a query must begin a segment.",
        "Packets with IPv6 extension headers, and further questions of one message, are not read.",
        "Of codes above 15 (EDNS), the last four bits are shown.",
    ),
)
