"""Whether programs can be put on network interfaces and cgroups: tried on such that only this process has.

As :mod:`pytracer.features.hook_probes`, for the kinds that are put on those.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import tempfile

from pytracer.bpf.attach import attacher_of
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.bpf.trial import in_a_thread, load, returning
from pytracer.features.hook_probes import LOADS
from pytracer.kernel import interface_state
from pytracer.kernel.filter_values import cgroup2_roots
from pytracer.spec import (
    CgroupSkb,
    CgroupSock,
    CgroupSockAddr,
    Clsact,
    OnCgroup,
    PacketFanout,
    Probe,
    Tcx,
    Xdp,
    XdpNetlink,
)

_CLONE_NEWNET = 0x40000000
_LO = {1: "lo"}  # which every network has, under this number


def xdp() -> str:
    """Frames as they come in, behind the driver; attached by rtnetlink."""
    return _on_lo(XdpNetlink(""), "generic")


def xdp_link() -> str:
    """The same by a link."""
    return _on_lo(Xdp(""), "generic")


def tc() -> str:
    """Traffic control, by a filter of a clsact qdisc."""
    return _on_lo(Clsact(""), "both")


def tcx() -> str:
    """Traffic control by links."""
    return _on_lo(Tcx(""), "both")


def packet_fanout() -> str:
    """A choice among packet sockets that share an interface."""
    return _on_lo(PacketFanout(""), "", members=2)


def cgroup_link() -> str:
    """Packets of a cgroup's sockets, by a link."""
    return _on_cgroup(CgroupSkb("", point="ingress"))


def cgroup_skb() -> str:
    """Packets of a cgroup's sockets."""
    return _on_cgroup(CgroupSkb("", point="egress", link=False))


def cgroup_sock() -> str:
    """Sockets that are made in a cgroup."""
    return _on_cgroup(CgroupSock("", point="create", link=False))


def cgroup_sock_addr() -> str:
    """Addresses that programs of a cgroup give."""
    return _on_cgroup(CgroupSockAddr("", point="sendmsg6", link=False))


def _on_cgroup(probe: OnCgroup) -> str:
    """Attach to a cgroup without processes, made for it where that is allowed."""
    kind = attacher_of(probe)
    how = kind.load_attributes(probe)
    program = load(how.type, returning(how.result), attach_type=how.attach_type)
    try:
        with contextlib.ExitStack() as held:
            try:
                folder = tempfile.mkdtemp(prefix="pytracer-", dir=cgroup2_roots()[0])
            except (IndexError, OSError):
                return LOADS
            held.callback(os.rmdir, folder)
            for link in kind.attach(probe, AttachTarget("", cgroups=(folder,)), program):
                link.close()
    finally:
        os.close(program)
    return ""


def _on_lo(probe: Probe, choice: str, members: int = 0) -> str:
    """Attach to the loopback interface of a network of a thread's own, which ends with the thread."""
    kind = attacher_of(probe)
    how = kind.load_attributes(probe)
    program = load(how.type, returning(how.result))

    def attach() -> str:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNET) != 0:
            if ctypes.get_errno() in (errno.EPERM, errno.EINVAL):
                return LOADS
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            interface_state.set_up(_LO[1])  # a new network's is down, and kernels make no fanout group there
        except OSError as error:
            if error.errno == errno.EPERM:
                return LOADS
            raise
        for link in kind.attach(probe, AttachTarget("", _LO, choice, members=members), program):
            link.close()
        return ""

    try:
        return in_a_thread(attach)
    finally:
        os.close(program)
