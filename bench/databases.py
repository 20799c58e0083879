"""Run databases and caches, with the questions about each for scripts/services."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator

from bench import servers
from bench.peers import find
from bench.questions import (
    CONNECTIONS,
    Question,
    Subject,
    bulk,
    connections,
    events,
    exchange,
    latency_between,
    total,
    versions,
)


@contextlib.contextmanager
def redis(requests: int) -> Iterator[Subject]:
    """Run redis."""
    program = find("redis-server")
    with servers.redis() as server, socket.create_connection(("127.0.0.1", server.port)) as admin:
        load = [find("redis-benchmark"), "-q", "-p", server.port, "-n", requests, "-c", 5, "-t", "set"]

        def info(name: str) -> int:
            [value] = re.findall(rf"^{name}:(\d+)", bulk(admin, b"INFO everything\r\n"), re.MULTILINE)
            return int(value)

        yield Subject(
            "redis",
            versions([program, "--version"]),
            f"{requests} SET by redis-benchmark",
            server,
            "redis-server",
            work=lambda: servers.call(load),
            questions=(
                Question(
                    "how long do its commands take: calls",
                    ("funclatency", "u:redis-server:call"),
                    said=lambda records: total(records, "calls"),
                    counter=lambda: info("total_commands_processed"),
                    source="total_commands_processed, less the INFO that asks",
                    besides=1,
                    bpftrace=latency_between(f"uprobe:{program}:call", f"uretprobe:{program}:call"),
                ),
                connections(
                    server.port, lambda: info("total_connections_received"), "total_connections_received"
                ),
            ),
            sockets=(lambda: info("connected_clients"), "connected_clients"),
        )


@contextlib.contextmanager
def memcached(requests: int) -> Iterator[Subject]:
    """Run memcached."""
    with servers.memcached() as server, socket.create_connection(("127.0.0.1", server.port)) as admin:

        def stat(name: str) -> int:
            [value] = re.findall(rf"STAT {name} (\d+)", exchange(admin, b"stats\r\n", b"END\r\n"))
            return int(value)

        def work() -> None:
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                for number in range(requests):
                    exchange(client, b"set key%d 0 0 4\r\nfour\r\n" % (number % 100), b"STORED\r\n")

        yield Subject(
            "memcached",
            versions([find("memcached"), "-V"]),
            f"{requests} set over one connection",
            server,
            "memcached",
            work,
            questions=(
                Question(
                    "which system calls does it make, how long do they take: sendmsg, one for each response",
                    ("syscalls", "--calls", "sendmsg"),
                    said=lambda records: total(records, "calls"),
                    counter=lambda: stat("cmd_set"),
                    source="cmd_set of stats",
                ),
                connections(server.port, lambda: stat("total_connections"), "total_connections of stats"),
            ),
            sockets=(lambda: stat("curr_connections"), "curr_connections of stats"),
        )


@contextlib.contextmanager
def postgresql(transactions: int) -> Iterator[Subject]:
    """Run PostgreSQL."""
    program = servers.postgresql_program("postgres")
    with servers.postgresql(["shared_preload_libraries=pg_stat_statements"]) as server:
        servers.sql(server, "create extension pg_stat_statements")
        bench = ["pgbench", *servers.place(server)]
        servers.call([*bench, "-i", "-q", "postgres"])

        def work(*words: str) -> None:
            servers.call([*bench, "-n", "-c", 3, "-t", transactions, *words, "postgres"])

        def fail() -> None:
            for _ in range(CONNECTIONS):
                subprocess.run(
                    servers.as_user(["psql", "-X", "-q", *servers.place(server), "-c", "select 1/0"]),
                    check=False,
                    capture_output=True,
                    cwd="/",
                )

        def executed() -> int:
            # It counts BEGIN and END once if they are prepared.
            text = "select sum(calls) from pg_stat_statements where query !~ '^(BEGIN|END)|pg_stat'"
            return int(servers.sql(server, text) or 0)

        def rolled_back() -> int:
            # Statistics of a server that ends are written a moment later.
            time.sleep(1.5)
            text = "select xact_rollback from pg_stat_database where datname = 'postgres'"
            return int(servers.sql(server, text))

        probes = [f"usdt:{program}:postgresql:query__{end}" for end in ("start", "done")]
        latency = latency_between(*probes)

        def queries(
            text: str, *command: str, column: str, protocol: str = "", bpftrace: str = ""
        ) -> Question:
            return Question(
                text,
                command,
                said=lambda records: total(records, column),
                counter=executed,
                source="calls of pg_stat_statements; BEGIN and END by the client's count",
                besides=-2 * 3 * transactions,
                work=(lambda: work("-M", protocol)) if protocol else None,
                bpftrace=bpftrace,
            )

        yield Subject(
            "PostgreSQL",
            versions([program, "--version"]),
            f"{transactions} transactions of pgbench by each of 3 clients",
            server,
            "postgres",
            work,
            questions=(
                queries(
                    "how long do its queries take, how many fail: simple protocol",
                    "dbstat",
                    column="queries",
                    bpftrace=latency,
                ),
                queries(
                    "how long do its queries take, how many fail: prepared protocol",
                    "dbstat",
                    column="queries",
                    protocol="prepared",
                ),
                queries(
                    "the time between two of its probes: pairs",
                    *("latency", "usdt:postgresql:query__start", "usdt:postgresql:query__done"),
                    column="pairs",
                    bpftrace=latency,
                ),
                Question(
                    "which queries fail",
                    ("dbslower", "--min", "0", "--failed"),
                    said=lambda records: events(records, status="failed", query="select 1/0"),
                    counter=rolled_back,
                    source="xact_rollback of pg_stat_database",
                    work=fail,
                ),
            ),
            children=True,
        )


@contextlib.contextmanager
def mariadb(queries: int) -> Iterator[Subject]:
    """Run MariaDB."""
    with servers.mariadb() as server:
        texts = "select 1;" * queries

        def status(name: str) -> int:
            return int(servers.mariadb_sql(server, f"show global status like '{name}'").split()[1])

        def fail() -> None:
            for _ in range(CONNECTIONS):
                with contextlib.suppress(subprocess.CalledProcessError):
                    servers.mariadb_sql(server, "selec")

        yield Subject(
            "MariaDB",
            versions([find("mariadbd"), "--version"]),
            f"{queries} queries by its client",
            server,
            "mariadbd",
            work=lambda: servers.mariadb_sql(server, texts),
            questions=(
                Question(
                    "how long do its queries take, how many fail",
                    ("dbstat",),
                    said=lambda records: total(records, "queries"),
                    counter=lambda: status("Com_select"),
                    source="Com_select of SHOW GLOBAL STATUS",
                ),
                Question(
                    "which queries fail",
                    ("dbslower", "--min", "0", "--failed"),
                    said=lambda records: events(records, status="failed", query="selec"),
                    counter=lambda: status("Questions"),
                    source="Questions of SHOW GLOBAL STATUS, less the one that asks, and the ends of clients",
                    besides=2 + CONNECTIONS,
                    work=fail,
                ),
                connections(
                    server.port,
                    lambda: status("Connections"),
                    "Connections of SHOW GLOBAL STATUS, less the one that asks",
                    besides=1,
                ),
            ),
        )
