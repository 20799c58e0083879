"""Test tccount as people run it, against known packets in a network of the test's own."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from pytracer.bpf.attach import clsact, tcx
from pytracer.bpf.sys import ProgType, prog_load
from pytracer.bpf.trial import return_code
from support import packets
from support.cli import EarlyExit, Result, finish, run, start, stop
from support.needs import needs, refused_by_right

pytestmark = pytest.mark.kernel
ALTERNATIVES = ("tcx", "clsact")
SEND = {"in": "va", "out": "vb"}  # by which vb sees them so


def count_packets(*words: object, sender: str = "va", sent: list[packets.Frame] | None = None) -> Result:
    """Run tccount while packets are sent. Returns its result."""
    try:
        tracer = start("tccount", "-f", "json", *words, 60)
    except EarlyExit as error:
        return error.result
    packets.send(sender, packets.frames() if sent is None else sent)
    result = stop(tracer)
    result.err = "".join(tracer.messages) + result.err
    return result


def wanted(direction: str) -> dict[str, tuple[int, int]]:
    return packets.expected(packets.frames(), received=direction == "in")


def tc(*words: str) -> str:
    return subprocess.run(["tc", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.lab
@pytest.mark.smoke
def test_every_packet_is_counted_in_both_directions():
    with packets.namespace():
        packets.veth()
        result = count_packets("vb")
        both_counts = count_packets("va", "vb", "--direction", "both", "--filter", "ether proto 0x88cc")
    assert packets.totals(result) == wanted("in")
    for interface, direction in (("va", "out"), ("vb", "in")):
        assert packets.totals(both_counts, interface) == {"LLDP": wanted(direction)["LLDP"]}


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_both_alternatives_to_attach(alternative):
    with packets.namespace():
        packets.veth()
        for direction, sender in SEND.items():
            result = count_packets(
                "vb", "--direction", direction, "--hook", f"traffic={alternative}", sender=sender
            )
            if refused_by_right(result.status, result.err, {"traffic": alternative}):
                return
            assert f"vb: {alternative} {'in' if direction == 'in' else 'e'}gress" in result.err
            assert packets.totals(result) == wanted(direction)
            assert "clsact" not in tc("qdisc", "show")


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_on_lo_each_packet_is_seen_once_a_direction(alternative):
    sent = [packets.ethernet("UDP", 101, packets.ETH_P_IP, packets.ipv4(17, bytes(30)))]
    with packets.namespace():
        for direction, times in (("in", 1), ("out", 1), ("both", 2)):
            words = ("lo", "--direction", direction, "--hook", f"traffic={alternative}")
            udp, size = packets.totals(count_packets(*words, sender="lo", sent=sent), "lo")["UDP"]
            assert (udp, size) == (101 * times, 101 * times * len(sent[0].data))


@pytest.fixture
def tun():
    """Require that interfaces without a link header can be made."""
    needs("tun", Path("/dev/net/tun").exists())


@pytest.mark.usefixtures("tun")
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_a_link_without_a_header(alternative):
    with packets.namespace(), packets.tun() as fd:
        words = ("tun7", "--direction", "both", "--filter", "not icmp", "--hook", f"traffic={alternative}")
        tracer = start("tccount", "-f", "json", *words, 60)
        for frame in packets.ip_packets():
            for _ in range(frame.times):
                os.write(fd, frame.data)
        packets.send("tun7", [packets.Frame("UDP", 29, packets.ipv4(17, bytes(72)))], packets.ETH_P_IP)
        os.killpg(tracer.pid, signal.SIGINT)
        result = finish(tracer)
    sent = [frame for frame in packets.ip_packets() if frame.protocol != "ICMP"]
    sent.append(packets.Frame("UDP", 29, packets.ipv4(17, bytes(72))))
    assert packets.totals(result, "tun7") == packets.expected(sent, received=False)


def test_the_filters_and_qdiscs_of_others_stay_and_decide():
    with packets.namespace():
        packets.veth()
        tc("qdisc", "add", "dev", "vb", "clsact")
        match = ("u32", "match", "ip", "protocol", "99", "0xff", "classid", "1:1")
        tc("filter", "add", "dev", "vb", "ingress", "protocol", "ip", "prio", "1", *match)
        before = tc("qdisc", "show"), tc("filter", "show", "dev", "vb", "ingress")
        result = count_packets("vb", "--hook", "traffic=clsact")
        assert packets.totals(result) == wanted("in")
        assert "vb: clsact ingress, priority 2" in result.err
        assert "what filters before it take away is not seen" in result.err
        assert (tc("qdisc", "show"), tc("filter", "show", "dev", "vb", "ingress")) == before
        tc("qdisc", "del", "dev", "vb", "clsact")


def test_packets_that_another_filter_drops_are_counted_and_still_dropped():
    """The other program runs later, and sees every packet that this one passes."""
    dropping = prog_load(ProgType.SCHED_CLS, return_code(2))  # TC_ACT_SHOT
    with packets.namespace():
        _, other = packets.veth()
        assert clsact._create_qdisc(other)
        foreign = clsact.TrafficControlFilter(other, tcx.INGRESS, 7, 7, "somebody's")
        clsact._request_filter(foreign, clsact._NEWFILTER, 0x600, dropping)
        os.close(dropping)
        for alternative in ALTERNATIVES:
            assert packets.totals(count_packets("vb", "--hook", f"traffic={alternative}")) == wanted("in")
            assert clsact.list_filters(other) == [foreign]
        output = tc("-s", "filter", "show", "dev", "vb", "ingress")
        assert "somebody's" in output
        tc("qdisc", "del", "dev", "vb", "clsact")


def test_an_ingress_qdisc_of_another_is_shared_or_reported():
    with packets.namespace():
        packets.veth()
        tc("qdisc", "add", "dev", "vb", "ingress")
        assert packets.totals(count_packets("vb", "--hook", "traffic=clsact")) == wanted("in")
        result = run("tccount", "vb", "--direction", "both", "--hook", "traffic=clsact", "-d", 1)
        assert result.status == 1
        assert "vb has an ingress qdisc of another program" in result.err.splitlines()[0]
        assert tc("filter", "show", "dev", "vb", "ingress") == ""
        tc("qdisc", "del", "dev", "vb", "ingress")


def test_two_runs_share_a_qdisc_and_the_last_removes_it():
    with packets.namespace():
        packets.veth()
        first, second = (start("tccount", "-f", "json", "vb", "--hook", "traffic=clsact", 60) for _ in "ab")
        packets.send("va", packets.frames())
        for tracer, is_qdisc_left in ((first, True), (second, False)):
            os.killpg(tracer.pid, signal.SIGINT)
            assert packets.totals(finish(tracer)) == wanted("in")
            assert ("clsact" in tc("qdisc", "show")) is is_qdisc_left


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_leftovers_of_a_killed_process_are_removed_by_the_next_run(alternative):
    with packets.namespace():
        _, other = packets.veth()
        words = ("--direction", "both", "--hook", f"traffic={alternative}")
        tracer = start("tccount", "vb", *words, 60)
        tracer.kill()
        tracer.communicate()
        assert len(clsact.list_filters(other)) == (2 if alternative == "clsact" else 0)
        assert run("tccount", "va", *words, "-d", 0.1).status == 0
        assert clsact.list_qdiscs() == {}


def test_an_interface_that_disappears_is_reported_and_ends_it():
    with packets.namespace():
        for alternative in ALTERNATIVES:
            packets.veth()
            tracer = start(
                "tccount", "-f", "json", "vb", "--direction", "both", "--hook", f"traffic={alternative}", 0.1
            )
            packets.send("va", packets.frames())
            packets.ip("link", "del", "vb")
            result = finish(tracer)
            assert result.err.count("warning: interface vb: it is gone") == 1
            assert packets.totals(result) == wanted("in")


def test_an_error_while_attaching_leaves_nothing_attached():
    with packets.namespace():
        packets.veth()
        tc("qdisc", "add", "dev", "vb", "ingress")
        words = ("va", "vb", "--direction", "out", "--hook", "traffic=clsact", "-d", 1)
        assert run("tccount", *words).status == 1
        assert "clsact" not in tc("qdisc", "show")
        tc("qdisc", "del", "dev", "vb", "ingress")
