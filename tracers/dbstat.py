"""dbstat: the latency of queries of databases, and how many fail."""

from pytracer.spec import Column, GroupBy, Histogram, Key, Tracer, Unit
from pytracer.spec.common import TASK_EXIT, TASK_KEYS, times
from pytracer.spec.databases import QUERIES, QUERY_NOTES, SERVER
from pytracer.spec.filters import TASK_FILTERS

TRACER = Tracer(
    name="dbstat",
    group="system",
    summary="how long queries of PostgreSQL, SQLite and MariaDB take, and how many fail",
    description="Shows histograms of the time that queries of PostgreSQL, SQLite and MariaDB take.",
    hooks=(TASK_EXIT,),
    arguments=QUERIES,
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy(
            "by",
            "what a histogram stands for; several with commas",
            keys=(
                Key("server", (SERVER,)),
                Key("query", (Column("query", "the first 128 bytes of its text", decode="text", null=b""),)),
                *TASK_KEYS,
            ),
            default="server",
        ),
    ),
    outputs=(
        Histogram(
            "rows",
            (
                Column("queries", "queries that ended", unit=Unit.COUNT),
                Column("failed", "those of them that failed", unit=Unit.COUNT),
                *times("queries"),
            ),
            label="latency",
        ),
    ),
    examples=(
        ("dbstat -p postgres 5", "all queries of one server, every five seconds"),
        ("dbstat --by query -d 10", "each text apart"),
        ("dbstat --by pid -p mariadbd", "by process; PostgreSQL has one for each connection"),
    ),
    notes=(*QUERY_NOTES, "With --by query, longer texts are counted as truncated, and those alike are one."),
)
