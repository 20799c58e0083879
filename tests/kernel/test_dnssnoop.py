"""Test dnssnoop against a server of the test's own, which records its questions and delays each
answer."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import sys

import pytest

from support.cli import run, start, stop
from support.connections import V4, V6, own_process
from support.needs import was_refused
from support.packets import namespace

pytestmark = pytest.mark.kernel
HERE = ["--netns", "/proc/self/ns/net"]
NAME = b"\3www\7example\3org\0"
HOSTILE = b"\4a.\x1b\n\3org\0"
LONGEST = b"\x3f" + b"x" * 63 + b"\x3f" + b"y" * 63 + b"\x3f" + b"z" * 63 + b"\x3d" + b"w" * 61 + b"\0"
A, AAAA = 1, 28
HOLD = 0.05
# What a query and its answer pass: whose socket, which way.
DIRECTIONS = (
    ("client", "out", "query"),
    ("server", "in", "query"),
    ("server", "out", "answer"),
    ("client", "in", "answer"),
)
# Answers what it is asked with the code that the last byte of the id says; holds every question for a while.
SERVER = f"""
import json, select, socket, sys, time
open("/proc/self/comm", "w").write("resolver")
sockets = [socket.socket(fileno=int(fd)) for fd in sys.argv[1:]]
asked = []
print("ready", flush=True)
while True:
    for one in select.select(sockets, [], [])[0]:
        message, client = one.recvfrom(65536)
        if not message:
            print(json.dumps(asked), flush=True)
            sys.exit()
        asked.append(message.hex())
        time.sleep({HOLD})
        head = message[:2] + bytes([0x81, 0x80 | message[1]]) + message[4:6] + b"\\0\\7"
        one.sendto(head + message[8:], client)
"""


def query(number, name=NAME, kind=A):
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + name + struct.pack("!2H", kind, 1)


@contextlib.contextmanager
def server(families=(V4,)):
    """Run a server with a bound socket of each family. Yields its address and the questions that it
    received."""
    sockets = [socket.socket(family, socket.SOCK_DGRAM) for family, _ in families]
    for sock, (_, host) in zip(sockets, families, strict=True):
        sock.bind((host, 53))
    numbers = [sock.fileno() for sock in sockets]
    words = [sys.executable, "-c", SERVER, *map(str, numbers)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, pass_fds=numbers) as process:
        for sock in sockets:
            sock.close()
        assert process.stdout.readline() == "ready\n"
        requests = []
        yield process.pid, requests
        with socket.socket(families[0][0], socket.SOCK_DGRAM) as client:
            client.sendto(b"", (families[0][1], 53))
        requests += json.loads(process.stdout.readline())


def ask(client, message):
    client.send(message)
    return client.recv(65536)


def messages(result):
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result.of("event")


def select(events, *names):
    return [tuple(event[name] for name in names) for event in events]


@pytest.mark.lab
@pytest.mark.parametrize(
    "alternative", [pytest.param("cgroup-link", marks=pytest.mark.smoke), "cgroup-attach"]
)
def test_each_message_on_both_sides_with_its_owner(alternative):
    """The sockets of both sides are older than the trace; the server answers while the client waits."""
    hooks = ["--hook", f"cgroup_packet={alternative}", "--hook", f"created={alternative}"]
    selected = {"cgroup_packet": alternative, "created": alternative}
    if was_refused(run("dnssnoop", "--dry-run", *hooks), selected):
        return
    expected = []
    with namespace(ipv6=True), server((V4, V6)) as (resolver, requests):
        clients = [socket.socket(family, socket.SOCK_DGRAM) for family, _ in (V4, V6)]
        tracer = start("dnssnoop", "-f", "json", *HERE, *hooks)
        sent = []
        for client, (_, host) in zip(clients, (V4, V6), strict=True):
            client.connect((host, 53))
            for number, code in ((0, "NOERROR"), (2, "SERVFAIL"), (3, "NXDOMAIN")):
                for kind, type_ in ((A, "A"), (AAAA, "AAAA")):
                    sent.append(query(number, kind=kind).hex())
                    ask(client, bytes.fromhex(sent[-1]))
                    for role, direction, message in DIRECTIONS:
                        owner = own_process() if role == "client" else (resolver, "resolver")
                        answer = (code, 7) if message == "answer" else (None, None)
                        expected.append((*owner, direction, message, *answer, type_, "www.example.org"))
            client.close()
        events = messages(stop(tracer))
    assert requests == sent
    columns = ("pid", "comm", "direction", "message", "code", "answers", "type", "name")
    assert select(events, *columns) == expected
    for event in events:
        assert (event["latency_ns"] is None) == (event["message"] == "query")
        assert event["protocol"] == "UDP"
        assert event["peer"] in (V4[1], V6[1])
    assert all(event["latency_ns"] >= HOLD * 1e9 for event in events if event["message"] == "answer")


@pytest.mark.lab
def test_tcp_whole_and_in_parts():
    with namespace(), socket.create_server(("127.0.0.1", 53)) as listener:
        tracer = start("dnssnoop", "-f", "json", *HERE)
        client = socket.create_connection(("127.0.0.1", 53))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        served, _ = listener.accept()
        served.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(5):
            message = query(number)
            client.sendall(struct.pack("!H", len(message)) + message)
            assert len(served.recv(1000)) == len(message) + 2
            answer = message[:2] + b"\x81\x80" + message[4:] + bytes(20_000)
            framed = struct.pack("!H", len(answer)) + answer
            served.sendall(framed[:100])  # what follows begins no message
            served.sendall(framed[100:])
            remaining = len(framed)
            while remaining:
                remaining -= len(client.recv(remaining))
        events = messages(stop(tracer))
        client.close()
        served.close()
    assert select(events, "direction", "message", "protocol", "name") == [
        (direction, message, "TCP", "www.example.org")
        for _ in range(5)
        for _, direction, message in DIRECTIONS
    ]
    assert {(event["pid"], event["comm"]) for event in events if event["port"] == 53} == {own_process()}


def test_names_of_any_bytes_and_length():
    names = {
        HOSTILE: "a\\x2e\x1b\n.org",
        LONGEST: ".".join(("x" * 63, "y" * 63, "z" * 63, "w" * 61)),
        b"\0": ".",
        b"\xc0\x0c": None,  # a pointer: no question has one
        b"\x3f" * 300: None,  # longer than names are
    }
    with namespace(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        tracer = start("dnssnoop", "-f", "json", *HERE)
        for name in names:
            client.sendto(query(1, name), ("127.0.0.1", 53))
        client.sendto(query(1)[:20], ("127.0.0.1", 53))  # cut off
        client.sendto(query(1)[:12], ("127.0.0.1", 53))
        client.sendto(b"short", ("127.0.0.1", 53))  # no header
        events = messages(stop(tracer))
    assert select(events, "name") == [(name,) for name in [*names.values(), None, None]]
    assert {event["message"] for event in events} == {"query"}


def test_hostile_names_stay_text():
    with namespace(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        tracer = start("dnssnoop", *HERE)
        client.sendto(query(1, HOSTILE), ("127.0.0.1", 53))
        result = stop(tracer)
    assert result.status == 0, result.err
    assert "\x1b" not in result.out
    assert "a\\x2e\\x1b\\n.org" in result.out


def test_only_failed_only_slow_only_answers_and_another_port():
    with namespace(), server() as _, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        words = {
            "failed": ["--failed"],
            "slow": ["--min", "100s"],
            "held": ["--min", "20ms"],
            "answers": ["--messages", "answers"],
            "queries": ["--messages", "queries"],
            "port": ["--port", "5353"],
        }
        tracers = {name: start("dnssnoop", "-f", "json", *HERE, *options) for name, options in words.items()}
        client.connect(("127.0.0.1", 53))
        for number in (0, 3, 5):
            ask(client, query(number))
        names = {name: messages(stop(tracer)) for name, tracer in tracers.items()}
    assert select(names["failed"], "direction", "code") == [
        (direction, code) for code in ("NXDOMAIN", "REFUSED") for direction in ("out", "in")
    ]
    assert names["slow"] == names["port"] == []
    assert len(names["held"]) == len(names["answers"]) == len(names["queries"]) == 6
    assert {event["message"] for event in names["held"] + names["answers"]} == {"answer"}
    assert {event["message"] for event in names["queries"]} == {"query"}


def test_an_answer_to_another_question_has_no_latency():
    """The id and socket are the same but the name differs; then the answer comes in other letter case,
    twice."""
    with namespace(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as remote:
        remote.bind(("127.0.0.1", 53))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            tracer = start("dnssnoop", "-f", "json", *HERE, "--messages", "answers")
            client.connect(("127.0.0.1", 53))
            client.send(query(9))
            _, client_address = remote.recvfrom(1000)
            for name in (b"\3www\7another\3org\0", NAME.upper(), NAME):
                answer = query(9, name)
                remote.sendto(answer[:2] + b"\x81\x80" + answer[4:], client_address)
            events = messages(stop(tracer))
    has_latency = [event["latency_ns"] is not None for event in events if event["direction"] == "in"]
    assert has_latency == [False, True, False]


def test_a_command_and_its_server_beside_it():
    """Filters apply to the owner: the server's messages do not belong to the command."""
    code = (
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.connect(('127.0.0.1', 53))\n"
        f"for _ in range(7):\n    s.send({query(0)!r})\n    s.recv(1000)\n"
    )
    with namespace(), server():
        result = run("dnssnoop", "-f", "json", "--", sys.executable, "-c", code)
    events = messages(result)
    assert select(events, "direction", "message") == [("out", "query"), ("in", "answer")] * 7
    assert {event["comm"] for event in events} == {"python"}


def test_events_that_do_not_fit_are_counted():
    with namespace(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        tracer = start("dnssnoop", "-f", "json", *HERE, "--buffer", 4096)
        for _ in range(5000):
            client.sendto(query(1), ("127.0.0.1", 53))
        result = stop(tracer)
    assert len(result.of("event")) + sum(loss["lost"] for loss in result.of("loss")) == 5000


def test_a_later_fragment_carries_no_message():
    """The bytes at a message's place belong to the middle of another packet."""
    data = struct.pack("!4H", 53, 53, 8 + len(query(7)), 0) + query(7)
    with namespace(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as client:
        tracer = start("dnssnoop", "-f", "json", *HERE)
        for fragment in (185, 0, 0x2000 | 3):
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), 1, fragment, 64, 17, 0)
            client.sendto(head + bytes([127, 0, 0, 1]) * 2 + data, ("127.0.0.1", 0))
        events = messages(stop(tracer))
    assert select(events, "direction", "message") == [("out", "query")]
