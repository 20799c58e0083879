"""The facts that the planner needs about this kernel, found by trying.

:mod:`pytracer.features.kernel_facts` implements them; a test describes a kernel as data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol

from pytracer.features.table.uses import ProgramUses
from pytracer.kernel.btf import Btf
from pytracer.record import default_factory, record
from pytracer.spec import FunctionCode, Probe, ProbeSite, Source

_NAMED = 3  # functions that cannot be probed, of which it is said why


class TargetIdSource(Enum):
    """The way in which a program learns the target for which it runs (pt_target in C)."""

    PROGRAM = "a program for each"
    COOKIE = "a cookie"
    ADDRESS = "its address"


@record
class Support:
    """The kernel's support for a hook. ``name`` is the target's name on this kernel; ``reason`` says why it
    is not supported.

    ``is_forbidden`` tells a refusal by the kernel's policy from a missing hook. ``was_tried`` is false if
    the answer is only assumed, as without privileges. ``caveat`` says how a supported hook may lose events:
    it is used only if no other alternative is supported. ``target_id_source`` matters for targets that the
    user names.
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
    """A target that the user named and this machine has. ``address`` is that of a kernel function, 0 if it
    is unknown; ``sites`` are its locations in files. ``symbol`` is the kernel's name for a function whose
    ``name`` has more than that, "" if it is the same."""

    name: str
    address: int = 0
    sites: tuple[ProbeSite, ...] = ()
    symbol: str = ""

    @property
    def function(self) -> str:
        """The kernel's name for the function."""
        return self.symbol or self.name


@record
class FoundTargets:
    """The targets that a source matches here, at least one, and the number left out for each reason.

    ``refused`` maps functions that match but cannot be probed to the reason. ``versions`` are functions that
    the compiler made of the named one for some of its callers; they are no targets.
    """

    targets: tuple[NamedTarget, ...]
    skipped: Mapping[str, int] = default_factory(factory=dict)
    refused: Mapping[str, str] = default_factory(factory=dict)
    versions: tuple[str, ...] = ()

    @property
    def left_out(self) -> dict[str, int]:
        """``skipped`` and ``refused`` in words: how many for which reason; a few are named."""
        counts = dict(self.skipped)
        for name, reason in list(self.refused.items())[:_NAMED]:
            counts[f"function that cannot be probed: {name} begins with {reason}"] = 1
        if len(self.refused) > _NAMED:
            counts["more that cannot be probed"] = len(self.refused) - _NAMED
        return counts


@record
class ProcessStart:
    """The start of a process: the files whose code it has mapped, its words and its environment."""

    files: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    environment: Mapping[str, str] = default_factory(factory=dict)


NOT_IN_REGISTER = -1
"""The location of an argument that is in no argument register, or that is unknown."""


@record
class FunctionTypes:
    """The debug information of a function of a program: its FUNC and the types that it refers to.

    ``registers`` has for each parameter the number of its register at the function's entry, among the
    argument registers, from 0, or NOT_IN_REGISTER; None if the calling convention determines it.
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
        """Return whether 32-bit programs can run on this 64-bit kernel."""
        ...

    def close_meanwhile(self) -> None:
        """Let go of what was tried, without waiting for the kernel: programs are attached now."""
        ...

    def has_helper(self, number: int) -> bool:
        """Return whether programs may call the BPF helper with this number."""
        ...

    def has_map_type(self, number: int) -> bool:
        """Return whether the kernel has maps of this ``enum bpf_map_type``."""
        ...

    @property
    def has_loops(self) -> bool:
        """Return whether the verifier accepts loops."""
        ...

    @property
    def has_atomic_fetch(self) -> bool:
        """Return whether programs may add to memory and get its old value; True if that cannot be tried."""
        ...

    @property
    def injectable(self) -> Mapping[str, str] | None:
        """The functions that may be made to fail, and how (``ERRNO``, ``NULL``, ``ERRNO_NULL``, ``TRUE``);
        None where the kernel was not built for it."""
        ...

    def probe(self, probe: Probe) -> Support:
        """Return whether a program can be attached as ``probe`` declares, and the target's name here."""
        ...

    def describe_lack(self, probe: Probe, uses: ProgramUses) -> str:
        """Explain what the program of a probe uses that this kernel does not have for it; "" if it has
        everything, or that cannot be tried."""
        ...

    @property
    def types(self) -> Btf | None:
        """Return the kernel's types; None if it has no BTF."""
        ...

    def function_types(self, site: ProbeSite) -> FunctionTypes | None:
        """Read the debug information of the function of a program that begins at a site; None if there is
        none. The FUNC gets the site's name."""
        ...

    def code(self, site: ProbeSite) -> FunctionCode:
        """Find where calls of the function of a program that begins at a site begin and end. Raises
        UnreadableCodeError if its machine code does not show that."""
        ...

    def entry(self, site: ProbeSite) -> int:
        """Return the offset in its file at which calls of such a function are counted: its own, or in Go that
        behind the stack check. Raises UnreadableCodeError."""
        ...

    def variable(self, site: ProbeSite, name: str) -> tuple[int, int] | None:
        """Find a variable of the program of a site: its distance from the site in bytes, and its size. None
        if there is none."""
        ...

    def is_go(self, site: ProbeSite) -> bool:
        """Return whether the Go compiler made the function of a program that begins at a site."""
        ...

    def event_format(self, name: str) -> str:
        """Return the field layout of the trace event ``category:event``, in tracefs's format. Raises
        UnsupportedError if there is no such event, or tracefs is not available."""
        ...

    def find(self, source: Source) -> FoundTargets:
        """Find the targets that a user's source names. Raises UnknownNameError if there is none,
        UnsupportedError if the one that was named cannot be attached to."""
        ...

    def maps_file(self, pids: Sequence[int], identity: tuple[int, ...]) -> bool:
        """Return whether one of these processes has mapped code of the file with this identity."""
        ...

    def start_of(self, process: int, command: tuple[str, ...] = ()) -> ProcessStart:
        """Return what a process was started with, or (0) a command will be. Raises OSError."""
        ...
