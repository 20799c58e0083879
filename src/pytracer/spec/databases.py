"""Declare what tracers of queries attach to, and their notes; probes_c/include/queries.h."""

from __future__ import annotations

from pytracer.spec.columns import Column
from pytracer.spec.options import Targets

_POSTGRESQL = (
    *("statement__status", "query__start", "query__done"),
    *("query__execute__start", "query__execute__done"),
)
_SQLITE = (
    *("sqlite3_prepare", "sqlite3_prepare_v2", "sqlite3_prepare_v3"),
    *("sqlite3_step", "sqlite3_reset", "sqlite3_finalize"),
)
# dispatch_command(enum_server_command, THD *, char *, uint, ...); MySQL has had other arguments since 5.7.
_MARIADB = (
    "_Z16dispatch_command19enum_server_commandP3THDPcj*",
    "_Z17general_log_writeP3THD19enum_server_commandPKcm",
    "_ZN8Protocol21net_send_error_packetEP3THDjPKcS3_",
)

QUERIES = Targets(
    "PATTERN",
    "u:FILE:sqlite3_step and the like, of a program that has SQLite within; usdt:FILE:postgresql:*__start",
    begin="begins",
    end="returns",
    mark="marked",
    minimum=0,
    default=(
        *(f"u:libsqlite3:{name}" for name in _SQLITE),
        *(f"u:mariadbd:{name}" for name in _MARIADB),
        *(f"usdt:postgresql:{name}" for name in _POSTGRESQL),  # last: all that runs is searched
    ),
    kinds=(*_POSTGRESQL, *_SQLITE, *_MARIADB),
    wanted="PostgreSQL that was built with --enable-dtrace (Debian's is), SQLite's library, or MariaDB",
)
"""The functions and USDT probes of databases between which queries run; probes_c/include/queries.h."""

SERVER = Column("server", "postgresql, mariadb, or sqlite", decode="database", width=10)
"""The kind of database that runs a query."""

QUERY_NOTES = (
    "PostgreSQL: what a message of the simple protocol asks for is one query; in the extended protocol it",
    "is one execution, and what fails before it (parse, bind) is not seen. A query without an end failed.",
    "SQLite: the time within sqlite3_step, summed over the rows. Queries that it makes itself are seen, too.",
    "The text of a statement that SQLite prepared before the trace is not known, nor what asks in UTF-16.",
    "MariaDB, SQLite: a text that cannot be prepared has failed. MySQL is not seen: it was not tried.",
    "Of PostgreSQL, what runs as the trace begins is found, if it was built with --enable-dtrace.",
)
