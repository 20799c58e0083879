"""Ask pytracer about a server while it works, and hold the answer against what the server counts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.peers import PYTRACER, TIMEOUT
from bench.servers import Server

SETTLES = 0.3  # seconds in which a server ends what its clients no longer wait for
Work = Callable[[], object]
Records = list[dict[str, Any]]


@dataclass
class Answer:
    """A question, the command that answers it, the numbers of pytracer and of the server, and where the
    server's is from."""

    question: str
    command: str
    said: int
    counted: int
    source: str

    @property
    def agrees(self) -> bool:
        """True if both say the same."""
        return self.said == self.counted


@dataclass
class Service:
    """A server with the answers about it: its version, the load, and the seconds that a load took by what
    traced it, in rounds."""

    name: str
    version: str
    load: str
    answers: list[Answer] = field(default_factory=list)
    costs: dict[str, list[float]] = field(default_factory=dict)


class Asker:
    """Asks about the processes of a server: ``-p PID``, with ``--children`` if there are several."""

    def __init__(self, service: Service, server: Server, process: str, *, children: bool = False) -> None:
        """Add the answers to ``service``; ``process`` is what a user would write behind ``-p``."""
        self.service = service
        self.server = server
        self._shown = ["-p", process, *(["--children"] if children else [])]
        self._actual = ["-p", str(server.pid), *(["--children"] if children else [])]

    def trace(self, tracer: str, *words: str, work: Work) -> Records:
        """Trace while ``work()`` runs. Returns the records. Raises RuntimeError if it fails or loses
        anything."""
        command = [*PYTRACER, tracer, "-v", "-f", "json", *words, *self._actual]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stderr is not None
        messages = ""
        for line in process.stderr:
            messages += line
            if "pytracer: tracing" in line:
                break
        work()
        time.sleep(SETTLES)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        out, err = process.communicate(timeout=TIMEOUT)
        records = [json.loads(line) for line in out.splitlines()]
        losses = [record for record in records if record["kind"] == "loss"]
        if process.returncode or losses:
            raise RuntimeError(f"{' '.join(command[3:])}: {process.returncode}, {losses}, {messages}{err}")
        return records

    def ask(
        self,
        question: str,
        tracer: str,
        *words: str,
        work: Work,
        said: Callable[[Records], int],
        counter: Callable[[], int],
        source: str,
    ) -> None:
        """Compare what ``said`` makes of the records with the growth of the server's ``counter``."""
        before = counter()
        records = self.trace(tracer, *words, work=work)
        counted = counter() - before
        self.note(question, tracer, *words, said=said(records), counted=counted, source=source)

    def note(self, question: str, tracer: str, *words: str, said: int, counted: int, source: str) -> None:
        """Keep an answer."""
        port = str(self.server.port)
        command = " ".join(
            [tracer, *self._shown, *("PORT" if word == port else _quoted(word) for word in words)]
        )
        self.service.answers.append(Answer(question, command, said, counted, source))

    def ask_where_time_goes(self, work: Work) -> None:
        """Ask why; its classes are to add up to the time of all threads."""
        records = self.trace("why", work=work)
        rows = [record for record in records if record["kind"] == "summary"]
        [totals] = [record for record in records if record["kind"] == "totals"]
        self.note(
            "where does its time go: ns of all classes",
            "why",
            said=sum(row["total_ns"] for row in rows),
            counted=totals["life_ns"],
            source="the time that its threads were there",
        )

    def ask_connections(self, work: Work, counter: Callable[[], int], source: str) -> None:
        """Ask who connects: accepted connections, by tcptracer."""
        self.ask(
            "who connects to it, how often",
            *("tcptracer", "--count", "--by", "local", "--types", "accept"),
            work=work,
            said=lambda records: total(records, "accepts"),
            counter=counter,
            source=source,
        )

    def ask_sockets(self, number: int, counter: Callable[[], int], source: str) -> None:
        """Ask which sockets it has open, while so many clients are connected that say nothing."""
        before = counter()
        with_clients = [socket.create_connection(("127.0.0.1", self.server.port)) for _ in range(number)]
        while counter() - before < number:
            pass
        counted = counter() - before
        pids = ",".join(map(str, family(self.server.pid)))
        words = [*PYTRACER, "openfiles", "-f", "json", "--sockets", "-p", pids]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        clients = {client.getsockname()[1] for client in with_clients}
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        said = len({row["dport"] for row in rows} & clients)
        for client in with_clients:
            client.close()
        command = f"openfiles -p {self._shown[1]} --sockets"
        self.service.answers.append(Answer("which connections it has", command, said, counted, source))


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def total(records: Records, column: str) -> int:
    """Return the sum of a column."""
    return sum(record[column] for record in records if record["kind"] == "summary" and record[column])


def events(records: Records, **values: object) -> int:
    """Return the number of events with these values."""
    return sum(
        record["kind"] == "event" and all(record[name] == value for name, value in values.items())
        for record in records
    )


def connect_often(port: int, times: int) -> None:
    """Connect so many times, one after the other, and hang up once the other end has accepted."""
    for _ in range(times):
        socket.create_connection(("127.0.0.1", port)).close()


def get_pages(port: int, requests: int, clients: int) -> None:
    """Ask a web server for its page so many times, over connections that stay open."""
    for _ in range(clients):
        with socket.create_connection(("127.0.0.1", port)) as client:
            for _ in range(requests // clients):
                http_get(client, "/")


def http_get(client: socket.socket, path: str) -> bytes:
    """Return what a web server responds with, whose body has a stated length."""
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    [length] = [
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    while len(body) < length:
        body += client.recv(65536)
    return body


def exchange(client: socket.socket, line: bytes, end: bytes) -> str:
    """Send a line, and return what comes up to ``end``."""
    client.sendall(line)
    data = b""
    while not data.endswith(end):
        data += client.recv(65536)
    return data.decode()


def _quoted(word: str) -> str:
    return f"'{word}'" if set(word) & set("*?|") else word


def versions(words: Sequence[object]) -> str:
    """Return the first line that a program prints about its version."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0]


def bulk(client: socket.socket, line: bytes) -> str:
    """Send a line to redis, and return the text that it responds with."""
    head, _, text = exchange(client, line, b"\r\n").partition("\r\n")
    length = int(head[1:]) + 2
    while len(text) < length:
        text += client.recv(65536).decode()
    return text
