"""The interface of every attacher in this folder: three functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pytracer.bpf.attach.link import Link
from pytracer.bpf.prober import FeatureProber
from pytracer.bpf.sys import ProgType
from pytracer.kernel.facts import Support
from pytracer.record import default_factory, record
from pytracer.spec import NO_RATE, Rate


@record
class LoadAttributes:
    """Attributes with which a program is loaded.

    ``attach_type`` (``enum bpf_attach_type``) and ``btf_id`` (in the kernel's BTF) name the target for
    program types that need it. ``result`` is the value that a program must return, so that it disturbs
    nothing (pt_pass): hooks of a module pass on, packets are left to others. ``arguments`` is the number of
    8-byte words that the target's arguments take; more than there can be if it is not known. ``prologue`` are
    instructions to put before the program's own. ``label`` is the program's name in the kernel. ``preempted``
    is true if the kernel may run it in several tasks at once on a CPU
    (:mod:`pytracer.bpf.load.preemption`).
    """

    type: ProgType
    attach_type: int = 0
    btf_id: int = 0
    result: int = 1
    arguments: int = 64
    prologue: bytes = b""
    label: str = ""
    preempted: bool = False


@record
class AttachTarget:
    """A resolved attach target: the symbol or event name that ``check_support`` found, interfaces, cgroups,
    cookies.

    ``interfaces`` are those of a network probe, by index (0: all), with their names; ``cgroups`` are the
    folders of a probe on cgroups (empty: the root, and so all). ``choice`` is the value of the
    :class:`~pytracer.spec.Choice` that the probe names; ``rate`` the rate of samples; ``members`` the number
    of sockets that share the packets; ``command`` the process that will exec the command (0: none).
    ``cookies`` has one for each place; empty if programs get their target id in another way.
    """

    name: str
    interfaces: Mapping[int, str] = default_factory(factory=dict)
    choice: str = ""
    rate: Rate = NO_RATE
    command: int = 0
    members: int = 0
    cookies: tuple[int, ...] = ()
    cgroups: tuple[str, ...] = ()


class Attacher(Protocol):
    """The interface of a kind of probe; its module is named by ``Probe.kind``."""

    def check_support(self, probe: Any, prober: FeatureProber) -> Support:
        """Test whether this kernel can attach a program there, by attaching one that has no effect."""
        ...

    def load_attributes(self, probe: Any) -> LoadAttributes:
        """Return the attributes with which programs for the probe are loaded."""
        ...

    def attach(self, probe: Any, target: AttachTarget, program: int) -> list[Link]:
        """Attach ``program`` (a descriptor) to every place of the target, or to none. Raises AttachError, or
        the error that explains the kernel's refusal."""
        ...
