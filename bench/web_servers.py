"""Run web servers and proxies, with the questions about each for scripts/services."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator

from bench import servers
from bench.peers import find
from bench.questions import (
    Question,
    Subject,
    connections,
    events,
    exchange,
    get_pages,
    http_get,
    versions,
)

_CLIENTS = 5


def _requests(port: int, counter: Callable[[], int], source: str) -> Question:
    return Question(
        "which requests, how long, with which status: those that it serves",
        ("httpsnoop", "--port", str(port)),
        said=lambda records: events(records, direction="in", status=200),
        counter=counter,
        source=f"{source}, less the one that asks",
        besides=1,
    )


@contextlib.contextmanager
def nginx(requests: int) -> Iterator[Subject]:
    """Run nginx."""
    with servers.nginx() as server, socket.create_connection(("127.0.0.1", server.port)) as admin:

        def status(index: int) -> int:
            # 0 active connections, 1 accepted, 2 handled, 3 requests
            return int(re.findall(r"\d+", http_get(admin, "/status").decode())[index])

        yield Subject(
            "nginx",
            versions([find("nginx"), "-v"]),
            f"{requests} GET over {_CLIENTS} connections",
            server,
            "nginx",
            work=lambda: get_pages(server.port, requests, _CLIENTS),
            questions=(
                _requests(server.port, lambda: status(3), "requests of stub_status"),
                connections(server.port, lambda: status(1), "accepts of stub_status"),
            ),
            children=True,
            sockets=(lambda: status(0), "active connections of stub_status"),
        )


@contextlib.contextmanager
def haproxy(requests: int) -> Iterator[Subject]:
    """Run haproxy before nginx."""
    program = find("haproxy")
    with servers.nginx() as behind, servers.haproxy(behind.port) as server:

        def info(name: str) -> int:
            with socket.socket(socket.AF_UNIX) as admin:
                admin.connect(str(server.folder / "admin"))
                text = exchange(admin, b"show info\n", b"\n\n")
                [value] = re.findall(rf"^{name}: (\d+)", text, re.MULTILINE)
                return int(value)

        yield Subject(
            "haproxy",
            versions([program, "-v"]),
            f"{requests} GET over {_CLIENTS} connections",
            server,
            "haproxy",
            work=lambda: get_pages(server.port, requests, _CLIENTS),
            questions=(_requests(server.port, lambda: info("CumReq"), "CumReq of show info"),),
            sockets=(lambda: info("CurrConns"), "CurrConns of show info"),
        )
