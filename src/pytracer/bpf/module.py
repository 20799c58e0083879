"""What a compiled program is to those who use it, however it came to be."""

from __future__ import annotations

from typing import Protocol

from pytracer.bpf.maps import Map
from pytracer.bpf.sys import ProgType


class Module(Protocol):
    """A compiled program: its maps exist, its functions can be loaded."""

    @property
    def maps(self) -> dict[str, Map]:
        """The maps by their C names."""
        ...

    def load(self, program: str, kind: ProgType, attach_type: int = 0) -> int:
        """Load a function through the verifier, for an ``attach_type`` of ``enum bpf_attach_type`` where its
        type leaves that open; its descriptor, owned by the module."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...
