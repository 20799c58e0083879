"""Feature probes of hooks on network interfaces and cgroups, on ones that only this process uses.

As :mod:`pytracer.features.hook_probes`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import tempfile

from pytracer.bpf.attach import attacher_of
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.bpf.trial import load, return_code, run_in_thread
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
    """Attach XDP behind the driver (generic), by rtnetlink."""
    return _attach_to_loopback(XdpNetlink(""), "generic")


def xdp_link() -> str:
    """Attach XDP behind the driver (generic), by a link."""
    return _attach_to_loopback(Xdp(""), "generic")


def clsact() -> str:
    """Attach to traffic control by a filter of a clsact qdisc."""
    return _attach_to_loopback(Clsact(""), "both")


def tcx() -> str:
    """Attach to traffic control by links."""
    return _attach_to_loopback(Tcx(""), "both")


def packet_fanout() -> str:
    """Attach to a group of packet sockets that share an interface."""
    return _attach_to_loopback(PacketFanout(""), "", members=2)


def cgroup_link() -> str:
    """Attach to packets of a cgroup's sockets, by a link."""
    return _attach_to_cgroup(CgroupSkb("", point="ingress"))


def cgroup_skb() -> str:
    """Attach to packets of a cgroup's sockets, without a link."""
    return _attach_to_cgroup(CgroupSkb("", point="egress", link=False))


def cgroup_sock() -> str:
    """Attach to the creation of sockets in a cgroup."""
    return _attach_to_cgroup(CgroupSock("", point="create", link=False))


def cgroup_sock_addr() -> str:
    """Attach to the addresses that programs of a cgroup pass to system calls."""
    return _attach_to_cgroup(CgroupSockAddr("", point="sendmsg6", link=False))


def _attach_to_cgroup(probe: OnCgroup) -> str:
    """Attach to a cgroup without processes; if none can be made, only load."""
    kind = attacher_of(probe)
    attributes = kind.load_attributes(probe)
    program = load(attributes.type, return_code(attributes.result), attach_type=attributes.attach_type)
    try:
        with contextlib.ExitStack() as resources:
            try:
                folder = tempfile.mkdtemp(prefix="pytracer-", dir=cgroup2_roots()[0])
            except (IndexError, OSError):
                return LOADS
            resources.callback(os.rmdir, folder)
            for link in kind.attach(probe, AttachTarget("", cgroups=(folder,)), program):
                link.close()
    finally:
        os.close(program)
    return ""


def _attach_to_loopback(probe: Probe, choice: str, members: int = 0) -> str:
    """Attach to the loopback interface of a thread's own network namespace, which ends with the thread."""
    kind = attacher_of(probe)
    load_attributes = kind.load_attributes(probe)
    program = load(load_attributes.type, return_code(load_attributes.result))

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
        return run_in_thread(attach)
    finally:
        os.close(program)
