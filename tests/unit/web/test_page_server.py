"""Test the page's server against hostile clients, and clients that never read; nothing is traced."""

from __future__ import annotations

import json
import socket
import struct
import time

import pytest

from pytracer.web.http import BODY_MAX, HEAD_MAX
from pytracer.web.server import CLIENTS_MAX
from support.pages import Page, head, parse, read_all, serve_page

ORIGIN = "http://evil.example"


@pytest.fixture(scope="module")
def page():
    with serve_page() as actual:
        yield actual


def tracers(page: Page, **headers: str):
    return page.get("/api/tracers", **headers)


def test_the_page_and_its_files_have_no_secret(page):
    for path in ("/", "/page.js", "/forms.js", "/page.css", "/icon.svg"):
        answer = page.get(path)
        assert answer.status == 200
        assert page.token.encode() not in answer.body
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "Set-Cookie" not in answer.headers
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert b"<script>" not in page.get("/").body
    assert b"style=" not in page.get("/").body


def test_everything_needs_the_token(page):
    assert tracers(page, X_Pytracer_Token=page.token).status == 200
    for token in ("", "x", page.token[:-1], page.token + "x", "\xff"):
        assert tracers(page, X_Pytracer_Token=token).status in (400, 401)
    assert tracers(page).status == 401
    assert tracers(page, Cookie=f"token={page.token}").status == 401
    assert page.get(f"/api/tracers?token={page.token}").status == 401
    for path in ("start", "stop", "remove", "picture", "explain"):
        assert page.post(f"/api/{path}", {"tracer": "syscalls"}, X_Pytracer_Token="x").status == 401
    assert page.get("/api/stream?run=1").status == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "", "[::1]:{port}", "127.0.0.1.:{port}"]
)
def test_another_name_of_the_address_is_refused(page, host):
    host = host.format(port=page.port)
    for path in ("/", "/api/tracers"):
        assert page.get(path, Host=host, X_Pytracer_Token=page.token).status == 421


def test_localhost_is_a_name_of_it(page):
    assert page.get("/", Host=f"localhost:{page.port}").status == 200


def test_a_request_without_host_is_refused(page):
    assert page.send(b"GET / HTTP/1.1\r\n\r\n").status == 421


@pytest.mark.parametrize("origin", [ORIGIN, "null", "http://127.0.0.1:1", "https://127.0.0.1:{port}"])
def test_requests_from_other_pages_are_refused(page, origin):
    origin = origin.format(port=page.port)
    assert page.post("/api/start", {"tracer": "syscalls"}, Origin=origin).status == 403
    assert tracers(page, X_Pytracer_Token=page.token, Origin=origin).status == 403


def test_requests_that_a_browser_calls_foreign_are_refused(page):
    for site in ("cross-site", "same-site"):
        assert page.get("/", Sec_Fetch_Site=site).status == 403


def test_forms_of_other_pages_are_no_json(page):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert page.post("/api/start", {"tracer": "syscalls"}, Content_Type=kind).status == 415


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/static/page.js",
        "/page.js/",
        "/page.js%00",
        "/document/",
        "/document/../page.js",
        "/page.html",
        "/api",
        "/%2e%2e/routes.py",
    ],
)
def test_other_paths_are_not_served(page, path):
    assert page.get(path, X_Pytracer_Token=page.token).status == 404


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n",
    ],
)
def test_malformed_requests_are_refused(page, request_):
    assert page.send(request_).status in (400, 405)


def test_other_methods_are_refused(page):
    for method in ("OPTIONS", "PUT", "DELETE", "HEAD", "TRACE", "CONNECT"):
        assert page.send(head(method, "/api/start", {"Host": page.host})).status == 405
    assert page.post("/", {}).status == 405


def test_large_requests_are_refused_unread(page):
    fields = {"Host": page.host, "Content-Length": str(BODY_MAX + 1)}
    assert page.send(head("POST", "/api/start", fields)).status == 413
    with page.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nA: " + b"x" * (HEAD_MAX * 3))
        assert parse(read_all(client)).status == 413


def test_invalid_requests_are_refused(page):
    deep = b"[" * 30_000
    for body in (b"", b"{", b"[]", b"3", deep, b"\xff"):
        fields = {
            "Host": page.host,
            "Content-Type": "application/json",
            "X-Pytracer-Token": page.token,
            "Content-Length": str(len(body)),
        }
        assert page.send(head("POST", "/api/start", fields) + body).status == 400
    for sent in (
        {},
        {"tracer": 3},
        {"tracer": "no-such"},
        {"tracer": "syscalls", "output": "/etc/passwd"},
        {"tracer": "syscalls", "arguments": "x"},
        {"tracer": "syscalls", "options": {"by": ["x"]}},
        {"tracer": "syscalls", "options": {"enforce": "/etc/passwd"}},
        {"tracer": "../x"},
        {"tracer": "syscalls", "filters": {"pid": "x"}},
        {"tracer": "syscalls", "interval": "nan"},
        {"tracer": "syscalls", "filters": {"comm": ["a\0b"]}},
        {"tracer": "syscalls", "options": {"profile": True}},
    ):
        answer = page.post("/api/start", sent)
        assert answer.status == 400, (sent, answer)
        assert answer.json["error"]
    assert page.post("/api/stop", {"run": 1}).status == 404
    assert page.post("/api/stop", {"run": {"a": 1}}).status == 400
    assert page.get("/api/stream?run=x", X_Pytracer_Token=page.token).status == 400


def test_no_command_is_started_unless_it_is_allowed(page, tmp_path):
    mark = tmp_path / "mark"
    for sent in (
        {"tracer": "syscalls", "command": f"touch {mark}"},
        {"tracer": "inject", "arguments": ["should_failslab", "ENOMEM"]},
    ):
        answer = page.post("/api/start", sent)
        assert answer.status == 400
        assert "--allow-commands" in answer.json["hint"]
    assert not mark.exists()
    description = tracers(page, X_Pytracer_Token=page.token).json
    assert description["commands"] is False
    assert "inject" not in {tracer["name"] for tracer in description["tracers"]}
    assert "syscalls" in {tracer["name"] for tracer in description["tracers"]}


def test_the_number_of_clients_is_bounded_and_places_are_freed(page):
    clients = [page.connect() for _ in range(CLIENTS_MAX * 4)]
    refused = 0
    for client in clients[CLIENTS_MAX:]:
        refused += parse(read_all(client)).status == 503
    assert refused >= CLIENTS_MAX * 2
    for client in clients:
        client.close()
    assert_serves(page)


def test_a_thousand_connections_are_answered_or_closed(page):
    for _ in range(20):
        clients = []
        for _ in range(50):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", page.port))
            clients.append(client)
        for client in clients:
            client.close()
    assert_serves(page)


def test_a_client_that_does_not_read_costs_little(page):
    """It sends many requests and reads nothing; responses wait in a bounded buffer."""
    clients = []
    for _ in range(8):
        client = page.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(head("GET", "/api/tracers", {"Host": page.host, "X-Pytracer-Token": page.token}))
        clients.append(client)
    assert_serves(page)
    for client in clients:
        client.close()


def test_slow_clients_are_disconnected(page):
    with page.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        assert parse(read_all(client)).status == 408


def test_a_client_that_disconnects_midway_is_ignored(page):
    for part in (b"", b"GET /", b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc"):
        with page.connect() as client:
            client.sendall(part)
    for reset in (False, True):
        with page.connect() as client:
            fields = {"Host": page.host, "X-Pytracer-Token": page.token}
            client.sendall(head("GET", "/api/stream?run=0", fields))
            client.recv(100)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert_serves(page)


def test_streams_are_bounded(page):
    streams = []
    for _ in range(9):
        client = page.connect()
        client.sendall(head("GET", "/api/stream?run=0", {"Host": page.host, "X-Pytracer-Token": page.token}))
        streams.append((client, client.recv(13)))
    assert [first[9:12] for _, first in streams] == [b"200"] * 8 + [b"503"]
    for client, _ in streams:
        client.close()


def assert_serves(page: Page) -> None:
    """Check that the server still serves; it takes a moment to notice that clients have gone."""
    end = time.monotonic() + 60
    while True:
        try:
            if json.loads(tracers(page, X_Pytracer_Token=page.token).body)["tracers"]:
                return
        except (KeyError, OSError):
            pass
        assert time.monotonic() < end
        time.sleep(0.1)
