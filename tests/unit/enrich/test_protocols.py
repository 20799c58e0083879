"""Test names of protocols, and that C, lesson and decoder use the same codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytracer.bpf.asm.lessons import sockcount as lesson
from pytracer.bpf.compile.source import read_source
from pytracer.enrich.protocols import ETHERTYPES, direction, packet_protocol
from pytracer.spec.packets import ROWS


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1, "ICMP"),
        (6, "TCP"),
        (17, "UDP"),
        (58, "ICMPv6"),
        (0x100, "other"),
        (0x101, "malformed"),
        (0x102, "LLC"),
        (0x10806, "ARP"),
        (0x18035, "RARP"),
        (0x188CC, "LLDP"),
        (0x1888E, "EAPOL"),
        (0x18847, "MPLS"),
        (0x18864, "PPPoE"),
        (0x188F7, "PTP"),
        (0x1000C, "CAN"),
        (0x188B5, "ethertype_0x88b5"),
        (0x10600, "ethertype_0x0600"),
        (0x10000, "ethertype_0x0000"),
        (2, "protocol_0x2"),
        (0, "protocol_0x0"),
        (0x20000, "protocol_0x20000"),
        (0xFFFFFFFF, "protocol_0xffffffff"),
    ],
)
def test_names(code, name):
    assert packet_protocol(code) == name


LINUX = {  # what its header calls them, where that is not as here in capitals
    "802.3": "802_3", "AX.25": "AX25", "802.2": "802_2", "CAN-FD": "CANFD", "CAN-XL": "CANXL", "X.25": "X25",
    "802.15.4": "IEEE802154", "IPv4": "IP", "ERSPAN-III": "ERSPAN2", "batman-adv": "BATMAN",
    "PPPoE": "PPP_SES", "DEC-MOP": "DNA_RC", "DECnet": "DNA_RT", "AppleTalk": "ATALK", "VLAN": "8021Q",
    "MPLS": "MPLS_UC", "MAC-control": "PAUSE", "MPLS-multicast": "MPLS_MC", "MPOA": "ATMMPOA",
    "PPPoE-discovery": "PPP_DISC", "HPNA": "LINK_CTL", "EAPOL": "PAE",
    "QinQ": "8021AD", "RSN-preauth": "PREAUTH", "PBB": "8021AH",
    "PTP": "1588", "NC-SI": "NCSI", "RoCE": "IBOE", "MIH": "80221", "loopback-test": "LOOPBACK",
    "QinQ-0x9100": "QINQ1", "DSA-8021Q": "DSA_8021Q", "IUCV": "AF_IUCV",
}  # fmt: skip
IEEE = {
    "WoL": 0x0842, "SRP": 0x22EA, "TRILL": 0x22F3, "HomePlug": 0x887B, "GOOSE": 0x88B8, "HomePlug-AV": 0x88E1,
    "MMRP": 0x88F6,
}  # fmt: skip


def test_ethertypes_are_those_of_linux_and_some_of_ieee():
    header = Path("/usr/include/linux/if_ether.h").read_text()
    linux = dict(re.findall(r"#define ETH_P_(\w+)\s+(0x[0-9A-Fa-f]+)", header))
    newer = {"CANXL"}  # than some distributions' headers
    numbers = {name: number for number, name in ETHERTYPES.items()}
    assert {name: numbers.pop(name) for name in IEEE} == IEEE
    macros = {LINUX.get(name, name.upper()): number for name, number in numbers.items()}
    ethertypes = {macro: int(linux[macro], 16) for macro in macros if macro in linux or macro not in newer}
    assert {macro: number for macro, number in macros.items() if macro in ethertypes} == ethertypes


def test_every_code_has_a_name_of_its_own():
    names = [packet_protocol(code) for code in range(0x20000)]
    assert len(set(names)) == len(names)
    assert set(ETHERTYPES.values()) <= set(names)
    assert all(re.fullmatch(r"[\w.-]+", name) for name in ETHERTYPES.values())


def enumerators(text: str, name: str) -> dict[str, int]:
    """Return the values of an enum in C."""
    body = re.search(rf"enum {name} {{(.*?)}};", text, re.S)
    assert body is not None
    values: dict[str, int] = {}
    following = 0
    for part in re.sub(r"//.*", "", body[1]).split(","):
        word, _, value = (piece.strip() for piece in part.partition("="))
        if word:
            values[word] = int(value, 0) if value else following
            following = values[word] + 1
    return values


def test_the_c_and_the_lesson_use_the_same_codes():
    text = read_source("sockcount.c")
    codes = enumerators(text, "protocol")
    assert codes == {name: getattr(lesson, name) for name in codes}
    assert packet_protocol(codes["FRAME"] | 0x0806) == "ARP"
    names = {name: packet_protocol(code) for name, code in codes.items() if name != "FRAME"}
    assert {name: text.lower() for name, text in names.items()} == {name: name.lower() for name in names}
    types = enumerators(text, "ethertype")
    assert types == {
        "TYPE_MIN": lesson.TYPE_MIN,
        "TYPE_IPV4": lesson.IPV4,
        "TYPE_VLAN": lesson.VLAN,
        "TYPE_IPV6": lesson.IPV6,
        "TYPE_QINQ": lesson.QINQ,
    }
    extensions = enumerators(text, "extension") | enumerators(text, "later_extension")
    assert sorted(extensions.values()) == sorted(lesson.EXTENSIONS)
    assert enumerators(text, "direction") == {"IN": lesson.IN, "OUT": lesson.OUT, "BOTH": lesson.BOTH}


def test_the_c_and_python_have_one_order_of_dense_protocols():
    text = read_source("sockcount.c")
    codes = enumerators(text, "protocol")
    codes["ARP"] = codes["FRAME"] | 0x0806
    cases = re.findall(r"case (\w+):\s+return (\d+);", text[text.index("pt_dense_protocol") :])
    assert [int(index) for _, index in cases] == list(range(len(ROWS.dense_codes)))
    assert tuple(codes[name] for name, _ in cases) == ROWS.dense_codes


def test_directions():
    assert [direction(code) for code in (0, 1, 7)] == ["in", "out", "direction_7"]
