"""Test bindsnoop against sockets whose calls are known, and their own getsockname()."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import sys
from pathlib import Path

import pytest

from support import worker_ids
from support.calls import ALTERNATIVES, is_granted
from support.cli import run, start, stop
from support.connections import V4, V6, inode, own_process
from support.needs import running
from support.packets import namespace
from support.workloads import workload

pytestmark = pytest.mark.kernel
HERE = ["--netns", "/proc/self/ns/net"]
KINDS = ((socket.SOCK_STREAM, 0, "TCP"), (socket.SOCK_DGRAM, 0, "UDP"))


def events(tracer):
    result = stop(tracer)
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result.of("event")


def columns(events, *names):
    return [tuple(event[name] for name in names) for event in events]


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_each_call_is_shown_with_its_bound_address(alternative):
    """Every protocol has a name, and a port that the kernel chose is the port of the socket."""
    if not is_granted("bindsnoop", alternative):
        return
    hook = ["--hook", f"return={alternative}"]
    expected = []
    with namespace(ipv6=True), contextlib.ExitStack() as stack:
        tracer = start("bindsnoop", "-f", "json", *HERE, *hook)
        for family, host in (V4, V6):
            for kind, protocol, name in KINDS:
                for port in (0, 4321):
                    client = stack.enter_context(socket.socket(family, kind, protocol))
                    client.bind((host, port))
                    bound_port = client.getsockname()[1]
                    expected.append(("bind", None, name, bound_port, host, None, inode()))
                    if kind == socket.SOCK_STREAM:
                        client.listen(23)
                        expected.append(("listen", None, name, bound_port, host, 23, inode()))
                second_socket = stack.enter_context(socket.socket(family, kind, protocol))
                with pytest.raises(OSError, match="in use"):
                    second_socket.bind((host, 4321))
                expected.append(("bind", "EADDRINUSE", name, 4321, host, None, inode()))
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
            raw.bind(("127.0.0.1", 0))
        expected.append(("bind", None, "ICMP", None, "127.0.0.1", None, inode()))
        with socket.socket() as unbound:  # listens on a port that the kernel chooses
            unbound.listen(5)
            expected.append(("listen", None, "TCP", unbound.getsockname()[1], "0.0.0.0", 5, inode()))
        with socket.socket(socket.AF_UNIX) as unix:  # neither IPv4 nor IPv6
            unix.bind("")
            unix.listen()
        actual = events(tracer)
    names = ("call", "error", "protocol", "port", "address", "backlog", "netns")
    assert columns(actual, *names) == expected
    assert {(event["pid"], event["comm"]) for event in actual} == {own_process()}


@pytest.mark.lab
def test_operations_of_io_uring():
    """Whoever completes them, they belong to the process that submits; a refused address is known, too."""
    with namespace(ipv6=True):
        result = run("bindsnoop", "-f", "json", "--", workload("rings"), "sockets", 5)
        failed = run("bindsnoop", "-f", "json", "-x", "-e", "bind", "--", workload("rings"), "sockets", 5)
    assert result.status == failed.status == 0, result.err + failed.err
    v4, v6, refused = ("TCP", 4321, "127.0.0.1"), ("UDP", 4322, "::1"), ("bind", "EADDRINUSE")
    expected = [
        ("bind", None, *v4, None, "rings"),
        ("listen", None, *v4, 23, "rings"),
        ("listen", None, *v4, 24, "rings"),
        *[(*refused, *v4, None, "rings")] * 4,
        ("bind", None, *v6, None, "rings"),
    ]
    sees_io_uring = not running().excuse("sockets of io_uring")
    names = ("call", "error", "protocol", "port", "address", "backlog", "comm")
    assert columns(result.of("event"), *names) == expected * sees_io_uring
    assert columns(failed.of("event"), *names) == expected[3:7] * sees_io_uring


def test_32_bit_programs():
    with namespace():
        hook = "--hook=return=raw-tracepoint"  # which sees what a 64-bit program does by int 0x80
        result = run("bindsnoop", "-f", "json", hook, "--", workload("bind32"), "4321")
    assert result.status == 0, result.err
    assert columns(result.of("event"), "call", "error", "protocol", "port", "address", "backlog") == [
        ("bind", None, "TCP", 4321, "127.0.0.1", None),
        ("listen", None, "TCP", 4321, "127.0.0.1", 7),
        ("bind", None, "TCP", 4322, "127.0.0.1", None),
        ("listen", None, "TCP", 4322, "127.0.0.1", 9),
    ]


def test_only_some_calls_failures_and_ports():
    words = {
        "listen": ["-e", "listen"],
        "not": ["-e", "!listen"],
        "failed": ["-x"],
        "port": ["--port", "4322"],
    }
    with namespace():
        tracers = {
            name: start("bindsnoop", "-f", "json", *HERE, *filter_words)
            for name, filter_words in words.items()
        }
        with socket.socket() as client, socket.socket() as other:
            client.bind(("127.0.0.1", 4321))
            client.listen(3)
            assert other.connect_ex(("127.0.0.1", 9)) == errno.ECONNREFUSED  # bound by the kernel itself
            with socket.socket() as bound, pytest.raises(OSError, match="in use"):
                bound.bind(("127.0.0.1", 4321))
            with socket.socket() as third:
                third.bind(("127.0.0.1", 4322))
        names = {name: columns(events(tracer), "call", "error", "port") for name, tracer in tracers.items()}
    binds = [("bind", None, 4321), ("bind", "EADDRINUSE", 4321), ("bind", None, 4322)]
    assert names == {
        "listen": [("listen", None, 4321)],
        "not": binds,
        "failed": binds[1:2],
        "port": binds[2:],
    }


def test_a_user_is_refused_a_port_and_hostile_names_stay_text():
    code = (
        "import os, socket\nopen('/proc/self/comm', 'wb').write(b'a\\n\\x1b[31m')\n"
        f"os.setuid({worker_ids.UID})\n"
        "s = socket.socket()\ntry:\n    s.bind(('127.0.0.1', 80))\nexcept PermissionError:\n    pass\n"
    )
    with namespace():
        Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("1024")
        plain = run("bindsnoop", "--", sys.executable, "-c", code)
        exact = run("bindsnoop", "-f", "json", "--", sys.executable, "-c", code)
    assert "\x1b" not in plain.out
    assert "a\\n\\x1b[31m" in plain.out
    [event] = [json.loads(line) for line in exact.out.splitlines() if '"event"' in line]
    assert (event["comm"], event["error"], event["port"]) == ("a\n\x1b[31m", "EACCES", 80)


def test_events_that_do_not_fit_are_counted():
    code = "import socket\nfor _ in range(3000):\n    socket.socket().bind(('127.0.0.1', 0))\n"
    with namespace():
        result = run("bindsnoop", "-f", "json", "--buffer", 4096, "--", sys.executable, "-c", code)
    assert len(result.of("event")) + sum(loss["lost"] for loss in result.of("loss")) == 3000
