"""Packets that reach and leave the sockets of a cgroup (Linux 4.10, 3007098494be)."""

from __future__ import annotations

from pytracer.bpf.attach import cgroup
from pytracer.bpf.attach.kind import LoadAs, Place
from pytracer.bpf.attach.link import Link
from pytracer.bpf.prober import Asking
from pytracer.bpf.sys import ProgType
from pytracer.kernel.facts import Answer
from pytracer.spec import CgroupSkb

POINTS = {"ingress": 0, "egress": 1}  # enum bpf_attach_type


def ask(probe: CgroupSkb, kernel: Asking) -> Answer:
    """See :func:`pytracer.bpf.attach.cgroup.ask`."""
    return cgroup.ask(probe, kernel, load_as(probe))


def load_as(probe: CgroupSkb) -> LoadAs:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    return cgroup.load_as(probe, ProgType.CGROUP_SKB, POINTS[probe.point])


def put(probe: CgroupSkb, place: Place, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Kind`: one for each cgroup."""
    return cgroup.put(probe, place, program, POINTS[probe.point])
