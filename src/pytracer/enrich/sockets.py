"""Decode socket types, by the numbers that socket(2) takes, and calls, by the codes of socksnoop."""

from __future__ import annotations

_CALLS = ("socket", "bind", "bound", "connect", "send")  # enum call in probes_c/socksnoop.c
_FAMILIES = {
    1: "unix",
    2: "IPv4",
    10: "IPv6",
    16: "netlink",
    17: "packet",
    29: "CAN",
    30: "TIPC",
    31: "bluetooth",
    38: "alg",
    40: "vsock",
    43: "SMC",
    44: "XDP",
}
_TYPES = {1: "stream", 2: "dgram", 3: "raw", 4: "rdm", 5: "seqpacket", 6: "DCCP"}
_PROTOCOLS = {  # include/uapi/linux/in.h
    0: "IP",
    1: "ICMP",
    2: "IGMP",
    4: "IPIP",
    6: "TCP",
    17: "UDP",
    33: "DCCP",
    41: "IPv6",
    47: "GRE",
    50: "ESP",
    51: "AH",
    58: "ICMPv6",
    89: "OSPF",
    103: "PIM",
    112: "VRRP",
    115: "L2TP",
    132: "SCTP",
    136: "UDPLite",
    255: "raw",
    256: "SMC",
    262: "MPTCP",
}
_NETLINK = {  # include/uapi/linux/netlink.h
    0: "route",
    2: "usersock",
    4: "sock_diag",
    5: "nflog",
    6: "xfrm",
    7: "selinux",
    8: "iscsi",
    9: "audit",
    10: "fib_lookup",
    11: "connector",
    12: "netfilter",
    15: "kobject_uevent",
    16: "generic",
    18: "scsitransport",
    19: "ecryptfs",
    20: "rdma",
    21: "crypto",
    22: "smc",
}


def socket_call(code: int) -> str:
    """Decode a call on a socket: ``0`` -> ``socket``; ``call_N`` if it has no name."""
    return _CALLS[code] if code < len(_CALLS) else f"call_{code}"


def socket_family(number: int) -> str:
    """Decode a socket family: ``2`` -> ``IPv4``."""
    return _FAMILIES.get(number) or f"family_{number}"


def socket_type(number: int) -> str:
    """Decode a socket type: ``1`` -> ``stream``."""
    return _TYPES.get(number) or f"type_{number}"


def ip_protocol(number: int) -> str:
    """Decode an IP protocol: ``6`` -> ``TCP``."""
    return _PROTOCOLS.get(number) or f"protocol_{number}"


def socket_protocol(code: int) -> str:
    """Decode a protocol with its family in the upper 16 bits: ``0x20006`` -> ``TCP``, ``0x100000`` ->
    ``route``; nothing where the family has no protocols."""
    family, number = code >> 16, code & 0xFFFF
    if family in (2, 10):
        return ip_protocol(number)
    return (_NETLINK.get(number) or f"protocol_{number}") if family == 16 else ""
