"""Test qdisclat against packets that wait in a queue of the test's own, and what tc counts of it."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess

import pytest

from support.cli import run, start, stop, wait_for
from support.connections import inode
from support.needs import was_refused
from support.packets import ip, namespace, veth

pytestmark = pytest.mark.kernel
PACKET = bytes(1000)


def tc(*words):
    """Run tc(8) in the namespace of the test."""
    return subprocess.run(["tc", *words], check=True, capture_output=True, text=True).stdout


def sent():
    """Return how many packets have left the queue, and how many it dropped, as the kernel counts."""
    [queue] = json.loads(tc("-s", "-j", "qdisc", "show", "dev", "va"))
    return queue["packets"], queue["drops"]


@contextlib.contextmanager
def slow_interface(limit=1_000_000):
    """Create an interface whose queue passes 10 Mbit/s, one packet at a time."""
    with namespace():
        veth()
        ip("addr", "add", "192.0.2.1/24", "dev", "va")
        ip("neigh", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:ee", "dev", "va")
        tc(*f"qdisc add dev va root tbf rate 10mbit burst 2000 limit {limit}".split())
        try:
            yield
        finally:
            ip("link", "del", "va")


def flood(times):
    """Send datagrams faster than they may leave."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(times):
            with contextlib.suppress(OSError):  # the queue is full
                sender.sendto(PACKET, ("192.0.2.2", 9))


@pytest.mark.lab
@pytest.mark.parametrize(
    "form", ["raw-tracepoint", pytest.param("raw-tracepoint-device", marks=pytest.mark.smoke)]
)
def test_each_packet_that_waited_is_counted_once(form):
    hook = ["--hook", f"queue={form}"]
    if was_refused(run("qdisclat", "--dry-run", *hook), {"queue": form}):
        return
    words = ["--netns", "/proc/self/ns/net", "--by", "interface,queue,qdisc,netns", *hook, 600]
    with slow_interface():
        tracer = start("qdisclat", "-f", "json", *words)
        before, _ = sent()
        flood(101)
        wait_for(lambda: sent()[0] - before >= 101, "packets that leave the queue")
        after, dropped = sent()
        result = stop(tracer)
        namespace_inode = inode()
    assert result.status == 0, result.err
    [row] = result.of("summary")
    assert (row["interface"], row["queue"], row["qdisc"], row["netns"]) == ("va", 0, "tbf", namespace_inode)
    assert (row["packets"], dropped) == (after - before, 0) == (101, 0)
    assert sum(bucket["count"] for bucket in row["wait_ns"]) == 101
    assert 0 < row["max_ns"] < row["total_ns"]


def test_dropped_packets_are_not_counted():
    with slow_interface(limit=20_000):
        tracer = start("qdisclat", "-f", "json", "--netns", "/proc/self/ns/net", 600)
        before, _ = sent()
        flood(101)
        wait_for(lambda: sum(sent()) - before >= 101, "packets that leave the queue, or are dropped")
        after, dropped = sent()
        result = stop(tracer)
    [row] = result.of("summary")
    assert dropped > 0
    assert row["packets"] == after - before == 101 - dropped


def test_another_network_namespace_is_left_out():
    with namespace():
        tracer = start("qdisclat", "-f", "json", "--netns", "/proc/self/ns/net", 600)
        with slow_interface():
            flood(23)
            wait_for(lambda: sent()[0] >= 23, "packets that leave the queue")
        result = stop(tracer)
    assert not result.of("summary")
