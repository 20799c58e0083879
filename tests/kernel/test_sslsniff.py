"""Test sslsniff against a TLS server and clients of our own, which know what they sent and got."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from pytracer.text import to_bytes
from support.cli import run

pytestmark = pytest.mark.kernel
# Python uses SSL_read_ex and SSL_write_ex. Both ends are in one process, over a pair of sockets.
PYTHON = """
import hashlib, json, os, socket, ssl, sys, threading
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(sys.argv[1])
client = ssl.create_default_context()
client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
here, there = socket.socketpair()
def serve():
    with server.wrap_socket(there, server_side=True) as end:
        for _ in range(23):
            end.sendall(b"answer " + end.recv(4096))
        end.sendall(bytes(range(256)) * 64)
thread = threading.Thread(target=serve)
thread.start()
with client.wrap_socket(here) as end:
    for number in range(23):
        end.sendall(b"question\\x1b[31m %d" % number)
        assert end.recv(4096) == b"answer question\\x1b[31m %d" % number
    rest = b""
    while len(rest) < 16384:
        rest += end.recv(16384)
thread.join()
os.write(2, hashlib.sha256(rest).hexdigest().encode() + b"\\n")
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run(
        ["openssl", *words, "-keyout", path, "-out", path.with_suffix(".crt")],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


def sniffed(*words, command):
    result = run("sslsniff", *words, "-f", "json", "--", *command)
    assert result.status == 0, result.err
    return result.of("event"), result


def joined(events, direction):
    return b"".join(to_bytes(event["data"]) for event in events if event["direction"] == direction)


@pytest.mark.lab
def test_openssl_data_equals_the_sent_data(certificate):
    events, result = sniffed(command=[sys.executable, "-c", PYTHON, str(certificate)])
    assert not result.of("loss")
    sent = [to_bytes(event["data"]) for event in events if event["direction"] == "out"]
    questions = [b"question\x1b[31m %d" % number for number in range(23)]
    assert [data for data in sent if data.startswith(b"question")] == questions
    assert [data for data in sent if data.startswith(b"answer")] == [b"answer " + text for text in questions]
    assert len(sent) == 47
    assert all(len(to_bytes(event["data"])) == event["bytes"] for event in events)
    tail = joined(events, "in")[-16384:]
    assert hashlib.sha256(tail).hexdigest() == result.err.strip()
    assert sorted(joined(events, "in")) == sorted(joined(events, "out"))
    assert len({event["session"] for event in events}) == 2


def test_longer_data_is_truncated_and_counted(certificate):
    command = [sys.executable, "-c", PYTHON, str(certificate)]
    events, result = sniffed("--size", "8", "--direction", "out", command=command)
    assert {event["direction"] for event in events} == {"out"}
    assert {to_bytes(event["data"]) for event in events} == {b"question", b"answer q", bytes(range(8))}
    assert [(record["reason"], record["lost"]) for record in result.of("loss")] == [("truncated", 47)]
    assert sum(event["bytes"] for event in events) > 16384
    table = run("sslsniff", "--", *command)
    assert "\x1b" not in table.out


# A client by another library, and one by OpenSSL's older functions, ask a server of HTTP.
SERVER = """
import http.server, ssl, sys, threading, subprocess
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "11")
        self.end_headers()
        self.wfile.write(b"hello there")
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
words = [word.replace("PORT", str(server.server_port)) for word in sys.argv[2:]]
done = subprocess.run(words, capture_output=True, input=b"GET /some/path HTTP/1.0\\r\\n\\r\\n")
assert b"hello there" in done.stdout, done
"""


@pytest.mark.parametrize(
    ("client", "words"),
    [
        ("wget", ["wget", "-qO-", "--no-check-certificate", "https://127.0.0.1:PORT/some/path"]),
        ("openssl", ["openssl", "s_client", "-quiet", "-connect", "127.0.0.1:PORT"]),
    ],
)
def test_other_clients(certificate, client, words):
    command = [sys.executable, "-c", SERVER, str(certificate), *words]
    events, _ = sniffed("--comm", client, command=command)
    assert b"GET /some/path HTTP/1." in joined(events, "out")
    assert joined(events, "in").endswith(b"hello there")
