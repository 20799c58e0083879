"""XDP by rtnetlink, for kernels without XDP links.

Such an attachment outlives the process that made it. So the program's name identifies its owner (owner.py):
programs that killed processes left on any interface are detached before the next one is attached.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from pytracer.bpf.attach import xdp
from pytracer.bpf.attach.interface import NEEDED, InterfaceLink, list_xdp_programs
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link, attach_each
from pytracer.bpf.attach.owner import encode_short_name, is_dead_short, name_owner
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import FeatureProber
from pytracer.bpf.sys import ProgType, program_by_id, program_info
from pytracer.kernel import rtnetlink
from pytracer.kernel.facts import Support
from pytracer.spec import XdpNetlink

_RTM_SETLINK = 19
_IF_NONE_THERE = 1 << 0  # XDP_FLAGS_UPDATE_IF_NOEXIST
_OFF = -1


class NetlinkXdp(InterfaceLink):
    """The program of id ``number`` on an interface, until it is detached."""

    def __init__(self, index: int, name: str, mode: int, number: int, note: str) -> None:
        """Own the attachment."""
        super().__init__(
            -1, index, name, description=f"{'native' if mode == xdp.NATIVE else 'generic'} XDP", note=note
        )
        self._mode, self._number, self._is_on = mode, number, True

    def is_attached(self) -> bool:
        """See :class:`InterfaceLink`."""
        return self._number in list_xdp_programs().get(self.index, ())

    def detach(self) -> None:
        """See :class:`Link`. A program that others attached in the meantime remains."""
        if self._is_on:
            self._is_on = False
            try:
                if self.is_attached():
                    _set_program(self.index, _OFF, self._mode)
            except OSError as error:
                raise make_attach_error(
                    error, f"{self.place}, to take XDP off", capabilities=NEEDED
                ) from error


def check_support(_: XdpNetlink, prober: FeatureProber) -> Support:
    """Test whether the kernel has XDP."""
    return xdp.can_load(prober)


def load_attributes(_: XdpNetlink) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.XDP, result=xdp.PASS, label=encode_short_name(name_owner(os.getpid())))


def attach(_: XdpNetlink, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: one for each interface."""
    number, _name = program_info(program)

    def attach(index: int, name: str) -> Iterator[Link]:
        def attach_by_netlink(mode: int) -> int:
            _set_program(index, program, mode | _IF_NONE_THERE)
            return 0

        _, mode, note = xdp.try_mode(target.choice, index, name, attach_by_netlink)
        yield NetlinkXdp(index, name, mode, number, note)

    sweep()
    return attach_each(target.interfaces, attach)


def sweep() -> None:
    """Detach the programs that ended processes left. Raises OSError."""
    for index, numbers in list_xdp_programs().items():
        for number in numbers:
            with contextlib.suppress(OSError):  # somebody else was quicker
                program = program_by_id(number)
                try:
                    if is_dead_short(program_info(program)[1]):
                        _set_program(index, _OFF, 0)
                finally:
                    os.close(program)


def _set_program(index: int, program: int, flags: int) -> None:
    def fill(message: Any) -> None:
        message["index"] = index
        xdp_attributes = [("IFLA_XDP_FD", program), ("IFLA_XDP_FLAGS", flags)]
        message["attrs"] = [("IFLA_XDP", {"attrs": xdp_attributes})]

    rtnetlink.send_request("ifinfmsg", _RTM_SETLINK, 0, fill)
