"""Attach to calls of a cgroup's processes that pass a socket address: bind, connect, sendmsg."""

from __future__ import annotations

from pytracer.bpf.attach import cgroup
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.prober import FeatureProber
from pytracer.bpf.sys import ProgType
from pytracer.kernel.facts import Support
from pytracer.spec import CgroupSockAddr

POINTS = {  # enum bpf_attach_type
    "bind4": 8,
    "bind6": 9,
    "connect4": 10,
    "connect6": 11,
    "sendmsg4": 14,
    "sendmsg6": 15,
}


def check_support(probe: CgroupSockAddr, prober: FeatureProber) -> Support:
    """See :func:`pytracer.bpf.attach.cgroup.check_support`."""
    return cgroup.check_support(probe, prober, load_attributes(probe))


def load_attributes(probe: CgroupSockAddr) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return cgroup.load_attributes(probe, ProgType.CGROUP_SOCK_ADDR, POINTS[probe.point])


def attach(probe: CgroupSockAddr, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: one for each cgroup."""
    return cgroup.attach(probe, target, program, POINTS[probe.point])
