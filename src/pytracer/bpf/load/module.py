"""What a compiled program is to those who use it, however it came to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import ProgType


class Module(Protocol):
    """A compiled program: its maps exist, its functions can be loaded."""

    @property
    def maps(self) -> dict[str, Map]:
        """The maps by their C names."""
        ...

    def load(
        self,
        program: str,
        kind: ProgType,
        attach_type: int = 0,
        *,
        btf_id: int = 0,
        constants: Mapping[int, int] | None = None,
        prologue: bytes = b"",
        label: str = "",
        hear: Callable[[str], None] | None = None,
    ) -> int:
        """Load a function through the verifier; its descriptor, owned by the module.

        ``attach_type`` of ``enum bpf_attach_type`` and ``btf_id`` say what it is for where its type leaves
        that open. ``constants`` are put in the places of others (:func:`pytracer.bpf.image.patched`).
        ``prologue`` are instructions to put before it, ``label`` is what the kernel is to call it, if not by
        its own name. ``hear`` gets all that the verifier says of a program that passes: megabytes, at times.
        """
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...
