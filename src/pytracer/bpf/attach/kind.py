"""What every file of this folder has for its kind of probe: three functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from pytracer.bpf.asking import Asking
from pytracer.bpf.attach.link import Link
from pytracer.bpf.sys import ProgType
from pytracer.kernel.facts import Answer


@dataclass(frozen=True)
class LoadAs:
    """How a program is loaded: its type, and what it is to be attached to where the type leaves that open
    (``enum bpf_attach_type``; ``btf_id`` in the kernel's BTF). ``result`` is what a program must return that
    is put on what users name (pt_pass)."""

    type: ProgType
    attach_type: int = 0
    btf_id: int = 0
    result: int = 1


@dataclass(frozen=True)
class Place:
    """Where a program is put: what the probe's target is called here, by the answer to ``ask``.

    ``interfaces`` are the indexes that a network probe is put on (0: all), ``frequency`` is how often a
    second a sample is taken. ``cookies`` are what the program is to be told, one for each thing that the
    probe is put on; empty where it is told otherwise.
    """

    name: str
    interfaces: Iterable[int] = ()
    frequency: int = 0
    cookies: tuple[int, ...] = ()


class Kind(Protocol):
    """A kind of probe; its file is called as ``Probe.kind`` says."""

    def ask(self, probe: Any, kernel: Asking) -> Answer:
        """Whether this kernel takes a program there: tried, without disturbing anybody."""
        ...

    def load_as(self, probe: Any) -> LoadAs:
        """How programs for it are loaded."""
        ...

    def put(self, probe: Any, place: Place, program: int) -> list[Link]:
        """Attach ``program`` (a descriptor); all or nothing. Raises AttachError, or what the kernel's
        refusal means."""
        ...
