"""Test --filter against the kernel's classic BPF and against tcpdump."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from pytracer.bpf.asm.packet_filter import PacketContext, prologue
from pytracer.errors import UsageError
from pytracer.kernel.pcap import CompiledFilter, LinkType, compile_filter, compile_for
from support import packets
from support.cli import finish, run, start, wait_for
from support.packet_filters import PASSES, classic, kernel_verdicts, program_verdicts, random_program

pytestmark = pytest.mark.kernel
EXPRESSIONS = (
    "tcp",
    "tcp port 443",
    "udp and not port 53",
    "ip6",
    "ip6 proto 17 or icmp",
    "arp or ether proto 0x88cc",
    "net 192.0.2.0/25",
    "host 2001:db8::2 and tcp",
    "ip[2:2] > 60",
    "ip[0] & 0xf != 5",
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == 0",
    "greater 100",
    "ether[12:2] < 0x600",
    "vlan",
    "vlan 42 and udp",
)


def count_packets(name: str, *words: object, sender: str = "va") -> dict[str, tuple[int, int]]:
    """Return a tracer's counts of every kind of frame."""
    tracer = start(name, "-f", "json", *words, 60)
    packets.send(sender, packets.frames())
    os.killpg(tracer.pid, signal.SIGTERM)
    result = finish(tracer)
    assert result.status == 0, result.err
    assert not result.of("loss")
    return {r["protocol"]: (r["packets"], r["bytes"]) for r in result.of("summary")}


def number(rows: dict[str, tuple[int, int]]) -> int:
    return sum(count for count, _ in rows.values())


def tcpdump_output(path: Path, sent: list[packets.Frame]) -> str:
    """Return the frames as tcpdump reads them from a file."""
    with path.open("wb") as file:
        file.write(struct.pack("IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, LinkType.ETHERNET.value))
        for frame in sent:
            for _ in range(frame.times):
                file.write(struct.pack("IIII", 0, 0, len(frame.data), len(frame.data)) + frame.data)
    return str(path)


def tcpdump(file: str, expression: str) -> int:
    """Return how many of the frames in a file tcpdump lets through."""
    result = subprocess.run(["tcpdump", "-nr", file, "--count", expression], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return int(result.stdout.split()[0])


@pytest.mark.parametrize("context", list(PacketContext))
def test_random_filters_are_those_of_the_kernels_own_classic_bpf(context):
    dice = random.Random(context.value)
    agreed = {True: 0, False: 0}
    for _ in range(300):
        code = random_program(dice)
        try:
            instructions = prologue(
                CompiledFilter("made up", LinkType.ETHERNET, tuple(code)), context, PASSES[context]
            )
        except UsageError:
            continue  # none of its ends says yes
        sent = [dice.randbytes(dice.choice([14, 20, 40, 64, 80])) for _ in range(8)]
        sent += [frame.data for frame in dice.sample(packets.frames(), 2)]
        verdicts = program_verdicts(instructions, context, sent)
        for packet, expected, message in zip(sent, kernel_verdicts(code, sent), verdicts, strict=True):
            agreed[expected] += 1
            assert expected is classic(code, packet), code
            assert message is expected, code
    assert min(agreed.values()) > 300


@pytest.mark.parametrize("context", list(PacketContext))
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_packet_is_judged_as_tcpdump_does(context, expression, tmp_path):
    code = compile_filter(expression, LinkType.ETHERNET)
    sent = packets.frames()
    instructions = prologue(CompiledFilter(expression, LinkType.ETHERNET, code), context, PASSES[context])
    verdicts = program_verdicts(instructions, context, [frame.data for frame in sent])
    matched = sum(frame.times for frame, message in zip(sent, verdicts, strict=True) if message)
    assert matched == tcpdump(tcpdump_output(tmp_path / "frames.pcap", sent), expression)


def test_frames_of_a_filter_are_those_of_tcpdump(tmp_path):
    file = tcpdump_output(tmp_path / "frames.pcap", packets.frames())
    with packets.namespace():
        packets.veth()
        for expression in ("tcp", "vlan 42 and udp"):
            assert number(count_packets("xdpcount", "vb", "--filter", expression)) == tcpdump(
                file, expression
            )


@pytest.mark.parametrize("name", ["sockcount", "tccount"])
def test_packets_of_a_filter_are_those_of_tcpdump_on_the_interface(name, tmp_path):
    with packets.namespace():
        packets.veth()
        for expression in ("tcp", "vlan 7 or vlan 42"):  # the tags are no part of the packets any more
            file = tmp_path / "captured.pcap"
            capture = subprocess.Popen(
                ["tcpdump", "-Z", "root", "-i", "vb", "-U", "-B", "16384", "-w", str(file), expression],
                stderr=subprocess.PIPE,
                text=True,
            )
            assert capture.stderr is not None
            for line in capture.stderr:
                if "listening on" in line:
                    break
            try:
                rows = count_packets(name, "vb", "--filter", expression)
                assert number(rows) > 0
                # It writes what it was given when it comes to it.
                wait_for(lambda: tcpdump(str(file), "") >= number(rows), "tcpdump saw as many")  # noqa: B023
            finally:
                capture.send_signal(signal.SIGINT)
                capture.communicate()
            assert number(rows) == tcpdump(str(file), "")


@pytest.mark.parametrize("program", ["c", "bytecode"])
def test_a_filter_runs_before_both_programs_and_any_cache(program, tmp_path, monkeypatch):
    tmp_path.chmod(0o700)
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path))
    with packets.namespace():
        packets.veth()
        words = ("vb", "--program", program, "--filter", "arp or icmp6")
        expected = packets.expected(packets.frames(), received=True)
        for _ in ("cold", "warm"):
            rows = count_packets("sockcount", *words)
            assert rows["ICMPv6"][0] == 7 - 2  # two are behind extension headers
            assert {"ARP": rows["ARP"], "ICMPv6": expected["ICMPv6"][0]} == {
                "ARP": expected["ARP"],
                "ICMPv6": 7,
            }
            assert set(rows) == {"ARP", "ICMPv6"}


def test_on_all_interfaces_a_filter_begins_at_the_network_header():
    with packets.namespace():
        packets.veth()
        udp = count_packets("sockcount", "any", "--filter", "ip proto 17")
        refused = run("sockcount", "any", "--filter", "greater 100", "-d", 1)
    expected = packets.expected([f for f in packets.frames() if f.protocol == "UDP"], received=True)
    assert 0 < number(udp) < expected["UDP"][0]  # not those of IPv6
    assert (refused.status, refused.err.count("\n")) == (2, 2)
    assert "from the network header on" in refused.err


def test_tags_are_filtered_on_an_interface_that_is_down():
    with packets.namespace():
        packets.veth()
        up = compile_for("vlan 42", {socket.if_nametoindex("vb"): "vb"}, frames=False)
        packets.ip("link", "set", "vb", "down")
        assert compile_for("vlan 42", {socket.if_nametoindex("vb"): "vb"}, frames=False) == up
        assert up.code != compile_filter("vlan 42", LinkType.ETHERNET)
        packets.ip("link", "set", "lo", "down")
        result = run("sockcount", "vb", "--filter", "vlan 42")
        assert (result.status, result.err.count("\n")) == (2, 2)
        assert "while an interface is up" in result.err


def test_a_filter_that_does_not_parse_is_one_line():
    with packets.namespace():
        for name in ("sockcount", "tccount", "xdpcount"):
            result = run(name, "lo", "--filter", "tcp prt")
            assert result.status == 2
            assert result.err.splitlines() == [
                "pytracer: error: --filter 'tcp prt': can't parse filter expression: syntax error",
                "hint: man pcap-filter describes the language",
            ]
