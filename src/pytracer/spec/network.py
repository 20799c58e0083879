"""Probes on packets: of network interfaces, and of the sockets of cgroups."""

from __future__ import annotations

from pytracer.record import record
from pytracer.spec.hooks import Probe


@record
class SocketFilter(Probe):
    """A filter on a raw packet socket, one for each interface that the command line names."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "socket_filter"

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return "packet socket"

    @property
    def needs(self) -> tuple[str, ...]:
        """See :class:`Probe`."""
        return ("CAP_NET_RAW", "CAP_BPF")


@record
class PacketFanout(SocketFilter):
    """Chooses among packet sockets that share an interface's packets: the program returns the
    socket's number, modulo their count.

    ``members`` names the :class:`~pytracer.spec.Number` that gives the count.
    """

    members: str = "workers"

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "packet_fanout"

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return "packet sockets"


@record
class OnInterface(Probe):
    """A program on each network interface that the command line names."""

    @property
    def needs(self) -> tuple[str, ...]:
        """See :class:`Probe`."""
        return ("CAP_NET_ADMIN", "CAP_BPF")


@record
class Xdp(OnInterface):
    """Frames as they come in, before the kernel makes packets of them; by a link.

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


@record
class XdpNetlink(Xdp):
    """XDP by rtnetlink: the attachment outlives the process."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "xdp_netlink"


@record
class Tcx(OnInterface):
    """Packets in traffic control, by a link.

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


@record
class Clsact(Tcx):
    """The same by a filter of a clsact qdisc, which outlives the process."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "clsact"


@record
class OnCgroup(Probe):
    """A program on each cgroup that ``--cgroup`` names, or on the root cgroup: it runs for the sockets of
     all processes in and below it.

     ``point`` is the attach point, as the kind's file names it. With ``link`` it is attached by a link,
    else without one: then the attachment outlives the process.
    """

    point: str = ""
    link: bool = True

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return self.point

    @property
    def needs(self) -> tuple[str, ...]:
        """See :class:`Probe`."""
        return ("CAP_NET_ADMIN", "CAP_BPF")

    def called(self, kind: str) -> str:
        """Return the name of the kind."""
        return kind if self.link else f"{kind}_attach"


@record
class CgroupSkb(OnCgroup):
    """Packets that reach a socket (``ingress``) or leave it (``egress``)."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return self.called("cgroup_skb")


@record
class CgroupSock(OnCgroup):
    """The creation of sockets (``create``) and their binding (``bound4``, ``bound6``)."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return self.called("cgroup_sock")


@record
class CgroupSockAddr(OnCgroup):
    """Addresses that programs pass to ``bind``, ``connect`` and ``sendmsg``, each with ``4`` or ``6``."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return self.called("cgroup_sock_addr")
