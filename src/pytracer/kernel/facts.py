"""What a plan needs to know of this kernel, answered by trying.

The real answers come from :mod:`pytracer.bpf.facts`; a test describes a kernel as data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pytracer.spec import Probe


@dataclass(frozen=True)
class Answer:
    """Whether a hook is there. ``name`` is what it is called here; ``reason`` says why not.

    ``refused`` tells a refusal by the kernel's policy from a thing that does not exist. ``tried`` is
    false where it could only be assumed, as without privileges. ``doubt`` says what speaks against a hook
    that is there: it is taken where nothing else is.
    """

    ok: bool
    name: str = ""
    reason: str = ""
    refused: bool = False
    tried: bool = True
    doubt: str = ""


class Facts(Protocol):
    """This kernel, as far as a plan asks."""

    @property
    def architecture(self) -> str:
        """``x86_64``, ``aarch64``, ... as uname says."""
        ...

    @property
    def runs_compat(self) -> bool:
        """Whether 32-bit programs run beside 64-bit ones."""
        ...

    def has_helper(self, number: int) -> bool:
        """Whether programs may call the BPF helper of this number."""
        ...

    def has_map_type(self, number: int) -> bool:
        """Whether there are maps of this ``enum bpf_map_type``."""
        ...

    @property
    def has_loops(self) -> bool:
        """Whether the verifier goes through loops."""
        ...

    def probe(self, probe: Probe) -> Answer:
        """Whether a program can be put where ``probe`` says, and what that is called here."""
        ...
