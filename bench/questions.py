"""Ask pytracer about a server while it works, and hold the answer against what the server counts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.peers import PYTRACER, TIMEOUT
from bench.servers import Server

UNTRACED = "no tracer"
CONNECTIONS = 23
SETTLES = 0.3  # seconds in which a server ends what its clients no longer wait for
Work = Callable[[], object]
Records = list[dict[str, Any]]


@dataclass
class Answer:
    """A question, the command that answers it, the numbers of pytracer and of the server, and where the
    server's is from. ``within`` is the difference in percent that is expected of samples."""

    question: str
    command: str
    said: int
    counted: int
    source: str
    within: int = 0

    @property
    def agrees(self) -> bool:
        """True if both say the same, or nearly so where samples cannot say more."""
        return abs(self.said - self.counted) * 100 <= self.within * self.counted


@dataclass
class Service:
    """A server with the answers about it: its version, the load, and the seconds that the load took in rounds
    without a tracer (:data:`UNTRACED`), with a command, and with what bpftrace asks the same by."""

    name: str
    version: str
    load: str
    answers: list[Answer] = field(default_factory=list)
    costs: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """A question, and what holds its answer: ``said`` makes a number of the records, and the server's
    ``counter`` grows by the same meanwhile. ``source`` describes that counter, ``besides`` is what it counts
    but the work. ``work`` is that of the subject, unless there is another. ``bpftrace`` is a program that
    asks the same."""

    text: str
    command: tuple[str, ...]
    said: Callable[[Records], int]
    counter: Callable[[], int]
    source: str
    besides: int = 0
    work: Work | None = None
    within: int = 0
    bpftrace: str = ""


@dataclass(frozen=True)
class Subject:
    """A server that runs, and what is asked about it. ``process`` is what a user would write behind ``-p``,
    with ``--children`` if there are several. ``sockets`` counts its open connections, and describes that."""

    name: str
    version: str
    load: str
    server: Server
    process: str
    work: Work
    questions: Sequence[Question]
    children: bool = False
    sockets: tuple[Callable[[], int], str] | None = None


class Asker:
    """Asks about the processes of a server."""

    def __init__(self, subject: Subject) -> None:
        """Begin with no answers."""
        self.subject = subject
        self.service = Service(subject.name, subject.version, subject.load)
        children = ["--children"] if subject.children else []
        self._shown = ["-p", subject.process, *children]
        self.filters = ["-p", str(subject.server.pid), *children]

    def trace(self, tracer: str, *words: str, work: Work) -> Records:
        """Trace while ``work()`` runs. Returns the records. Raises RuntimeError if it fails or loses
        anything."""
        command = [*PYTRACER, tracer, "-v", "-f", "json", *words, *self.filters]
        with tempfile.TemporaryFile("w+") as out:  # a pipe would be full before anybody reads it
            process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.PIPE, text=True, start_new_session=True
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
            _, err = process.communicate(timeout=TIMEOUT)
            out.seek(0)
            records = [json.loads(line) for line in out]
        losses = [record for record in records if record["kind"] == "loss"]
        if process.returncode or losses:
            raise RuntimeError(f"{' '.join(command[3:])}: {process.returncode}, {losses}, {messages}{err}")
        return records

    def ask(self, question: Question) -> None:
        """Compare what pytracer says with the growth of the server's counter."""
        before = question.counter()
        records = self.trace(*question.command, work=question.work or self.subject.work)
        counted = question.counter() - before - question.besides
        self.note(
            question.text, *question.command,
            said=question.said(records), counted=counted, source=question.source, within=question.within,
        )  # fmt: skip

    def note(self, question: str, *words: str, said: int, counted: int, source: str, within: int = 0) -> None:
        """Keep an answer to the command that these words are."""
        command = self.describe(words)
        self.service.answers.append(Answer(question, command, said, counted, source, within))

    def describe(self, words: Sequence[str]) -> str:
        """Return the command that a user would write."""
        port = str(self.subject.server.port)
        tracer, *others = ["PORT" if word == port else _quoted(word) for word in words]
        return " ".join([tracer, *self._shown, *others])

    def ask_where_time_goes(self) -> None:
        """Ask why; its classes are to add up to the time of all threads."""
        records = self.trace("why", work=self.subject.work)
        rows = [record for record in records if record["kind"] == "summary"]
        [totals] = [record for record in records if record["kind"] == "totals"]
        self.note(
            "where does its time go: ns of all classes",
            "why",
            said=sum(row["total_ns"] for row in rows),
            counted=totals["life_ns"],
            source="the time that its threads were there",
        )

    def ask_sockets(self, number: int, counter: Callable[[], int], source: str) -> None:
        """Ask which sockets it has open, while so many clients are connected that say nothing."""
        before, server = counter(), self.subject.server
        with_clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(number)]
        while counter() - before < number:
            pass
        counted = counter() - before
        pids = ",".join(map(str, family(server.pid)))
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


def connections(port: int, counter: Callable[[], int], source: str, besides: int = 0) -> Question:
    """Return the question who connects: accepted connections, by tcptracer."""
    return Question(
        "who connects to it, how often",
        ("tcptracer", "--count", "--by", "local", "--types", "accept"),
        said=lambda records: total(records, "accepts"),
        counter=counter,
        source=source,
        besides=besides,
        work=lambda: connect_often(port, CONNECTIONS),
    )


def latency_between(start: str, end: str) -> str:
    """Return a program of bpftrace that makes a histogram of the time between two probes, by thread."""
    return (
        f"{start} {{ @start[tid] = nsecs; }} "
        f"{end} /@start[tid]/ {{ @ = hist(nsecs - @start[tid]); delete(@start[tid]); }}"
    )


def total(records: Records, column: str, **values: object) -> int:
    """Return the sum of a column, over rows with these values."""
    rows = (record for record in records if record["kind"] == "summary")
    return sum(row[column] or 0 for row in rows if all(row[name] == value for name, value in values.items()))


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
