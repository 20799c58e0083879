"""Network interfaces of this network namespace: names, indexes and kinds, as rtnetlink gives them.

The messages are written and read by pyroute2. Of it, only the codec of interface messages is imported: all
of pyroute2 takes 115 ms (and asyncio, and multiprocessing), this part 25 ms.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.util
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pytracer.errors import UnknownNameError

ANY = "any"
"""All interfaces there are, and will be; its index is 0."""

HINT_MAX = 40  # a host of containers has thousands

# include/uapi/linux/if_arp.h: how long the header is that a raw packet socket shows before the network's.
# Devices that are not here (tun, IP tunnels, PPP, CAN, ...) show none.
ETHERNET_HEADER = 14
_HEADERS = {
    1: ETHERNET_HEADER,  # ARPHRD_ETHER
    24: 10,  # ARPHRD_IEEE1394: to whom (8 bytes), EtherType
    32: 24,  # ARPHRD_INFINIBAND: a pseudo-header of 20 bytes, EtherType, 2 unused
    772: ETHERNET_HEADER,  # ARPHRD_LOOPBACK
}

_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DUMP_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
_SKIP_STATISTICS = 8  # RTEXT_FILTER_SKIP_STATS
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port


@dataclass(frozen=True)
class Interface:
    """One interface. ``type`` is its ARPHRD_* number; ``alternatives`` are further names of it."""

    name: str
    index: int
    type: int
    alternatives: tuple[str, ...] = ()


def interfaces() -> dict[int, Interface]:
    """All interfaces by index. Raises OSError."""
    codec = _codec()
    request = codec()
    request["header"]["type"] = _RTM_GETLINK
    request["header"]["flags"] = _REQUEST_DUMP
    request["attrs"] = [("IFLA_EXT_MASK", _SKIP_STATISTICS)]
    request.encode()
    while True:
        found = {}
        whole = True
        for kind, flags, message in _ask(bytes(request.data)):
            whole = whole and not flags & _DUMP_INTERRUPTED
            if kind == _RTM_NEWLINK:
                interface = _interface(codec, message)
                found[interface.index] = interface
        if whole:  # else one came or went meanwhile: the kernel says so, and that one may be missing
            return found


def resolve(names: Iterable[str]) -> dict[int, str]:
    """Index -> name as it was given, in that order, each interface once; index 0 is ``any`` and stands alone.

    Alternative names count. Raises UnknownNameError, whose hint lists the interfaces there are.
    """
    known = interfaces()
    by_name = {name: i.index for i in known.values() for name in (*i.alternatives, i.name)}
    chosen = dict[int, str]()
    for name in names:
        if name in by_name:
            chosen.setdefault(by_name[name], name)
        elif name == ANY:
            chosen[0] = ANY
        else:
            raise UnknownNameError("network interface", name, by_name, hint=_there_is(known.values()))
    # Whatever else was named is among all of them, and would be seen twice.
    return {0: ANY} if 0 in chosen else chosen


def link_header_length(arphrd_type: int) -> int:
    """How many bytes a raw packet socket shows before the network header on such an interface."""
    return _HEADERS.get(arphrd_type, 0)


def _there_is(known: Iterable[Interface]) -> str:
    names = [interface.name for interface in sorted(known, key=lambda interface: interface.index)]
    listed = [*names[:HINT_MAX], ANY]
    more = f", and {len(names) - HINT_MAX} more" if len(names) > HINT_MAX else ""
    return f"there is {', '.join(listed)}{more}"


def _ask(request: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Messages of the answer as (type, flags, whole message)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        netlink.send(request)
        while True:
            size = netlink.recv_into(bytearray(1), 1, socket.MSG_PEEK | socket.MSG_TRUNC)
            data = netlink.recv(size)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, flags, _, _ = _HEADER.unpack_from(data, at)
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    (error,) = struct.unpack_from("=i", data, at + _HEADER.size)
                    raise OSError(-error, os.strerror(-error))
                yield kind, flags, data[at : at + length]
                at += max((length + 3) & ~3, _HEADER.size)


def _interface(codec: Any, message: bytes) -> Interface:
    link = codec(message)
    link.decode()
    properties = link.get_attr("IFLA_PROP_LIST")
    alternatives = properties.get_attrs("IFLA_ALT_IFNAME") if properties is not None else ()
    return Interface(link.get_attr("IFLA_IFNAME"), link["index"], link["ifi_type"], tuple(alternatives))


@functools.cache
def _codec() -> Any:
    """pyroute2's class for interface messages.

    Importing a part of a package runs the package's own ``__init__`` first, and that one imports everything.
    A bare package of the same name and place stands in for it meanwhile, and goes again with all that came.
    """
    spec = None if "pyroute2" in sys.modules else importlib.util.find_spec("pyroute2")
    if spec is None:
        return _import_codec()
    bare = importlib.util.module_from_spec(importlib.machinery.ModuleSpec("pyroute2", None, is_package=True))
    bare.__path__ = list(spec.submodule_search_locations or ())
    sys.modules["pyroute2"] = bare
    try:
        return _import_codec()
    except ImportError:
        _forget()  # laid out in another way than any release so far: import it in full
        return _import_codec()
    finally:
        if sys.modules.get("pyroute2") is bare:
            _forget()


def _import_codec() -> Any:
    module: ModuleType = importlib.import_module("pyroute2.netlink.rtnl.ifinfmsg")
    return module.ifinfmsg


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyroute2"]:
        del sys.modules[name]
