"""httpsnoop: HTTP/1 requests, by whom, with status and latency."""

from pytracer.spec import Alternative, Column, Duration, Hook, Number, RawTracepoint, Stream, Tracer, Unit
from pytracer.spec.common import ONLY_FAILED
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.packets import CGROUP_PACKET, CREATED, OWNER, PEER
from pytracer.spec.tcp import NETNS, SOCKETS

CLOSE = Hook(
    "closed",
    "connections are closed",
    (Alternative("raw-tracepoint", (RawTracepoint("closed", event="inet_sock_set_state"),)),),
)

TRACER = Tracer(
    name="httpsnoop",
    group="network",
    summary="HTTP/1 requests: methods, paths, statuses, how long, by whom",
    description="Shows each HTTP/1 request that is sent or received, as the response to it begins.",
    hooks=(CGROUP_PACKET, CREATED, SOCKETS, CLOSE),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Number("port", "only this port; 0: all", minimum=0, maximum=65535, config="port"),
        Duration("min", "only those that waited at least this long", config="min", default=0),
        ONLY_FAILED,
    ),
    outputs=(
        Stream(
            columns=(
                *OWNER,
                Column("direction", "in: it serves; out: it asks", label="DIR", decode="direction", width=3),
                Column("status", "of the response; none: there was none, or not known", null=-1, width=6),
                Column("latency_ns", "time to response", "", "LATENCY", Unit.NANOSECONDS, width=10, null=-1),
                Column("method", "of the request", "line", decode="http_method", width=7),
                Column("path", "what is requested", "line", decode="http_path"),
                *PEER,
                NETNS,
            )
        ),
    ),
    examples=(
        ("httpsnoop", "every request of the machine, on both sides"),
        ("httpsnoop -x --container web", "what fails in one container: 400 and above, or no response"),
        ("httpsnoop --port 8080 --min 100ms", "slow requests of one service"),
    ),
    notes=(
        "Paths may have secrets in them. HTTP/2 and what TLS carries are not seen: sslsniff has the latter.",
        "A request is seen if a segment begins with it; of a line longer than 256 bytes, the rest is lost.",
        "Interim responses (100 to 199, but 101) end none. Of several requests on a connection before a",
        "response (pipelining), the first alone has a status. What waits as the trace ends is not shown.",
        "A socket is of who sent by it last, else who made it or had it open as the trace began. A body that",
        "begins a segment like a request is taken for one. IPv6 extension headers hide requests.",
    ),
)
