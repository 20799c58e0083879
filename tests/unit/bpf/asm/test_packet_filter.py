"""Test the translation of classic BPF: both programs have the same result for every packet."""

from __future__ import annotations

import random

import pytest

from pytracer.bpf.asm.packet_filter import PacketContext, prologue
from pytracer.bpf.trial import return_code
from pytracer.errors import BuildError, PytracerError, UsageError
from pytracer.kernel import pcap
from pytracer.kernel.pcap import ClassicInstruction, CompiledFilter, LinkType, compile_filter
from support import packets
from support.packet_filters import MATCH, classic, machine, random_program

CONTEXTS = list(PacketContext)
ACCEPT, REJECT = ClassicInstruction(0x06, 0, 0, 1), ClassicInstruction(0x06, 0, 0, 0)
PASSES = 2


def compiled_filter(*code: ClassicInstruction, link: LinkType = LinkType.ETHERNET) -> CompiledFilter:
    return CompiledFilter("made up", link, code)


def message(code: CompiledFilter, packet: bytes, context: PacketContext) -> bool:
    """Return the verdict of the translation, which must be PASSES or MATCH."""
    verdict = machine(prologue(code, context, PASSES) + return_code(MATCH), packet, context)
    assert verdict in (PASSES, MATCH)
    return verdict == MATCH


@pytest.mark.parametrize("context", CONTEXTS)
def test_translated_random_programs_give_the_same_verdicts(context):
    dice = random.Random(20)
    verdict_counts = {True: 0, False: 0}
    for _ in range(1500):
        code = random_program(dice)
        for _ in range(4):
            packet = dice.randbytes(dice.choice([0, 1, 14, 40, 64, 80]))
            expected = classic(code, packet)
            verdict_counts[expected] += 1
            try:
                assert message(compiled_filter(*code), packet, context) is expected, code
            except UsageError:  # none of its ends says yes
                assert not expected
    assert min(verdict_counts.values()) > 500


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(
    "text",
    ["", "tcp port 443", "ip6 proto 17", "vlan 42 and arp", "ip[2:2] > 60 and not udp", "ether[0] & 1 = 0"],
)
def test_translated_filters_give_the_same_verdicts(text, context):
    code = compile_filter(text, LinkType.ETHERNET)
    for frame in packets.frames():
        assert message(CompiledFilter(text, LinkType.ETHERNET, code), frame.data, context) is classic(
            code, frame.data
        )


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(("offset", "is_present"), [(0, True), (10, True), (11, False), (0xFFFF, False)])
def test_a_load_beyond_the_packet_ends_it(context, offset, is_present):
    for code in (
        [ClassicInstruction(0x20, 0, 0, offset), ACCEPT],
        [ClassicInstruction(0x01, 0, 0, offset), ClassicInstruction(0x40, 0, 0, 0), ACCEPT],
        [ClassicInstruction(0x01, 0, 0, (1 << 32) - 1), ClassicInstruction(0x40, 0, 0, offset + 1), ACCEPT],
    ):
        assert message(compiled_filter(*code), bytes(14), context) is is_present


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_constant_with_the_top_bit_is_not_sign_extended(context):
    code = compiled_filter(
        ClassicInstruction(0x00, 0, 0, 0x80000000), ClassicInstruction(0x15, 0, 1, 0x80000000), ACCEPT, REJECT
    )
    assert message(code, bytes(14), context)


@pytest.mark.parametrize("context", CONTEXTS)
def test_division_by_an_index_of_0_ends_it(context):
    assert not message(compiled_filter(ClassicInstruction(0x3C, 0, 0, 0), ACCEPT), bytes(14), context)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ([ClassicInstruction(0x34, 0, 0, 0), ACCEPT], "divides by 0"),
        ([ClassicInstruction(0x64, 0, 0, 32), ACCEPT], "shifts by 32"),
        ([ClassicInstruction(0x05, 0, 0, 7), ACCEPT], "jumps beyond its end"),
        ([ClassicInstruction(0x02, 0, 0, 16), ACCEPT], r"no M\[16\]"),
        ([ClassicInstruction(0xE0, 0, 0, 0), ACCEPT], "no instruction 0xe0"),
        ([ClassicInstruction(0xA1, 0, 0, 0), ACCEPT][:1], "does not return"),
        ([ClassicInstruction(0xB4, 0, 0, 0), ACCEPT], "no instruction 0xb4"),
        ([ClassicInstruction(0x55, 0, 0, 0), ACCEPT], "no instruction 0x55"),
    ],
)
def test_invalid_classic_bpf_is_refused(code, reason):
    with pytest.raises(BuildError, match=reason):
        prologue(compiled_filter(*code), PacketContext.SKB, 0)


def test_a_filter_that_passes_no_packet_is_refused():
    with pytest.raises(UsageError, match="lets no packet through"):
        prologue(compiled_filter(REJECT), PacketContext.SKB, 0)


@pytest.mark.parametrize(
    ("text", "link", "context", "reason"),
    [
        ("outbound", LinkType.ETHERNET, PacketContext.FRAME, "a frame that has just come in"),
        ("ip6 protochain 6", LinkType.ETHERNET, PacketContext.SKB, "loops"),
        ("greater 100", LinkType.COOKED, PacketContext.SKB, "interfaces of several kinds"),
        ("ether[0] = 1", LinkType.COOKED, PacketContext.SKB, "interfaces of several kinds"),
    ],
)
def test_an_unknown_name_is_a_usage_error(text, link, context, reason):
    with pytest.raises(UsageError, match=reason):
        prologue(CompiledFilter(text, link, compile_filter(text, link)), context, 0)


def test_a_syntax_error_has_libpcaps_message():
    with pytest.raises(UsageError, match="syntax error") as excinfo:
        compile_filter("tcp prt 443", LinkType.ETHERNET)
    assert "'tcp prt 443'" in excinfo.value.message
    assert "\n" not in excinfo.value.message
    with pytest.raises(UsageError, match="VLAN"):
        compile_filter("vlan", LinkType.RAW)
    with pytest.raises(UsageError, match="NUL"):
        compile_filter("tcp\0x", LinkType.ETHERNET)


def test_a_missing_libpcap_names_the_package_to_install(monkeypatch):
    monkeypatch.setattr(pcap, "_NAMES", ("libno-such-thing.so.9",))
    monkeypatch.setattr(pcap, "_load_library", pcap._load_library.__wrapped__)
    with pytest.raises(PytracerError, match="needs libpcap") as excinfo:
        compile_filter("tcp", LinkType.ETHERNET)
    assert "libpcap0.8" in excinfo.value.hint
    assert excinfo.value.exit_code == 1


def test_interfaces_of_several_kinds_begin_at_the_network_header(monkeypatch):
    from pytracer.kernel.interfaces import Interface

    interfaces = {1: Interface("lo", 1, 772), 2: Interface("eth0", 2, 1), 7: Interface("tun0", 7, 65534)}
    monkeypatch.setattr(pcap, "list_interfaces", lambda: interfaces)
    links = [
        pcap.compile_for("tcp", {i: interfaces[i].name for i in indexes}, frames=False).link
        for indexes in ([2], [1, 2], [7], [2, 7])
    ]
    assert links == [LinkType.ETHERNET, LinkType.ETHERNET, LinkType.RAW, LinkType.COOKED]
    assert pcap.compile_for("tcp", {0: "any"}, frames=False).link is LinkType.COOKED
    with pytest.raises(UsageError, match="no filter fits eth0, tun0 alike"):
        pcap.compile_for("tcp", {2: "eth0", 7: "tun0"}, frames=True)
