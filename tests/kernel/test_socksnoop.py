"""Test socksnoop against sockets that are known to the last call, in cgroups and a network of the test's
own."""

from __future__ import annotations

import sys

import pytest

from pytracer.bpf.attach.cgroup_sock import POINTS as SOCKETS
from pytracer.bpf.attach.cgroup_sock_addr import POINTS as ADDRESSES
from pytracer.bpf.sys import ProgType
from support import packets, worker_ids
from support.cgroups import DATAGRAMS, attached, cgroup, programs_on, run_in
from support.cli import EarlyExit, Result, finish, run, start, stop
from support.needs import refused_by_right

pytestmark = pytest.mark.kernel
ALTERNATIVES = ("cgroup-link", "cgroup-attach")
WORK = """
import socket
for family, any_, there in ((socket.AF_INET, "0.0.0.0", "127.0.0.1"), (socket.AF_INET6, "::", "::1")):
    with socket.create_server((there, 4321), family=family) as server:
        for _ in range(23):
            with socket.socket(family) as client:
                client.connect((there, 4321))
                server.accept()[0].close()
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.bind((any_, 4322))
        for _ in range(7):
            sender.sendto(b"x", (there, 9))
        sender.connect((there, 9))
        try:
            sender.send(b"x")
        except ConnectionRefusedError:
            pass
"""


def expected() -> list[tuple[object, ...]]:
    """Return (call, family, type, protocol, address, port) of each event of WORK, in order."""
    calls: list[tuple[object, ...]] = []
    for family, any_, remote in (("IPv4", "0.0.0.0", "127.0.0.1"), ("IPv6", "::", "::1")):
        tcp, udp = (family, "stream", "TCP"), (family, "dgram", "UDP")
        calls += [("socket", *tcp, None, None)]
        calls += [(call, *tcp, remote, 4321) for call in ("bind", "bound")]
        calls += [("socket", *tcp, None, None), ("connect", *tcp, remote, 4321)] * 23
        calls += [("socket", *udp, None, None)]
        calls += [(call, *udp, any_, 4322) for call in ("bind", "bound")]
        calls += [("send", *udp, remote, 9)] * 7 + [("connect", *udp, remote, 9)]
    return calls


def call_tuples(result: Result) -> list[tuple[object, ...]]:
    assert result.status == 0, result.err
    assert not result.of("loss")
    names = ("call", "family", "type", "protocol", "address", "port")
    return [tuple(record[name] for name in names) for record in result.of("event")]


@pytest.fixture
def folder():
    """Create a cgroup, in a network that only the test uses."""
    with packets.namespace(ipv6=True), cgroup() as path:
        yield path


@pytest.mark.lab
@pytest.mark.smoke
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_every_call_is_shown_with_its_address(folder, alternative):
    try:
        tracer = start("socksnoop", "-f", "json", "--cgroup", folder, "--hook", f"sockets={alternative}")
    except EarlyExit as error:
        result, process = error.result, 0
    else:
        process = run_in(folder, WORK)
        result = stop(tracer)
    if refused_by_right(result.status, result.err, {"sockets": alternative}):
        return
    assert call_tuples(result) == expected()
    assert {(record["pid"], record["comm"]) for record in result.of("event")} == {(process, "python")}


@pytest.mark.lab
def test_a_port_that_the_kernel_chooses(folder):
    tracer = start("socksnoop", "-f", "json", "--cgroup", folder, "-e", "bind,bound")
    run_in(folder, "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")
    (bind, *_, requested_port), (bound, *_, bound_port) = call_tuples(stop(tracer))
    assert (bind, requested_port, bound) == ("bind", 0, "bound")
    assert bound_port > 0


def test_all_but_some_calls_and_a_filter_by_user(folder):
    tracer = start(
        "socksnoop", "-f", "json", "--cgroup", folder, "-e", "!socket,connect", "-u", worker_ids.UID
    )
    run_in(folder, WORK)
    run_in(folder, f"import os; os.setuid({worker_ids.UID})\n" + WORK)
    assert call_tuples(stop(tracer)) == [
        event for event in expected() if event[0] not in ("socket", "connect")
    ]


def test_a_command_and_its_descendants(folder):
    """With a cgroup named, the command is only the load: other processes of the cgroup are shown, too."""
    command = (
        sys.executable,
        "-c",
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WORK!r}])",
    )

    def enter() -> None:
        (folder / "cgroup.procs").write_text("0")

    words = ("-f", "json", "--cgroup", folder, "-e", "send", "--", *command)
    tracer = start("socksnoop", *words, preexec_fn=enter)
    run_in(folder, DATAGRAMS + 'send(socket.AF_INET, "127.0.0.1", 23, 30)')
    events = call_tuples(finish(tracer))
    selected = [event for event in expected() if event[0] == "send"]
    ports = {event[-1] for event in selected}
    assert [event for event in events if event[-1] in ports] == selected
    assert len([event for event in events if event[-1] not in ports]) == 23


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_a_failed_attach_or_a_killed_process_leaves_no_program(folder, alternative):
    """Another owner's program allows none beside it: the programs that were attached before are detached."""
    words = ("--cgroup", folder, "--hook", f"sockets={alternative}")
    other = attached(folder, ADDRESSES["bind4"], 1, flags=0, kind=ProgType.CGROUP_SOCK_ADDR)
    with other as number:
        assert run("socksnoop", *words, "-d", 1).status == 1
        assert there(folder) == {"bind4": (number,)}
    tracer = start("socksnoop", *words)
    assert len(there(folder)) == 9
    tracer.kill()
    tracer.communicate()
    assert len(there(folder)) == (9 if alternative == "cgroup-attach" else 0)
    assert run("socksnoop", *words, "-d", 0.1).status == 0
    assert there(folder) == {}


def there(folder):
    """Return the programs on a cgroup by what they are for."""
    actual = programs_on(folder, SOCKETS) | programs_on(folder, ADDRESSES)
    return {point: numbers for point, numbers in actual.items() if numbers}


def test_a_family_that_is_not_seen(folder):
    tracer = start("socksnoop", "-f", "json", "--cgroup", folder)
    run_in(folder, "import socket\nsocket.socketpair(); socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)")
    assert call_tuples(stop(tracer)) == []


def test_an_unknown_call():
    result = run("socksnoop", "-e", "listen")
    assert result.status == 2
    assert "'listen' is none of them" in result.err
