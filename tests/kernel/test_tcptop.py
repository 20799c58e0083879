"""Test tcptop against connections of the test's own that carry known bytes, and the kernel's count of
them."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import subprocess
import sys

import pytest

from support.calls import ALTERNATIVES, is_granted
from support.cli import run, start, stop
from support.connections import V4, V6, connection_key, ends, own_process, pair, tcp_info
from support.needs import was_refused
from support.packets import namespace
from support.workloads import workload

pytestmark = pytest.mark.kernel
HERE = ["--netns", "/proc/self/ns/net"]


def summary(tracer):
    """Return the rows of the whole run."""
    result = stop(tracer)
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result.of("summary")


@pytest.mark.lab
@pytest.mark.parametrize("alternative", [pytest.param("raw-tracepoint", marks=pytest.mark.smoke), "fexit"])
def test_bytes_in_each_direction_of_each_connection(alternative):
    hook = ["--hook", f"socket_bytes={alternative}"]
    if was_refused(run("tcptop", "--dry-run", *hook), {"socket_bytes": alternative}):
        return
    expected, received_bytes = {}, {}
    with namespace(ipv6=True):
        tracer = start("tcptop", "-f", "json", *HERE, *hook, "--by", "pid,local,peer", 60)
        for family, host in (V4, V6):
            for number in range(1, 24):
                client, server = pair(family, host)
                client.sendmsg([bytes(number), bytes(100)])
                os.write(client.fileno(), bytes(1000))
                size = number + 1100
                assert server.recv(5000, socket.MSG_PEEK)  # it stays there, and is not received yet
                remaining = size
                while remaining:
                    remaining -= len(os.read(server.fileno(), remaining))
                server.send(bytes(23))
                assert len(client.recv(100)) == 23
                expected[connection_key(ends(client))] = (*own_process(), size, 23)
                expected[connection_key(ends(server))] = (*own_process(), 23, size)
                received_bytes[connection_key(ends(server))] = tcp_info(server)["bytes_received"]
                client.close()
                server.close()
        rows = summary(tracer)
    actual = {
        connection_key(row): (row["pid"], row["comm"], row["tx_bytes"], row["rx_bytes"]) for row in rows
    }
    assert actual == expected
    assert {connection: actual[connection][3] for connection in received_bytes} == received_bytes


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_bytes_that_splice_receives_are_counted(alternative):
    """splice(2) receives no message: the event of the socket does not report it."""
    if not is_granted("tcptop", alternative):
        return
    with namespace():
        tracer = start("tcptop", "-f", "json", *HERE, "--hook", f"return={alternative}", "--by", "local", 60)
        client, server = pair(*V4)
        pipe = os.pipe()
        remaining = 10_007
        while remaining > 23:
            client.sendall(bytes(1_000))
            remaining -= os.splice(server.fileno(), pipe[1], 1_000)
            os.read(pipe[0], 1_000)
            if remaining < 1_000:
                client.sendall(bytes(remaining))
                remaining -= len(server.recv(remaining, socket.MSG_WAITALL))
        os.write(pipe[1], bytes(101))
        os.splice(pipe[0], client.fileno(), 101)  # the other way it is a message
        server.recv(101, socket.MSG_WAITALL)
        received_bytes = tcp_info(server)["bytes_received"]
        local, remote = ends(client)["sport"], ends(server)["sport"]
        for end in (client, server):
            end.close()
        for end in pipe:
            os.close(end)
        rows = {row["sport"]: (row["tx_bytes"], row["rx_bytes"]) for row in summary(tracer)}
    assert rows == {local: (received_bytes, 0), remote: (0, received_bytes)}
    assert received_bytes == 10_007 + 101


class Zerocopy(ctypes.Structure):
    """The kernel's struct tcp_zerocopy_receive."""

    _fields_ = (
        ("address", ctypes.c_uint64),
        *((name, ctypes.c_uint32) for name in ("length", "recv_skip_hint", "inq", "err")),
        ("copybuf_address", ctypes.c_uint64),
        *((name, ctypes.c_uint32) for name in ("copybuf_len", "flags")),
    )


def receive_zerocopy(server, area, size):
    """Let the kernel map ``size`` bytes to ``area``, or copy them. Returns the numbers of bytes mapped,
    copied, and received by a message since they could be neither."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(1000)
    mapped = copied = messages = 0
    while mapped + copied + messages < size:
        zerocopy = Zerocopy(address=area, length=4 * mmap.PAGESIZE)
        zerocopy.copybuf_address, zerocopy.copybuf_len = ctypes.addressof(buffer), len(buffer)
        room = ctypes.c_uint32(ctypes.sizeof(zerocopy))
        error = libc.getsockopt(server.fileno(), 6, 35, ctypes.byref(zerocopy), ctypes.byref(room))
        assert not error, os.strerror(ctypes.get_errno())
        mapped += zerocopy.length
        copied += zerocopy.copybuf_len if room.value == ctypes.sizeof(zerocopy) else 0
        if zerocopy.recv_skip_hint:
            messages += len(server.recv(zerocopy.recv_skip_hint))
    return mapped, copied, messages


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_bytes_that_are_mapped_are_counted(alternative):
    """TCP_ZEROCOPY_RECEIVE receives no message, either."""
    if not is_granted("tcptop", alternative):
        return
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    with namespace():
        tracer = start("tcptop", "-f", "json", *HERE, "--hook", f"return={alternative}", "--by", "local", 60)
        client, server = pair(*V4)
        area = libc.mmap(None, 4 * mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, server.fileno(), 0)
        client.setsockopt(socket.SOL_SOCKET, 60, 1)  # SO_ZEROCOPY: the receiver gets whole pages
        client.send(bytes(4 * mmap.PAGESIZE), 0x4000000)  # MSG_ZEROCOPY
        mapped, copied, messages = receive_zerocopy(server, area, 4 * mmap.PAGESIZE)
        client.send(bytes(101))
        few = receive_zerocopy(server, area, 101)
        received_bytes = tcp_info(server)["bytes_received"]
        local, remote = ends(client)["sport"], ends(server)["sport"]
        for end in (client, server):
            end.close()
        rows = {row["sport"]: (row["tx_bytes"], row["rx_bytes"]) for row in summary(tracer)}
    assert rows == {local: (received_bytes, 0), remote: (0, received_bytes)}
    assert mapped + copied + messages + sum(few) == received_bytes == 4 * mmap.PAGESIZE + 101
    assert mapped >= mmap.PAGESIZE


@pytest.mark.lab
def test_bytes_that_io_uring_splices_are_counted():
    hook = ["--hook", "ring_splice=fexit"]
    if was_refused(run("tcptop", "--dry-run", *hook), {"ring_splice": "fexit"}):
        return
    with namespace():
        tracer = start("tcptop", "-f", "json", *HERE, *hook, "--by", "local", 60)
        subprocess.run([workload("rings"), "splices", "23"], check=True, capture_output=True)
        rows = sorted((row["tx_bytes"], row["rx_bytes"]) for row in summary(tracer))
    assert rows == [(0, 2300), (2300, 0)]


@pytest.mark.lab
def test_bytes_that_sendfile_sends_are_counted(tmp_path):
    """sendfile(2) had a kernel function of its own until Linux 6.5."""
    file = tmp_path / "file"
    file.write_bytes(bytes(10_007))
    with namespace():
        tracer = start("tcptop", "-f", "json", *HERE, "--by", "local", 60)
        client, server = pair(*V4)
        with file.open("rb") as source:
            assert os.sendfile(client.fileno(), source.fileno(), 0, 20_000) == 10_007
        remaining = 10_007
        while remaining:
            remaining -= len(server.recv(remaining))
        local, remote = ends(client)["sport"], ends(server)["sport"]
        client.close()
        server.close()
        rows = {row["sport"]: (row["tx_bytes"], row["rx_bytes"]) for row in summary(tracer)}
    assert rows == {local: (10_007, 0), remote: (0, 10_007)}


def test_a_socket_that_two_processes_use_and_one_older_than_the_trace():
    """Bytes belong to the process that sends them, whoever connected; the tracer need not have seen the
    connection begin."""
    with namespace():
        client, server = pair(*V4)
        tracer = start("tcptop", "-f", "json", *HERE, "--by", "pid", 60)
        child = os.fork()
        if not child:
            client.send(bytes(101))
            os._exit(0)
        os.waitpid(child, 0)
        client.send(bytes(1009))
        assert len(server.recv(5000)) == 1110
        rows = {row["pid"]: (row["tx_bytes"], row["rx_bytes"]) for row in summary(tracer)}
        client.close()
        server.close()
    assert rows == {child: (101, 0), os.getpid(): (1009, 1110)}


def test_other_sockets_are_left_out_and_filters_hold():
    with namespace():
        tracer = start("tcptop", "-f", "json", *HERE, "-p", os.getppid(), 60)
        connection = pair(*V4)
        connection[0].send(bytes(101))
        assert not summary(tracer)
        tracer = start("tcptop", "-f", "json", *HERE, 60)
        unix_client, unix_server = socket.socketpair()
        unix_client.send(b"local")
        unix_server.recv(100)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.sendto(b"x" * 101, ("127.0.0.1", 9))
        assert not summary(tracer)
        for end in (*connection, unix_client, unix_server):
            end.close()


def test_a_hostile_name_and_a_command_alone():
    code = (
        "import socket\n"
        "open('/proc/self/comm', 'wb').write(b'a\\x1b[31m')\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(listener.getsockname())\n"
        "client.send(bytes(101))\n"
        "assert len(listener.accept()[0].recv(200)) == 101\n"
    )
    result = run("tcptop", "--", sys.executable, "-c", code)
    assert result.status == 0, result.err
    assert "\x1b" not in result.out
