"""Decode protocols of packets, by the codes of probes_c/include/ip.h, and their direction."""

from __future__ import annotations

# enum protocol in probes_c/include/ip.h: the number of an IP protocol, a code above, or FRAME | EtherType.
_CODES = {
    1: "ICMP",
    6: "TCP",
    17: "UDP",
    58: "ICMPv6",
    0x100: "other",
    0x101: "malformed",
    0x102: "LLC",
}
_FRAME = 0x10000
_DIRECTIONS = ("in", "out")  # enum direction in probes_c

# IEEE 802 numbers, as include/uapi/linux/if_ether.h lists them. Those below 0x600 are Linux's own, for
# interfaces whose frames have no EtherType.
ETHERTYPES = {
    0x0001: "802.3",
    0x0002: "AX.25",
    0x0004: "802.2",
    0x000C: "CAN",
    0x000D: "CAN-FD",
    0x000E: "CAN-XL",
    0x001B: "DSA",
    0x00F5: "Phonet",
    0x00F6: "802.15.4",
    0x00F7: "CAIF",
    0x00F8: "XDSA",
    0x00F9: "MAP",
    0x00FA: "MCTP",
    0x0800: "IPv4",
    0x0805: "X.25",
    0x0806: "ARP",
    0x0842: "WoL",
    0x22EA: "SRP",
    0x22EB: "ERSPAN-III",
    0x22F0: "TSN",
    0x22F3: "TRILL",
    0x4305: "batman-adv",
    0x6002: "DEC-MOP",
    0x6003: "DECnet",
    0x6558: "TEB",
    0x8035: "RARP",
    0x809B: "AppleTalk",
    0x80F3: "AARP",
    0x8100: "VLAN",
    0x8137: "IPX",
    0x86DD: "IPv6",
    0x8808: "MAC-control",
    0x8809: "slow",  # LACP and others of the "slow protocols" of IEEE 802.3
    0x883E: "WCCP",
    0x8847: "MPLS",
    0x8848: "MPLS-multicast",
    0x884C: "MPOA",
    0x8863: "PPPoE-discovery",
    0x8864: "PPPoE",
    0x886C: "HPNA",
    0x887B: "HomePlug",
    0x888E: "EAPOL",
    0x8892: "PROFINET",
    0x88A2: "AoE",
    0x88A4: "EtherCAT",
    0x88A8: "QinQ",
    0x88B8: "GOOSE",
    0x88BE: "ERSPAN",
    0x88C7: "RSN-preauth",
    0x88CA: "TIPC",
    0x88CC: "LLDP",
    0x88E1: "HomePlug-AV",
    0x88E3: "MRP",
    0x88E5: "MACsec",
    0x88E7: "PBB",
    0x88F5: "MVRP",
    0x88F6: "MMRP",
    0x88F7: "PTP",
    0x88F8: "NC-SI",
    0x88FB: "PRP",
    0x8902: "CFM",
    0x8906: "FCoE",
    0x890D: "TDLS",
    0x8914: "FIP",
    0x8915: "RoCE",
    0x8917: "MIH",
    0x892F: "HSR",
    0x894F: "NSH",
    0x9000: "loopback-test",
    0x9100: "QinQ-0x9100",
    0xDADA: "EDSA",
    0xDADB: "DSA-8021Q",
    0xFBFB: "IUCV",
}


def packet_protocol(code: int) -> str:
    """Decode a packet's protocol: ``6`` -> ``TCP``, ``0x10806`` -> ``ARP``, ``0x188b5`` ->
    ``ethertype_0x88b5``."""
    if code & _FRAME and code >> 17 == 0:
        return ETHERTYPES.get(code & 0xFFFF) or f"ethertype_{code & 0xFFFF:#06x}"
    return _CODES.get(code) or f"protocol_{code:#x}"


def direction(code: int) -> str:
    """Decode a direction: ``0`` -> ``in``, ``1`` -> ``out``."""
    return _DIRECTIONS[code] if code < len(_DIRECTIONS) else f"direction_{code}"
