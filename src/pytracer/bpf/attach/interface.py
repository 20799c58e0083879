"""Programs on network interfaces: notice when they are detached, and name the programs of others."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

from pytracer.bpf.attach.link import Link
from pytracer.bpf.sys import object_info, program_by_id, program_info
from pytracer.kernel import interfaces

NEEDED = ("CAP_NET_ADMIN", "CAP_BPF")
_XDP_IDS = ("IFLA_XDP_PROG_ID", "IFLA_XDP_DRV_PROG_ID", "IFLA_XDP_SKB_PROG_ID", "IFLA_XDP_HW_PROG_ID")


class InterfaceLink(Link):
    """A program on an interface. The interface may be removed, or the program detached by another process."""

    def __init__(self, fd: int, index: int, name: str, *, description: str, note: str = "") -> None:
        """Own ``fd``, a BPF link (-1 if there is none)."""
        super().__init__(fd, note, name)
        self.index = index
        self.description = description
        self._over = False

    @property
    def poll_detached(self) -> str:
        """See :class:`Link`."""
        if self._over:
            return ""
        with contextlib.suppress(OSError):  # an interface that is gone has no programs
            if self.is_attached():
                return ""
        self._over = True
        try:  # checked last: the kernel unregisters the name before it detaches the program
            socket.if_indextoname(self.index)
        except OSError:
            return "it is gone"
        return "somebody took the program off"

    @property
    def is_over(self) -> bool:
        """See :class:`Link`."""
        return self._over

    def is_attached(self) -> bool:
        """Return whether the program is still on the interface. For a BPF link the kernel knows."""
        info = bytearray(24)  # struct bpf_link_info: type, id, prog_id, 4 unused, ifindex (0: none any more)
        object_info(self.fd, info)
        return any(info[16:20])


def list_xdp_programs() -> dict[int, tuple[int, ...]]:
    """Return the ids of the XDP programs on each interface, by its index. Raises OSError."""
    programs = {}
    for message in interfaces.read_links():
        xdp: Any = message.get_attr("IFLA_XDP")
        ids = [xdp.get_attr(name) for name in _XDP_IDS] if xdp is not None else []
        if numbers := tuple(dict.fromkeys(number for number in ids if number)):
            programs[message["index"]] = numbers
    return programs


def describe_program(number: int) -> str:
    """Describe a program for people: its name, and the processes that hold it."""
    name = ""
    with contextlib.suppress(OSError):
        program = program_by_id(number)
        try:
            name = program_info(program)[1]
        finally:
            os.close(program)
    label = f"{name!r} (id {number})" if name else f"id {number}"
    holders = _describe_holders(number)
    return f"{label}, held by {', '.join(holders)}" if holders else f"{label}, which no process holds"


def _describe_holders(number: int) -> list[str]:
    from pytracer.bpf.holders import find_holders  # imported late: only conflicts need it

    return sorted(
        f"{holder.comm} (process {holder.pid})" for holder in find_holders().programs.get(number, ())
    )
