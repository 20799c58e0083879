"""Test tcprtt against TCP_INFO of the same connections."""

from __future__ import annotations

import os

import pytest

from support.cli import run, start, stop
from support.connections import V4, V6, ends, own_process, pair, tcp_info
from support.needs import was_refused
from support.packets import namespace

pytestmark = pytest.mark.kernel
HERE = ["--netns", "/proc/self/ns/net"]


def rows_of(tracer):
    """Return the histograms of the whole run."""
    result = stop(tracer)
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result.of("summary")


def segments(connections):
    """Return how many came in by each connection while it was established: all but the answer to its SYN."""
    places = {client: ends(client) for client, _ in connections}
    return {(p["saddr"], p["sport"]): tcp_info(client)["segs_in"] - 1 for client, p in places.items()}


@pytest.mark.lab
@pytest.mark.parametrize("alternative", [pytest.param("raw-tracepoint", marks=pytest.mark.smoke), "kprobe"])
def test_the_estimate_and_the_segments_are_those_of_the_kernel(alternative):
    hooks = ["--hook", f"tcp_segment={alternative}"]
    if was_refused(run("tcprtt", "--dry-run", *hooks), {"tcp_segment": alternative}):
        return
    with namespace(ipv6=True):
        tracer = start("tcprtt", "-f", "json", *HERE, *hooks, "--by", "local,pid", 60)
        connections = [pair(family, host) for family, host in (V4, V6) for _ in range(7)]
        for number, (client, server) in enumerate(connections):
            for _ in range(number * 3 + 1):
                server.send(b"x" * 101)
                assert len(client.recv(101)) == 101
                client.send(b"y")
                assert server.recv(1) == b"y"
        before = segments(connections)
        rows = rows_of(tracer)
        after = segments(connections)  # an acknowledgement may have been delayed until the trace was over
        for connection in connections:
            for end in connection:
                end.close()
    by_source = {(row["saddr"], row["sport"]): row for row in rows}
    assert {(by_source[endpoint]["pid"], by_source[endpoint]["comm"]) for endpoint in before} == {
        own_process()
    }
    assert all(before[endpoint] <= by_source[endpoint]["segments"] <= after[endpoint] for endpoint in before)
    assert all(sum(b["count"] for b in row["srtt_ns"]) == row["segments"] for row in rows)


@pytest.mark.lab
def test_a_segment_counts_with_the_estimate_at_its_time():
    with namespace():
        client, server = pair(*V4)
        for _ in range(23):
            server.send(b"x")
            client.recv(1)
            client.send(b"y")
            server.recv(1)
        tracer = start("tcprtt", "-f", "json", *HERE, "--by", "local", 60)
        before = tcp_info(client)
        server.send(b"x")
        client.recv(1)
        assert tcp_info(client)["segs_in"] == before["segs_in"] + 1
        rows = rows_of(tracer)
        endpoint = ends(client)
        for end in (client, server):
            end.close()
    [row] = [row for row in rows if row["sport"] == endpoint["sport"]]
    assert (row["segments"], row["max_ns"]) == (1, before["rtt"] * 1000)
    [bucket] = [bucket for bucket in row["srtt_ns"] if bucket["count"]]
    assert bucket["low"] <= before["rtt"] * 1000 < bucket["high"]


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ([], {"daddr"}),
        (["--by", "peer"], {"daddr", "dport"}),
        (["--by", "netns"], {"netns"}),
        (["-p", os.getpid(), "--by", "pid"], {"pid", "comm"}),
        (["--net", "::/0"], {"daddr"}),
    ],
)
def test_rows_by_other_keys_of_some_connections(words, keys):
    with namespace(ipv6=True):
        tracer = start("tcprtt", "-f", "json", *HERE, *words, 60)
        for family, host in (V4, V6):
            client, server = pair(family, host)
            client.send(b"x")
            server.recv(1)
            client.close()
            server.recv(1)
            server.close()
        rows = rows_of(tracer)
    assert rows
    assert all(keys <= set(row) for row in rows)
    if "daddr" in keys and "--by" not in words:
        assert {row["daddr"] for row in rows} == ({"::1"} if words else {"127.0.0.1", "::1"})
