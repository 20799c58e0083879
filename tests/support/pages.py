"""Run ``pytracer serve`` in a process, and a client that sends requests no browser would."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from support.cli import COMMAND, LIMIT, wait_for


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Page:
    process: subprocess.Popen[str]
    url: str
    port: int
    token: str

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)

    def send(self, request: bytes) -> Response:
        """Send bytes; the answer, once the server has closed."""
        with self.connect() as client:
            client.sendall(request)
            return parse(read_all(client))

    def get(self, path: str, **headers: str) -> Response:
        return self.send(head("GET", path, {"Host": self.host, **header_names(headers)}))

    def post(self, path: str, document: Any, **headers: str) -> Response:
        """Send JSON with the token, as the page does."""
        body = json.dumps(document).encode()
        fields = {
            "Host": self.host,
            "Content-Type": "application/json",
            "X-Pytracer-Token": self.token,
            "Content-Length": str(len(body)),
            **header_names(headers),
        }
        return self.send(head("POST", path, fields) + body)

    def stream(self, run: int) -> Iterator[Any]:
        """Yield the events that the page gets of a run."""
        fields = {"Host": self.host, "X-Pytracer-Token": self.token}
        with self.connect() as client, client.makefile("rb") as file:
            client.sendall(head("GET", f"/api/stream?run={run}", fields))
            assert file.readline().startswith(b"HTTP/1.1 200 ")
            for line in file:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def start(self, tracer: str, **document: Any) -> int:
        answer = self.post("/api/start", {"tracer": tracer, **document})
        assert answer.status == 200, answer.body
        return answer.json["run"]

    def rows(self, run: int, predicate: Any) -> dict[str, Any]:
        """Return the rows of a run as soon as ``predicate`` holds for them."""
        for message in self.stream(run):
            view = message["shown"]
            if view is not None and predicate(view):
                return view
        raise AssertionError("the stream has ended")

    def state(self, run: int) -> str:
        message = next(self.stream(run))
        return next((run_state["state"] for run_state in message["runs"] if run_state["run"] == run), "")

    def wait(self, run: int, *states: str) -> None:
        wait_for(lambda: self.state(run) in states, f"run {run} is {states}")


def header_names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def read_all(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def parse(answer: bytes) -> Response:
    top, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = top.decode("ascii").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers.get("Content-Length", len(body))) == len(body)
    return Response(int(first.split()[1]), headers, body)


@contextmanager
def serve_page(*words: str) -> Iterator[Page]:
    """Serve at a free port of this machine; ends by SIGINT, and with status 0."""
    process = subprocess.Popen(
        [*COMMAND, "serve", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().strip()
        assert "#token=" in url, process.stderr.read()
        address, _, token = url.partition("#token=")
        yield Page(process, url, int(address.rpartition(":")[2].rstrip("/")), token)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, err
        assert "Traceback" not in err, err
        assert "warning" not in err, err
    finally:
        process.kill()
        process.communicate()
