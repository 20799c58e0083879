"""Test xdpcount as people run it, against known frames in a network of the test's own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pytracer.bpf.attach import xdp, xdp_netlink
from pytracer.bpf.attach.interface import list_xdp_programs
from pytracer.bpf.attach.owner import encode_short_name, name_owner
from pytracer.bpf.sys import ProgType, link_create, prog_load
from pytracer.bpf.trial import return_code
from pytracer.kernel.pcap import LinkType, compile_filter
from support import packets
from support.cli import Result, finish, run, start, stop, wait_for
from support.needs import needs
from support.packet_filters import classic

pytestmark = pytest.mark.kernel
MODES = ("native", "generic")
ALTERNATIVES = ("xdp-link", "xdp-netlink")
FILTER = "udp[8:2] = 0x7878 or arp or (vlan 42 and ip)"


def count_packets(*words: object, sender: str = "va", sent: list[packets.Frame] | None = None) -> Result:
    """Run xdpcount while frames are sent. Returns its result."""
    tracer = start("xdpcount", "-f", "json", *words, 60)
    packets.send(sender, packets.frames() if sent is None else sent)
    result = stop(tracer)
    result.err = "".join(tracer.messages) + result.err
    return result


@pytest.mark.lab
@pytest.mark.smoke
def test_every_frame_is_counted_in_the_driver_and_behind_it():
    with packets.namespace():
        packets.veth()
        result = count_packets("vb")  # with the tags: nobody has taken them off yet
        filtered = count_packets("vb", "--mode", "generic", "--filter", FILTER)
    assert "vb: native XDP" in result.err
    assert packets.totals(result) == packets.expected(packets.frames(), received=False)
    assert "vb: generic XDP" in filtered.err
    code = compile_filter(FILTER, LinkType.ETHERNET)
    matching = [frame for frame in packets.frames() if classic(code, frame.data)]
    assert packets.totals(filtered) == packets.expected(matching, received=False) != {}


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_both_alternatives_to_attach_and_nothing_is_left(alternative):
    with packets.namespace():
        packets.veth()
        for mode in MODES:
            result = count_packets("va", "vb", "--mode", mode, "--hook", f"frame={alternative}")
            assert packets.totals(result) == packets.expected(packets.frames(), received=False)
            assert packets.totals(result, "va") == {}
            assert list_xdp_programs() == {}


def test_on_lo_frames_are_counted_behind_the_driver_and_that_is_reported():
    with packets.namespace():
        sent = [packets.ethernet("UDP", 101, packets.ETH_P_IP, packets.ipv4(17, bytes(30)))]
        result = count_packets("lo", sender="lo", sent=sent)
        refused = run("xdpcount", "lo", "--mode", "native", "-d", 1)
    assert packets.totals(result, "lo") == packets.expected(sent, received=False)
    assert "warning: interface lo: generic XDP, for its driver has none" in result.err
    assert refused.status == 4
    assert "lo by native XDP" in refused.err


@pytest.mark.usefixtures("tun")
def test_a_link_without_a_header():
    with packets.namespace(), packets.tun() as fd:
        tracer = start("xdpcount", "-f", "json", "tun7", "--filter", "not icmp", 60)
        for frame in packets.ip_packets():
            for _ in range(frame.times):
                os.write(fd, frame.data)
        os.killpg(tracer.pid, signal.SIGINT)
        result = finish(tracer)
    sent = [frame for frame in packets.ip_packets() if frame.protocol != "ICMP"]
    assert packets.totals(result, "tun7") == packets.expected(sent, received=False)


@pytest.fixture
def tun():
    """Require that interfaces without a link header can be created."""
    needs("tun", Path("/dev/net/tun").exists())


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("mode", MODES)
def test_the_program_of_another_is_reported_and_stays(alternative, mode):
    foreign = prog_load(ProgType.XDP, return_code(xdp.PASS), name="somebody_s")
    with packets.namespace():
        _, other = packets.veth()
        packets.ip("link", "set", "vb", "up")
        link = link_create(foreign, 37, target=other, flags=xdp.NATIVE if mode == "native" else xdp.GENERIC)
        try:
            before = list_xdp_programs()
            # The first of the two interfaces is let go again.
            result = run("xdpcount", "va", "vb", "--hook", f"frame={alternative}", "-d", 1)
            assert list_xdp_programs() == before
        finally:
            os.close(link)
            os.close(foreign)
    assert result.status == 1
    first, hint = result.err.splitlines()
    assert first.startswith("pytracer: error: another XDP program is on vb, and stays: 'somebody_s' (id ")
    assert f"(process {os.getpid()})" in first
    assert hint.startswith("hint: ")


def test_an_interface_that_disappears_is_reported_and_ends_it():
    with packets.namespace():
        for alternative in ALTERNATIVES:
            packets.veth()
            tracer = start("xdpcount", "-f", "json", "vb", "--hook", f"frame={alternative}", 0.1)
            packets.send("va", packets.frames())
            packets.ip("link", "del", "vb")
            result = finish(tracer)
            assert "warning: interface vb: it is gone" in result.err
            assert packets.totals(result) == packets.expected(packets.frames(), received=False)


def test_a_detached_program_is_reported():
    with packets.namespace():
        packets.veth()
        tracer = start("xdpcount", "-f", "json", "vb", "--hook", "frame=xdp-netlink", 0.1)
        packets.ip("link", "set", "dev", "vb", "xdp", "off")
        result = finish(tracer)
    assert "warning: interface vb: somebody took the program off" in result.err


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_leftovers_of_a_killed_process_are_removed_by_the_next_run(alternative):
    with packets.namespace():
        packets.veth()
        tracer = start("xdpcount", "vb", "--hook", f"frame={alternative}", 60)
        tracer.kill()
        tracer.communicate()
        if alternative == "xdp-netlink":
            assert len(list_xdp_programs()) == 1
        else:  # the link went with the process
            wait_for(lambda: list_xdp_programs() == {}, "the link is gone")
        assert run("xdpcount", "va", "--hook", f"frame={alternative}", "-d", 0.1).status == 0
        assert list_xdp_programs() == {}


def test_a_sweep_leaves_the_programs_of_the_living_and_of_others():
    own_name = encode_short_name(name_owner(os.getpid()))
    assert len(own_name) == 15
    loaded = [
        prog_load(ProgType.XDP, return_code(xdp.PASS), name=name) for name in (own_name, "ptsomebody_else")
    ]
    with packets.namespace():
        for index, program in zip(packets.veth(), loaded, strict=True):
            xdp_netlink._set_program(index, program, xdp.GENERIC)
        before = list_xdp_programs()
        xdp_netlink.sweep()
        assert list_xdp_programs() == before != {}
        for index in before:
            xdp_netlink._set_program(index, -1, xdp.GENERIC)
    for program in loaded:
        os.close(program)


def test_any_is_no_interface_for_it():
    result = run("xdpcount", "any")
    assert result.status == 2
    assert "'any' will not do" in result.err
