"""Attach to the creation and the binding of sockets of a cgroup."""

from __future__ import annotations

from pytracer.bpf.attach import cgroup
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.prober import FeatureProber
from pytracer.bpf.sys import ProgType
from pytracer.kernel.facts import Support
from pytracer.spec import CgroupSock

POINTS = {"create": 2, "bound4": 12, "bound6": 13}  # enum bpf_attach_type


def check_support(probe: CgroupSock, prober: FeatureProber) -> Support:
    """See :func:`pytracer.bpf.attach.cgroup.check_support`."""
    return cgroup.check_support(probe, prober, load_attributes(probe))


def load_attributes(probe: CgroupSock) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return cgroup.load_attributes(probe, ProgType.CGROUP_SOCK, POINTS[probe.point])


def attach(probe: CgroupSock, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: one for each cgroup."""
    return cgroup.attach(probe, target, program, POINTS[probe.point])
