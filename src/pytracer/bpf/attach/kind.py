"""What every file of this folder has for its kind of probe: three functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pytracer.bpf.attach.link import Link
from pytracer.bpf.prober import FeatureProber
from pytracer.bpf.sys import ProgType
from pytracer.kernel.facts import Support
from pytracer.record import made, record
from pytracer.spec import NO_RATE, Rate


@record
class LoadAttributes:
    """How a program is loaded: its type, and what it is to be attached to where the type leaves that open
    (``enum bpf_attach_type``; ``btf_id`` in the kernel's BTF). ``result`` is what a program must return that
    is put on what users name (pt_pass), or of packets that it is to leave to others.

    ``arguments``: how many words the arguments take of what it is put on; more than there can be where that
    is not known. ``prologue`` are instructions to put before the program's own, ``label`` is what the kernel
    is to call it.
    """

    type: ProgType
    attach_type: int = 0
    btf_id: int = 0
    result: int = 1
    arguments: int = 64
    prologue: bytes = b""
    label: str = ""


@record
class AttachTarget:
    """Where a program is put: what the probe's target is called here, by the answer to ``ask``.

    ``interfaces`` are those that a network probe is put on, by index (0: all), with their names; ``cgroups``
    the folders of those that a probe on cgroups is (none: the root of all). ``choice`` is what was chosen of
    the :class:`~pytracer.spec.Choice` that the probe names; ``rate`` how often a sample is taken, ``members``
    how many sockets share what comes; ``command`` the process that will be the command (0: none). ``cookies``
    are what the program is to be told, one for each thing that the probe is put on; empty where it is told
    otherwise.
    """

    name: str
    interfaces: Mapping[int, str] = made(factory=dict)
    choice: str = ""
    rate: Rate = NO_RATE
    command: int = 0
    members: int = 0
    cookies: tuple[int, ...] = ()
    cgroups: tuple[str, ...] = ()


class Attacher(Protocol):
    """A kind of probe; its file is called as ``Probe.kind`` says."""

    def check_support(self, probe: Any, kernel: FeatureProber) -> Support:
        """Whether this kernel takes a program there: tried, without disturbing anybody."""
        ...

    def load_attributes(self, probe: Any) -> LoadAttributes:
        """How programs for it are loaded."""
        ...

    def attach(self, probe: Any, place: AttachTarget, program: int) -> list[Link]:
        """Attach ``program`` (a descriptor); all or nothing. Raises AttachError, or what the kernel's
        refusal means."""
        ...
