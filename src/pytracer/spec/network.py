"""Probes on network interfaces."""

from __future__ import annotations

from dataclasses import dataclass

from pytracer.spec.hooks import Probe


@dataclass(frozen=True)
class OnInterface(Probe):
    """A program on each network interface that the command line names."""

    @property
    def needs(self) -> tuple[str, ...]:
        """See :class:`Probe`."""
        return ("CAP_NET_ADMIN", "CAP_BPF")


@dataclass(frozen=True)
class Xdp(OnInterface):
    """Frames as they come in, before the kernel makes packets of them; by a link (Linux 5.9).

    ``mode`` names the Choice that says where: ``native``, in the driver, ``generic``, behind it, or ``best``.
    """

    mode: str = "mode"

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "xdp"

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return "XDP"

    @property
    def choice(self) -> str:
        """See :class:`Probe`."""
        return self.mode


@dataclass(frozen=True)
class XdpNetlink(Xdp):
    """The same by rtnetlink (Linux 4.8): what that puts on an interface outlives the process."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "xdp_netlink"


@dataclass(frozen=True)
class Tcx(OnInterface):
    """Packets in traffic control, by a link (Linux 6.6).

    ``direction`` names the Choice that says which: ``in``, ``out`` or ``both``.
    """

    direction: str = "direction"

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "tcx"

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return "traffic control"

    @property
    def choice(self) -> str:
        """See :class:`Probe`."""
        return self.direction


@dataclass(frozen=True)
class Clsact(Tcx):
    """The same by a filter of a clsact qdisc (Linux 4.5), which outlives the process."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "clsact"
