"""The interface of a compiled program, whether it comes from an image or from the compiler."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import ProgType


class Module(Protocol):
    """A compiled program: its maps exist, its functions can be loaded."""

    @property
    def maps(self) -> dict[str, Map]:
        """The maps by their C names."""
        ...

    def readers(self, name: str) -> Collection[str]:
        """Return the names of the programs that refer to a map."""
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
        preempted: bool = False,
        on_log: Callable[[str], None] | None = None,
    ) -> int:
        """Load a function through the verifier. Returns its descriptor, which the module owns.

        Args:
            program: The name of the C function.
            kind: The program type.
            attach_type: A value of ``enum bpf_attach_type``, if the type needs one.
            btf_id: The target's id in the kernel's BTF, if the type needs one.
            constants: Values for placeholders in the code (:func:`pytracer.bpf.image.patch_constants`).
            prologue: Instructions to put before the program's own.
            label: The program's name in the kernel, by default that of the function.
            preempted: The kernel may run it in several tasks at once on a CPU: preemption is disabled
                while it runs, where that can be done (:mod:`pytracer.bpf.load.preemption`).
            on_log: Gets the verifier log of a program that passes, which may be megabytes.
        """
        ...

    def close(self) -> None:
        """Close all descriptors."""
        ...
