"""Attach to packets that the sockets of a cgroup receive and send."""

from __future__ import annotations

from pytracer.bpf.attach import cgroup
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.prober import FeatureProber
from pytracer.bpf.sys import ProgType
from pytracer.kernel.facts import Support
from pytracer.spec import CgroupSkb

POINTS = {"ingress": 0, "egress": 1}  # enum bpf_attach_type


def check_support(probe: CgroupSkb, prober: FeatureProber) -> Support:
    """See :func:`pytracer.bpf.attach.cgroup.check_support`."""
    return cgroup.check_support(probe, prober, load_attributes(probe))


def load_attributes(probe: CgroupSkb) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return cgroup.load_attributes(probe, ProgType.CGROUP_SKB, POINTS[probe.point])


def attach(probe: CgroupSkb, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: one for each cgroup."""
    return cgroup.attach(probe, target, program, POINTS[probe.point])
