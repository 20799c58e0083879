"""Sockets of a cgroup: as they are made (Linux 4.10, 610236587604), once bound (4.17, aac3fc320d94)."""

from __future__ import annotations

from pytracer.bpf.attach import cgroup
from pytracer.bpf.attach.kind import LoadAs, Place
from pytracer.bpf.attach.link import Link
from pytracer.bpf.prober import Asking
from pytracer.bpf.sys import ProgType
from pytracer.kernel.facts import Answer
from pytracer.spec import CgroupSock

POINTS = {"create": 2, "bound4": 12, "bound6": 13}  # enum bpf_attach_type


def ask(probe: CgroupSock, kernel: Asking) -> Answer:
    """See :func:`pytracer.bpf.attach.cgroup.ask`."""
    return cgroup.ask(probe, kernel, load_as(probe))


def load_as(probe: CgroupSock) -> LoadAs:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    return cgroup.load_as(probe, ProgType.CGROUP_SOCK, POINTS[probe.point])


def put(probe: CgroupSock, place: Place, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Kind`: one for each cgroup."""
    return cgroup.put(probe, place, program, POINTS[probe.point])
