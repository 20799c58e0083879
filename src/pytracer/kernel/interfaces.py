"""Network interfaces of this network namespace: names, indexes and kinds, as rtnetlink gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytracer.errors import UnknownNameError, UsageError
from pytracer.kernel import rtnetlink
from pytracer.record import record

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
_SKIP_STATISTICS = 8  # RTEXT_FILTER_SKIP_STATS


@record
class Interface:
    """One interface. ``type`` is its ARPHRD_* number; ``alternatives`` are further names of it."""

    name: str
    index: int
    type: int
    alternatives: tuple[str, ...] = ()


def list_interfaces() -> dict[int, Interface]:
    """Return all interfaces by index. Raises OSError."""
    candidates = map(_make_interface, read_links())
    return {interface.index: interface for interface in candidates}


def read_links() -> list[Any]:
    """Return the kernel's messages about all interfaces, decoded. Raises OSError."""

    def fill(message: Any) -> None:
        message["attrs"] = [("IFLA_EXT_MASK", _SKIP_STATISTICS)]

    answers = rtnetlink.dump("ifinfmsg", _RTM_GETLINK, fill)
    return [message for message in answers if message["header"]["type"] == _RTM_NEWLINK]


def resolve(names: Iterable[str], *, allow_any: bool = True) -> dict[int, str]:
    """Map interface indexes to the given names, in that order, each once. Index 0 is ``any``, and stands
    alone.

    Alternative names count. Raises UnknownNameError, whose hint lists the interfaces, and UsageError for
    ``any`` unless ``allow_any`` allows it.
    """
    interfaces_by_index = list_interfaces()
    by_name = {name: i.index for i in interfaces_by_index.values() for name in (*i.alternatives, i.name)}
    resolved = dict[int, str]()
    for name in names:
        if name in by_name:
            resolved.setdefault(by_name[name], name)
        elif name == ANY and allow_any:
            resolved[0] = ANY
        else:
            choices = _list_names(interfaces_by_index.values(), allow_any=allow_any)
            if name == ANY:
                raise UsageError("the interfaces have to be named: 'any' will not do", hint=choices)
            raise UnknownNameError("network interface", name, by_name, hint=choices)
    # Whatever else was named is among all of them, and would be seen twice.
    return {0: ANY} if 0 in resolved else resolved


def link_header_length(arphrd_type: int) -> int:
    """Return the length in bytes of the link header that a raw packet socket sees on such an interface."""
    return _HEADERS.get(arphrd_type, 0)


def _list_names(candidates: Iterable[Interface], *, allow_any: bool) -> str:
    names = [interface.name for interface in sorted(candidates, key=lambda interface: interface.index)]
    shown_names = [*names[:HINT_MAX], *([ANY] if allow_any else [])]
    rest_text = f", and {len(names) - HINT_MAX} more" if len(names) > HINT_MAX else ""
    return f"there is {', '.join(shown_names)}{rest_text}"


def _make_interface(link: Any) -> Interface:
    properties = link.get_attr("IFLA_PROP_LIST")
    alternatives = properties.get_attrs("IFLA_ALT_IFNAME") if properties is not None else ()
    return Interface(link.get_attr("IFLA_IFNAME"), link["index"], link["ifi_type"], tuple(alternatives))
