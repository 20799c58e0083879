"""Test --audit: compare the events of a trace with the kernel's own counters."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import pytracer
from pytracer.kernel import counters
from pytracer.model import AuditResult
from pytracer.record import replace
from support import cpu_contention, packets
from support.cli import run, start, stop, wait_for
from support.connections import V4, dropping_segments, pair, resetting, tcp_info
from support.cpu_contention import UNSEEN
from support.disks import loop, readers
from support.interrupts import SEEN, make_interrupts

pytestmark = pytest.mark.kernel
BEGAN_BEFORE = 32  # threads that are runnable at one moment
LOAD = f"{sys.executable} -c 'import os; [os.waitpid(os.fork() or os._exit(0), 0) for _ in range(101)]'"


def audit(result):
    """Return the only audit of a run, which agrees."""
    assert result.status == 0, result.err
    assert not result.of("loss")
    [audit_record] = result.of("audit")
    assert audit_record["counted_min"] <= audit_record["seen"] <= audit_record["counted_max"], audit_record
    assert audit_record["difference"] == 0
    return audit_record


@pytest.mark.lab
@pytest.mark.smoke
@pytest.mark.parametrize("words", [["softirqs"], ["hardirqs"]])
def test_interrupts_agree(words):
    tracer = start(*words, "--audit", "-f", "json", 60)
    make_interrupts()
    result = stop(tracer)
    [audit_record] = result.of("audit")
    assert audit_record["counted_min"] > 0
    assert (
        SEEN * audit_record["counted_min"]
        <= audit_record["seen"] + audit_record["lost"]
        <= audit_record["counted_max"]
    ), audit_record
    assert (audit_record["difference"] == 0) is (
        audit_record["seen"] + audit_record["lost"] >= audit_record["counted_min"]
    )


@pytest.mark.lab
@pytest.mark.parametrize("name", ["runqlat", "cpudist"])
def test_timeslices_agree(name):
    """Every thread that gets a CPU has waited for it. A thread that waits or runs when the trace begins is
    not seen."""
    result = run(name, "--audit", "--load", "-f", "json", "-c", shlex.join(cpu_contention.command()))
    if not Path("/proc/schedstat").exists():
        assert (result.status, result.out) == (4, "")
        assert "no /proc/schedstat" in result.err
        return
    [audit_record] = result.of("audit")
    assert audit_record["counted_min"] > 100
    total = audit_record["seen"] + audit_record["lost"]
    assert audit_record["counted_min"] - BEGAN_BEFORE <= total <= audit_record["counted_max"], audit_record


@pytest.mark.lab
@pytest.mark.parametrize("name", ["sockcount", "tccount", "xdpcount"])
def test_packets_of_an_interface_agree_to_the_packet(name):
    with packets.namespace():
        tracer = start(name, "lo", "--audit", "-f", "json", 60)
        packets.send("lo", [packets.ethernet("UDP", 101, packets.ETH_P_IP, packets.ipv4(17, bytes(30)))])
        actual = audit(stop(tracer))
    assert (actual["seen"], actual["counted_min"], actual["counted_max"]) == (101, 101, 101)


@pytest.mark.lab
def test_segments_of_a_network_namespace_agree():
    with packets.namespace():
        client, server = pair(*V4)
        tracer = start("tcpretrans", "--netns", "/proc/self/ns/net", "--audit", "-f", "json")
        with dropping_segments(server):
            client.send(bytes(1009))
            wait_for(lambda: tcp_info(client)["total_retrans"] >= 3, "segments that are sent again")
        result = stop(tracer)
        resetting(client)
        server.close()
    [audit_record] = result.of("audit")
    assert audit_record["counted_max"] >= 3
    assert -UNSEEN <= audit_record["difference"] <= 0


@pytest.mark.lab
@pytest.mark.parametrize("tracer", ["biosnoop", "biotop", "bitesize", "biolatency"])
def test_requests_to_disks_agree(tmp_path, tracer):
    """The kernel also counts a write for each flush."""
    with loop(tmp_path) as device:
        before = flushes()
        started = start(tracer, "--audit", "-f", "json")
        readers(device, {"reads": 211})
        result = stop(started)
        [audit_record] = result.of("audit")
        minimum = SEEN * audit_record["counted_min"] - 2 * (flushes() - before)
        assert (
            max(SEEN * 211, minimum)
            <= audit_record["seen"] + audit_record["lost"]
            <= audit_record["counted_max"]
        ), audit_record


def flushes() -> int:
    lines = (line.split() for line in Path("/proc/diskstats").read_text().splitlines())
    return sum(int(words[18]) for words in lines if len(words) > 18)


@pytest.mark.lab
def test_tasks_that_are_created_agree():
    result = run("forksnoop", "--audit", "--load", "-f", "json", "-c", LOAD)
    [audit_record] = result.of("audit")
    assert audit_record["counted_min"] >= 101
    assert SEEN * audit_record["counted_min"] <= audit_record["seen"] <= audit_record["counted_max"], (
        audit_record
    )


def test_a_difference_is_reported_and_is_an_error_under_strict(monkeypatch):
    """Replace the kernel's counter by one that counts double, because no workload here makes them differ."""
    real = counters.COUNTERS["rx_packets"]
    monkeypatch.setitem(
        counters.COUNTERS, "rx_packets", replace(real, read=lambda scope: 2 * real.read(scope))
    )
    with packets.namespace(), pytracer.open("sockcount", "lo", audit=True) as trace:
        packets.send("lo", [packets.ethernet("UDP", 101, packets.ETH_P_IP, packets.ipv4(17, bytes(30)))])
        trace.stop()
        *_, last = trace
    assert isinstance(last, AuditResult)
    assert (last.seen, last.least, last.most, last.difference) == (101, 202, 202, -101)
    assert trace.difference == -101
    assert "101 fewer than the kernel (GRO joins packets after they are counted)" in repr(last)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["syscalls"], "the kernel has no counter of what syscalls shows"),
        (["tcpretrans", "--comm", "curl"], "cannot be filtered by --comm"),
        (["softirqs", "--wait"], "with --wait, /proc/softirqs counts something else"),
        (["sockcount", "lo", "--direction", "out"], "with --direction, /proc/net/dev counts something else"),
        (["biotop", "--top", "3"], "--top leaves rows out"),
        (["biotop", "--", "true"], "/proc/diskstats does not count the command alone"),
    ],
)
def test_a_request_that_the_counter_does_not_cover_is_refused(words, message):
    position = words.index("--") if "--" in words else len(words)
    result = run(*words[:position], "--audit", *words[position:])
    assert result.status == 2
    assert message in result.err


def test_every_format_shows_it():
    table = run("softirqs", "--audit", "-d", 0.3)
    assert "audit: " in table.out
    assert "/proc/softirqs counted" in table.out
    csv = run("softirqs", "--audit", "-d", 0.3, "-f", "csv")
    assert csv.out.splitlines()[-1].startswith("audit,")


def test_strict_ends_with_the_status_of_a_loss(tmp_path):
    """Replace the counter in the tracing process."""
    code = (
        "from pytracer.cli.main import main\nfrom pytracer.kernel import counters\n"
        "from pytracer.record import replace\n"
        "real = counters.COUNTERS['softirqs']\n"
        "counters.COUNTERS['softirqs'] = replace(real, read=lambda scope: 1000 * real.read(scope))\n"
        "raise SystemExit(main(['softirqs', '--audit', '--strict', '-d', '0.5']))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 3
    assert "pytracer: error: the kernel counted" in result.stderr
