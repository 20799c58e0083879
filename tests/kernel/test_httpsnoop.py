"""Test httpsnoop against a server of the test's own, which records its requests and responses."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys

import pytest

from support.cli import run, start, stop, wait_for
from support.connections import V4, V6, dropping_segments, own_process, pair, tcp_info
from support.needs import was_refused
from support.packets import namespace

pytestmark = pytest.mark.kernel
HERE = ["--netns", "/proc/self/ns/net"]
HOLD = 0.05
# Answers each request with the status that its path ends with, after a while; the rest of its time it waits.
SERVER = f"""
import http.server, json, socket, sys, time
open("/proc/self/comm", "w").write("server")
asked = []
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked.append([self.command, self.path])
        time.sleep({HOLD})
        self.wfile.write(b"HTTP/1.1 %s Whatever\\r\\nContent-Length: 0\\r\\n\\r\\n" % self.path[-3:].encode())
    do_GET = do_POST = do_DELETE = answer
    def log_message(self, *words):
        pass
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = Server((sys.argv[1], 8080), Handler)
print("ready", flush=True)
for _ in range(int(sys.argv[2])):
    server.handle_request()
print(json.dumps(asked), flush=True)
"""


@contextlib.contextmanager
def serving(host, connections=1):
    """Run a server in another process. Yields its id, and the requests that it received once it has ended."""
    words = [sys.executable, "-c", SERVER, host, str(connections)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        requests = []
        yield process.pid, requests
        requests += json.loads(process.stdout.readline())


def request(method, path, body=b""):
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n%s" % (method, path, length, body)


def ask(client, message):
    client.sendall(message)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += client.recv(65536)
    return answer


def events(tracer):
    result = stop(tracer)
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result.of("event")


def columns(events, *names):
    return [tuple(event[name] for name in names) for event in events]


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", [pytest.param("cgroup-link", marks=pytest.mark.smoke), "cgroup-attach"]
)
def test_each_request_on_both_sides_with_its_owner(alternative):
    hooks = ["--hook", f"cgroup_packet={alternative}", "--hook", f"created={alternative}"]
    if was_refused(
        run("httpsnoop", "--dry-run", *hooks), {"cgroup_packet": alternative, "created": alternative}
    ):
        return
    expected, sent, responses = [], [], []
    with namespace(ipv6=True):
        tracer = start("httpsnoop", "-f", "json", *HERE, *hooks)
        for family, host in (V4, V6):
            with serving(host) as (server, requests), socket.socket(family) as client:
                client.connect((host, 8080))
                for method, path, status in (
                    (b"GET", b"/200", 200),
                    (b"POST", b"/a?b=c/404", 404),
                    (b"DELETE", b"/x%20y/503", 503),
                ):
                    body = b"GET /no HTTP/1.1\r\n" if method == b"POST" else b""
                    ask(client, request(method, path, body))
                    sent.append([method.decode(), path.decode()])
                    for owner, direction in (((server, "server"), "in"), (own_process(), "out")):
                        expected.append((*owner, direction, status, method.decode(), path.decode(), host))
                client.close()
            responses += requests
        actual = events(tracer)
    assert responses == sent
    names = ("pid", "comm", "direction", "status", "method", "path", "peer")
    assert columns(actual, *names) == expected
    assert all(event["latency_ns"] >= HOLD * 1e9 for event in actual)


def test_pipelined_interim_unanswered_and_cut():
    with namespace():
        tracer = start("httpsnoop", "-f", "json", *HERE)
        client, server = pair(*V4)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a segment each
        for number in range(3):
            client.sendall(request(b"GET", b"/%d" % number))
            assert server.recv(1000)
        for message in (b"HTTP/1.1 100 Continue", b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 200 OK"):
            server.sendall(message + b"\r\n\r\n")
            assert client.recv(1000)
        client.sendall(request(b"HEAD", b"/\x1b\n\xff"))
        assert server.recv(1000)
        server.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        assert client.recv(1000)
        client.sendall(b"BREW /coffee HTTP/1.1\r\n\r\n")  # no method of HTTP's
        client.sendall(b"\x16\x03\x01 GET / HTTP/1.1\r\n\r\n")
        assert server.recv(1000)
        client.sendall(request(b"PUT", b"/never"))
        assert server.recv(1000)
        client.close()
        server.close()
        actual = events(tracer)
    of_client = [event for event in actual if event["direction"] == "out"]
    assert sorted(columns(of_client, "method", "path", "status"), key=str) == [
        ("GET", "/0", 200),
        ("GET", "/1", None),
        ("GET", "/2", None),
        ("HEAD", "/\x1b", 101),
        ("PUT", "/never", None),
    ]
    answered_paths = [event["path"] for event in of_client if event["latency_ns"] is not None]
    assert answered_paths == ["/0", "/\x1b"]
    assert len(actual) == 2 * len(of_client)


def answer(status):
    return b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status


def retransmitted(end):
    """Wait until segments were sent again."""
    before = tcp_info(end)["total_retrans"]
    wait_for(lambda: tcp_info(end)["total_retrans"] >= before + 2, "segments that are sent again")


@pytest.mark.lab
def test_retransmissions_are_counted_once():
    """The sockets drop segments that the programs have seen; of two requests the second is sent while the
    response to the first is still lost."""
    with namespace():
        tracer = start("httpsnoop", "-f", "json", *HERE)
        client, server = pair(*V4)
        with client, server:
            with dropping_segments(server):
                client.sendall(request(b"GET", b"/one"))
                retransmitted(client)
            assert server.recv(1000) == request(b"GET", b"/one")
            with dropping_segments(client):
                server.sendall(answer(200))
                retransmitted(server)
                client.sendall(request(b"GET", b"/two"))
                assert server.recv(1000) == request(b"GET", b"/two")
                retransmitted(server)
            assert client.recv(1000) == answer(200)
            server.sendall(answer(404))
            assert client.recv(1000) == answer(404)
        actual = events(tracer)
    assert sorted(columns(actual, "path", "status", "direction"), key=str) == [
        ("/one", 200, "in"),
        ("/one", 200, "out"),
        ("/two", 404, "in"),
        ("/two", 404, "out"),
    ]


def test_a_long_line_is_cut_and_counted():
    with namespace():
        tracer = start("httpsnoop", "-f", "json", *HERE)
        client, server = pair(*V4)
        with client, server:
            client.sendall(request(b"GET", b"/" + b"x" * 1000))
            assert server.recv(5000)
            server.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            assert client.recv(1000)
            result = stop(tracer)
    assert columns(result.of("event"), "path", "status") == [("/" + "x" * 251, 200)] * 2
    assert [(loss["reason"], loss["lost"]) for loss in result.of("loss")] == [("truncated", 2)]


def test_only_failed_only_slow_another_port_and_hostile_names():
    words = {"failed": ["-x"], "slow": ["--min", "100s"], "port": ["--port", "80"], "plain": []}
    with namespace(), serving("127.0.0.1") as _, socket.socket() as client:
        tracers = {
            name: start("httpsnoop", "-f", "json", *HERE, *filter_words)
            for name, filter_words in words.items()
        }
        table = start("httpsnoop", *HERE)
        client.connect(("127.0.0.1", 8080))
        for path in (b"/200", b"/\x1b[31m500", b"/204"):
            ask(client, request(b"GET", path))
        client.close()
        names = {name: columns(events(tracer), "path", "status") for name, tracer in tracers.items()}
        out = stop(table).out
    assert names["failed"] == [("/\x1b[31m500", 500)] * 2
    assert names["slow"] == names["port"] == []
    assert len(names["plain"]) == 6
    assert "\x1b" not in out
    assert "/\\x1b[31m500" in out


def test_a_command_and_its_server_beside_it():
    """Filters apply to the owner: the server's side does not belong to the command."""
    code = (
        "import urllib.request\nfor _ in range(3):\n"
        "    urllib.request.urlopen('http://127.0.0.1:8080/200').read()\n"
    )
    with namespace(), serving("127.0.0.1", 3):
        result = run("httpsnoop", "-f", "json", "--", sys.executable, "-c", code)
    assert result.status == 0, result.err
    assert columns(result.of("event"), "direction", "status", "path") == [("out", 200, "/200")] * 3
