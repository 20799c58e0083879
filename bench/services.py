"""Run scripts/services: start servers, put loads of known size on them, ask pytracer about them, and hold the
answers against the servers' own statistics."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence

from bench import databases, language_servers, web_servers
from bench.measure import MissingPeerError
from bench.questions import Asker, Service, Subject
from bench.service_costs import measure_costs
from bench.services_page import keep

IDLE = 7
SERVICES: dict[str, tuple[Callable[[int], contextlib.AbstractContextManager[Subject]], int]] = {
    "postgresql": (databases.postgresql, 200),
    "mariadb": (databases.mariadb, 2000),
    "redis": (databases.redis, 5000),
    "memcached": (databases.memcached, 5000),
    "nginx": (web_servers.nginx, 2000),
    "haproxy": (web_servers.haproxy, 2000),
    "java": (language_servers.java, 2000),
    "node": (language_servers.node, 1000),
    "php": (language_servers.php, 2000),
    "python": (language_servers.python, 2000),
    "ruby": (language_servers.ruby, 1000),
}
"""The function that runs each server, and the size of its load."""


def ask(name: str, with_costs: bool) -> Service:
    """Ask about a server. Raises MissingPeerError if it is not installed."""
    run, size = SERVICES[name]
    with run(size) as subject:
        asker = Asker(subject)
        subject.work()  # the first time is another
        for question in subject.questions:
            asker.ask(question)
        if subject.sockets:
            asker.ask_sockets(IDLE, *subject.sockets)
        asker.ask_where_time_goes()
        if with_costs:
            measure_costs(asker)
    return asker.service


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
        try:
            asked[name] = service = ask(name, options.costs)
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
