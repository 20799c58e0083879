"""Run scripts/services: start servers, put loads of known size on them, ask pytracer about them, and hold the
answers against the servers' own statistics."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from bench import servers
from bench.measure import MissingPeerError, in_turns
from bench.peers import PYTRACER, bpftrace_environment, find, tracing
from bench.questions import (
    Asker,
    Service,
    Work,
    bulk,
    connect_often,
    events,
    exchange,
    get_pages,
    http_get,
    total,
    versions,
)
from bench.services_page import keep

ROUNDS = 3
CONNECTIONS, IDLE = 23, 7
BPFTRACE = (
    'BEGIN {{ printf("attached\\n"); }} '
    'tracepoint:raw_syscalls:sys_enter /comm == "{comm}"/ {{ @[args->id] = count(); }}'
)


def measure_cost(service: Service, comm: str, work: Work, tracer: Sequence[str]) -> None:
    """Take the seconds of a load without a tracer, and with system calls counted by pytracer and bpftrace."""

    def timed() -> float:
        start = time.monotonic()
        work()
        return time.monotonic() - start

    def traced(words: Sequence[str], ready: str) -> Callable[[], float]:
        def take() -> float:
            with tracing(words, ready, bpftrace_environment()):
                return timed()

        return take

    tracers = {
        "no tracer": timed,
        "pytracer syscalls": traced([*PYTRACER, "syscalls", "-v", "--comm", comm], "tracing"),
    }
    if tracer:
        tracers[f"pytracer {tracer[0]}"] = traced([*PYTRACER, *tracer, "-v", "--comm", comm], "tracing")
    with contextlib.suppress(MissingPeerError):
        words = [find("bpftrace"), "-e", BPFTRACE.format(comm=comm)]
        tracers["bpftrace, system calls"] = traced(words, "attached")
    work()
    service.costs = dict(zip(tracers, in_turns(ROUNDS, *tracers.values()), strict=True))


def ask_redis(requests: int, costs: bool) -> Service:
    """Ask about redis."""
    service = Service(
        "redis", versions([find("redis-server"), "--version"]), f"{requests} SET by redis-benchmark"
    )
    with servers.redis() as server, socket.create_connection(("127.0.0.1", server.port)) as admin:
        load = [find("redis-benchmark"), "-q", "-p", server.port, "-n", requests, "-c", 5, "-t", "set"]

        def info(name: str) -> int:
            [value] = re.findall(rf"^{name}:(\d+)", bulk(admin, b"INFO everything\r\n"), re.MULTILINE)
            return int(value)

        def work() -> None:
            servers.call(load)

        asker = Asker(service, server, "redis-server")
        work()
        asker.ask(
            "how long do its commands take: calls",
            *("funclatency", "u:redis-server:call"),
            work=work,
            said=lambda records: total(records, "calls"),
            counter=lambda: info("total_commands_processed"),
            source="total_commands_processed, less the INFO that asks",
        )
        service.answers[-1].counted -= 1
        asker.ask_connections(
            lambda: connect_often(server.port, CONNECTIONS),
            lambda: info("total_connections_received"),
            "total_connections_received",
        )
        asker.ask_sockets(IDLE, lambda: info("connected_clients"), "connected_clients")
        asker.ask_where_time_goes(work)
        if costs:
            measure_cost(service, "redis-server", work, ())
    return service


def stub_status(port: int) -> Callable[[int], int]:
    """Return a function that asks nginx for a number of its stub_status: 0 active connections, 1 accepted, 2
    handled, 3 requests; over one connection."""
    client = socket.create_connection(("127.0.0.1", port))

    def number(index: int) -> int:
        return int(re.findall(r"\d+", http_get(client, "/status").decode())[index])

    return number


def ask_nginx(requests: int, costs: bool) -> Service:
    """Ask about nginx."""
    service = Service("nginx", versions([find("nginx"), "-v"]), f"{requests} GET over 5 connections")
    with servers.nginx() as server:
        status = stub_status(server.port)

        def work() -> None:
            get_pages(server.port, requests, 5)

        asker = Asker(service, server, "nginx", children=True)
        asker.ask(
            "which requests, how long, with which status: those that it serves",
            *("httpsnoop", "--port", str(server.port)),
            work=work,
            said=lambda records: events(records, direction="in", status=200),
            counter=lambda: status(3),
            source="requests of stub_status, less the one that asks",
        )
        service.answers[-1].counted -= 1
        asker.ask_connections(
            lambda: connect_often(server.port, CONNECTIONS), lambda: status(1), "accepts of stub_status"
        )
        asker.ask_sockets(IDLE, lambda: status(0), "active connections of stub_status")
        asker.ask_where_time_goes(work)
        if costs:
            measure_cost(service, "nginx", work, ())
    return service


def ask_haproxy(requests: int, costs: bool) -> Service:
    """Ask about haproxy, which stands before nginx."""
    service = Service("haproxy", versions([find("haproxy"), "-v"]), f"{requests} GET over 5 connections")
    with servers.nginx() as behind, servers.haproxy(behind.port) as server:

        def info(name: str) -> int:
            with socket.socket(socket.AF_UNIX) as admin:
                admin.connect(str(server.folder / "admin"))
                [value] = re.findall(
                    rf"^{name}: (\d+)", exchange(admin, b"show info\n", b"\n\n"), re.MULTILINE
                )
                return int(value)

        def work() -> None:
            get_pages(server.port, requests, 5)

        asker = Asker(service, server, "haproxy")
        asker.ask(
            "which requests, how long, with which status: those that it serves",
            *("httpsnoop", "--port", str(server.port)),
            work=work,
            said=lambda records: events(records, direction="in", status=200),
            counter=lambda: info("CumReq"),
            source="CumReq of show info, less the one that asks",
        )
        service.answers[-1].counted -= 1
        asker.ask_sockets(IDLE, lambda: info("CurrConns"), "CurrConns of show info")
        asker.ask_where_time_goes(work)
        if costs:
            measure_cost(service, "haproxy", work, ())
    return service


def ask_memcached(requests: int, costs: bool) -> Service:
    """Ask about memcached."""
    service = Service("memcached", versions([find("memcached"), "-V"]), f"{requests} set over one connection")
    with servers.memcached() as server, socket.create_connection(("127.0.0.1", server.port)) as admin:

        def stat(name: str) -> int:
            [value] = re.findall(rf"STAT {name} (\d+)", exchange(admin, b"stats\r\n", b"END\r\n"))
            return int(value)

        def work() -> None:
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                for number in range(requests):
                    exchange(client, b"set key%d 0 0 4\r\nfour\r\n" % (number % 100), b"STORED\r\n")

        asker = Asker(service, server, "memcached")
        asker.ask(
            "which system calls does it make, how long do they take: sendmsg, one for each response",
            *("syscalls", "--calls", "sendmsg"),
            work=work,
            said=lambda records: total(records, "calls"),
            counter=lambda: stat("cmd_set"),
            source="cmd_set of stats",
        )
        asker.ask_connections(
            lambda: connect_often(server.port, CONNECTIONS),
            lambda: stat("total_connections"),
            "total_connections of stats",
        )
        asker.ask_sockets(IDLE, lambda: stat("curr_connections"), "curr_connections of stats")
        asker.ask_where_time_goes(work)
        if costs:
            measure_cost(service, "memcached", work, ())
    return service


def ask_postgresql(transactions: int, costs: bool) -> Service:
    """Ask about PostgreSQL."""
    program = servers.postgresql_program("postgres")
    load = f"{transactions} transactions of pgbench by each of 3 clients"
    service = Service("PostgreSQL", versions([program, "--version"]), load)
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
            return int(
                servers.sql(server, "select xact_rollback from pg_stat_database where datname = 'postgres'")
            )

        asker = Asker(service, server, "postgres", children=True)
        for protocol in ("simple", "prepared"):
            asker.ask(
                f"how long do its queries take, how many fail: {protocol} protocol",
                *("dbstat",),
                work=lambda protocol=protocol: work("-M", protocol),  # type: ignore[misc]
                said=lambda records: total(records, "queries"),
                counter=executed,
                source="calls of pg_stat_statements; BEGIN and END by the client's count",
            )
            service.answers[-1].counted += 2 * 3 * transactions
        asker.ask(
            "the time between two of its probes: pairs",
            *("latency", "usdt:postgresql:query__start", "usdt:postgresql:query__done"),
            work=work,
            said=lambda records: total(records, "pairs"),
            counter=executed,
            source="calls of pg_stat_statements; BEGIN and END by the client's count",
        )
        service.answers[-1].counted += 2 * 3 * transactions
        asker.ask(
            "which queries fail",
            *("dbslower", "--min", "0", "--failed"),
            work=fail,
            said=lambda records: events(records, status="failed", query="select 1/0"),
            counter=rolled_back,
            source="xact_rollback of pg_stat_database",
        )
        asker.ask_where_time_goes(work)
        if costs:
            measure_cost(service, "postgres", work, ("dbstat",))
    return service


def ask_mariadb(queries: int, costs: bool) -> Service:
    """Ask about MariaDB."""
    service = Service(
        "MariaDB", versions([find("mariadbd"), "--version"]), f"{queries} queries by its client"
    )
    with servers.mariadb() as server:
        texts = "select 1;" * queries

        def status(name: str) -> int:
            return int(servers.mariadb_sql(server, f"show global status like '{name}'").split()[1])

        def work() -> None:
            servers.mariadb_sql(server, texts)

        def fail() -> None:
            for _ in range(CONNECTIONS):
                with contextlib.suppress(subprocess.CalledProcessError):
                    servers.mariadb_sql(server, "selec")

        asker = Asker(service, server, "mariadbd")
        asker.ask(
            "how long do its queries take, how many fail",
            *("dbstat",),
            work=work,
            said=lambda records: total(records, "queries"),
            counter=lambda: status("Com_select"),
            source="Com_select of SHOW GLOBAL STATUS",
        )
        asker.ask(
            "which queries fail",
            *("dbslower", "--min", "0", "--failed"),
            work=fail,
            said=lambda records: events(records, status="failed", query="selec"),
            counter=lambda: status("Questions"),
            source="Questions of SHOW GLOBAL STATUS, less the one that asks, and the ends of clients",
        )
        service.answers[-1].counted -= 2 + CONNECTIONS
        asker.ask_connections(
            lambda: connect_often(server.port, CONNECTIONS),
            lambda: status("Connections"),
            "Connections of SHOW GLOBAL STATUS, less the one that asks",
        )
        service.answers[-1].counted -= 1
        asker.ask_where_time_goes(work)
        if costs:
            measure_cost(service, "mariadbd", work, ("dbstat",))
    return service


SERVICES: dict[str, tuple[Callable[[int, bool], Service], int]] = {
    "postgresql": (ask_postgresql, 200),
    "mariadb": (ask_mariadb, 2000),
    "redis": (ask_redis, 5000),
    "nginx": (ask_nginx, 2000),
    "haproxy": (ask_haproxy, 2000),
    "memcached": (ask_memcached, 5000),
}
"""The function that asks about each server, and the size of its load."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask about the named servers, and update the page. Returns 1 if an answer is not the server's."""
    parser = argparse.ArgumentParser(
        prog="scripts/services",
        description="Asks pytracer about servers of the distribution, and writes docs/services.md.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SERVICES)}; default: all")
    parser.add_argument(
        "--costs", action="store_true", help="the time of the loads with tracers, too: on a quiet machine"
    )
    parser.add_argument("--no-page", action="store_true", help="leave docs/services.md as it is")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(SERVICES)
    if unknown:
        parser.error(f"no servers are called {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        print("services: error: needs root", file=sys.stderr)
        return 1
    asked = dict[str, Service]()
    for name in options.names or SERVICES:
        ask, size = SERVICES[name]
        try:
            asked[name] = service = ask(size, options.costs)
        except MissingPeerError as missing:
            print(f"services: {name} is left out: {missing}", file=sys.stderr)
            continue
        for answer in service.answers:
            verdict = "agrees" if answer.agrees else "DIFFERS"
            print(f"{name}: {answer.command}: {answer.said}, {answer.counted} ({answer.source}): {verdict}")
        for tracer, seconds in service.costs.items():
            print(f"{name}: {tracer}: {' '.join(f'{one:.3f}' for one in seconds)} s")
    if not options.no_page:
        keep(asked, SERVICES)
    return int(any(not answer.agrees for service in asked.values() for answer in service.answers))


if __name__ == "__main__":
    sys.exit(main())
