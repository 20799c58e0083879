"""gethostlatency: how long programs wait for names to be looked up."""

from pytracer.spec import Column, Duration, Stream, Targets, Tracer, Unit
from pytracer.spec.common import ONLY_FAILED, TASK_COLUMNS
from pytracer.spec.filters import TASK_FILTERS

NAMES = ("getaddrinfo", "gethostbyname", "gethostbyname2", "gethostbyname_r", "gethostbyname2_r")
FILES = ("libc", "/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-aarch64.so.1")

TRACER = Tracer(
    name="gethostlatency",
    group="network",
    summary="look-ups of host names: name, process, latency, result",
    description="Shows each call that looks a host name up (getaddrinfo, gethostbyname*) as it returns.",
    hooks=(),
    arguments=Targets(
        "PATTERN",
        "u:FILE:getaddrinfo and the like, of another file than the C library",
        begin="begins",
        end="returns",
        minimum=0,
        default=tuple(f"u:{file}:{name}" for file in FILES for name in NAMES),
        kinds=NAMES,
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Duration("min", "only those that took at least this long", config="min", default=0),
        ONLY_FAILED,
    ),
    outputs=(
        Stream(
            columns=(
                *TASK_COLUMNS,
                Column("latency_ns", "from the call to its return", label="LATENCY", unit=Unit.NANOSECONDS),
                Column("result", "ok, the error's name, or failed", decode="lookup_result", width=10),
                Column("host", "the name as the program gave it", decode="text", null=b""),
            )
        ),
    ),
    examples=(
        ("gethostlatency", "every program that uses the C library"),
        ("gethostlatency --min 100ms", "look-ups that took 100 ms and more"),
        ("gethostlatency u:/opt/app/bin/server:getaddrinfo", "a program that has its C library within"),
    ),
    notes=(
        "Programs with their own resolver (Go, dig) are not seen: dnssnoop shows their packets.",
        "For nested look-ups, the outer one is shown. Names of 256 bytes and more are truncated.",
        "The name is read when the call returns. The help of funclatency explains probes on returns.",
    ),
)
