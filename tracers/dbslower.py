"""dbslower: queries of databases that take long."""

from pytracer.spec import Column, Duration, Stream, Tracer, Unit
from pytracer.spec.common import ONLY_FAILED, TASK_COLUMNS, TASK_EXIT
from pytracer.spec.databases import QUERIES, QUERY_NOTES, SERVER
from pytracer.spec.filters import TASK_FILTERS

TRACER = Tracer(
    name="dbslower",
    group="system",
    summary="queries of PostgreSQL, SQLite and MariaDB that take long: text, server, latency, failed",
    description="Shows each query of PostgreSQL, SQLite or MariaDB that takes at least --min, as it ends.",
    hooks=(TASK_EXIT,),
    arguments=QUERIES,
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Duration(
            "min",
            "those that take so long: 10ms, 500us, 2s; a bare number is ms",
            short="m",
            config="min",
            default=1_000_000,
        ),
        ONLY_FAILED,
    ),
    outputs=(
        Stream(
            columns=(
                *TASK_COLUMNS,
                SERVER,
                Column("latency_ns", "how long it ran", label="LATENCY", unit=Unit.NANOSECONDS, width=9),
                Column("status", "ok or failed", field="is_failed", decode="query_status", width=6),
                Column("query", "its text; none: not known", decode="payload", null=b""),
            )
        ),
    ),
    examples=(
        ("dbslower -p postgres", "queries of 1 ms and more of one server"),
        ("dbslower --min 0 --failed", "every query that fails"),
        ("dbslower --min 0 -f json -- ./app", "what a program asks of SQLite, as JSON"),
    ),
    notes=(
        *QUERY_NOTES,
        "Texts may be confidential. 1023 bytes are shown; a longer one is counted as truncated.",
    ),
)
