"""What a plan needs to know of this kernel, answered by trying.

The real answers come from :mod:`pytracer.features.kernel_facts`; a test describes a kernel as data.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Protocol

from pytracer.kernel.btf import Btf
from pytracer.record import made, record
from pytracer.spec import FunctionCode, Probe, ProbeSite, Source

_NAMED = 3  # functions that cannot be probed, of which it is said why


class TargetIdSource(Enum):
    """How a program gets to know which of the things that the user named it runs for (the C's pt_target)."""

    PROGRAM = "a program for each"
    COOKIE = "a cookie"
    ADDRESS = "its address"


@record
class Support:
    """Whether a hook is there. ``name`` is what it is called here; ``reason`` says why not.

    ``refused`` tells a refusal by the kernel's policy from a thing that does not exist. ``tried`` is
    false where it could only be assumed, as without privileges. ``doubt`` says what speaks against a hook
    that is there: it is taken where nothing else is. ``tells`` matters for what users name.
    """

    is_supported: bool
    name: str = ""
    reason: str = ""
    is_forbidden: bool = False
    was_tried: bool = True
    caveat: str = ""
    target_id_source: TargetIdSource = TargetIdSource.PROGRAM


@record
class NamedTarget:
    """One thing that a user named and this machine has. ``address``: of a function of the kernel, 0 where it
    is not known; ``sites``: where it is in files. ``symbol`` is what the kernel calls a function whose
    ``name`` has more than that, "" where it is the same."""

    name: str
    address: int = 0
    sites: tuple[ProbeSite, ...] = ()
    symbol: str = ""

    @property
    def function(self) -> str:
        """What the kernel calls it."""
        return self.symbol or self.name


@record
class FoundTargets:
    """What a source names here: at least one target, and how many were left out for which reason.

    ``refused`` are functions that match and cannot be probed, with the reason for each.
    """

    targets: tuple[NamedTarget, ...]
    skipped: Mapping[str, int] = made(factory=dict)
    refused: Mapping[str, str] = made(factory=dict)

    @property
    def left_out(self) -> dict[str, int]:
        """``skipped`` and ``refused`` in words: how many for which reason; a few are named."""
        said = dict(self.skipped)
        for name, reason in list(self.refused.items())[:_NAMED]:
            said[f"function that cannot be probed: {name} begins with {reason}"] = 1
        if len(self.refused) > _NAMED:
            said["more that cannot be probed"] = len(self.refused) - _NAMED
        return said


NOT_IN_REGISTER = -1
"""Where an argument is that is in no register that passes arguments, or of which nobody knows."""


@record
class FunctionTypes:
    """What debug information says of a function of a program: its FUNC and the types that this leads to.

    ``registers`` has for each parameter the number of the register that it is in as the function begins,
    among those that pass arguments, from 0, or ELSEWHERE; None where it is as the calling convention says.
    """

    types: Btf
    registers: tuple[int | None, ...]


class KernelInfo(Protocol):
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

    @property
    def injectable(self) -> Mapping[str, str] | None:
        """The functions that may be made to fail, and how (``ERRNO``, ``NULL``, ``ERRNO_NULL``, ``TRUE``);
        None where the kernel was not built for it."""
        ...

    def probe(self, probe: Probe) -> Support:
        """Whether a program can be put where ``probe`` says, and what that is called here."""
        ...

    @property
    def types(self) -> Btf | None:
        """The kernel's own types; None where it does not tell them."""
        ...

    def function_types(self, site: ProbeSite) -> FunctionTypes | None:
        """What debug information says of the function of a program that begins at a site, under its name;
        None where there is none."""
        ...

    def code(self, site: ProbeSite) -> FunctionCode:
        """Where calls of the function of a program that begins at a site are seen to begin and end. Raises
        UnreadableCodeError where its machine code does not tell."""
        ...

    def entry(self, site: ProbeSite) -> int:
        """Return the offset in its file at which calls of such a function are counted: its own, or in Go that
        behind the stack check. Raises UnreadableCodeError."""
        ...

    def event_format(self, name: str) -> str:
        """How the fields of the trace event ``category:event`` are laid out, as tracefs writes it. Raises
        UnsupportedError where there is no such event, or no saying."""
        ...

    def find(self, source: Source) -> FoundTargets:
        """What a user's source names here. Raises UnknownNameError where there is no such thing,
        UnsupportedError where the one that was named cannot be attached to."""
        ...
