"""What questions to this kernel share: programs to ask with, what is permitted, the kernel's symbols."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import weakref
from pathlib import Path

from pytracer import inherited
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import helper_refusal, load, returning
from pytracer.errors import NotPermittedError, PytracerError, ResourcesError
from pytracer.kernel import policy
from pytracer.kernel.facts import Support, TargetIdSource
from pytracer.spec import Probe

_GET_ATTACH_COOKIE = 174  # enum bpf_func_id
SKIPPED = "programs there can be preempted, and are skipped meanwhile"
"""The caveat of raw and typed tracepoints where :attr:`FeatureProber.may_preempt` is true."""
_KALLSYMS = Path("/proc/kallsyms")
_UNTRIED = "not tried: needs root"
_SLEEPABLE = 1 << 4  # BPF_F_SLEEPABLE


class FeatureProber:
    """Programs that are loaded once, whatever is asked, and stay until the answers are dropped."""

    def __init__(self) -> None:
        """Ask nothing yet."""
        self._programs: dict[tuple[ProgType, bytes, int], int | OSError] = {}
        self.categories: dict[str, OSError | None] = {}
        """Of trace events: whether they take programs."""
        self._tells: dict[ProgType, TargetIdSource] = {}
        self._closing = weakref.finalize(self, _close, self._programs)

    def close(self) -> None:
        """Let go of the programs that were loaded to ask with; so does dropping the object."""
        self._closing()

    @functools.cached_property
    def missing_capabilities(self) -> list[str]:
        """The capabilities for tracing that are not there."""
        missing = policy.missing_capabilities(policy.TRACING)
        if not missing:
            policy.raise_memlock()
        return missing

    def program(self, kind: ProgType, code: bytes, attach_type: int = 0) -> int:
        """The descriptor of a program that is loaded once. Raises OSError."""
        key = kind, code, attach_type
        if key not in self._programs:
            try:
                self._programs[key] = load(kind, code, attach_type=attach_type)
            except OSError as error:
                require_answer(error)
                self._programs[key] = error
        loaded = self._programs[key]
        if isinstance(loaded, OSError):
            raise loaded
        return loaded

    def can_load(self, kind: ProgType, code: bytes) -> bool:
        """Whether the kernel takes this program."""
        with contextlib.suppress(OSError):
            return self.program(kind, code) >= 0
        return False

    def target_id_source(self, probe: Probe, kind: ProgType) -> TargetIdSource:
        """How programs of this type are told which of the user's targets they run for, where there is an
        event for each: by cookies since Linux 5.15 (7adfc6c9b315)."""
        if not probe.targets:
            return TargetIdSource.PROGRAM
        if kind not in self._tells:
            try:
                refusal = helper_refusal(kind, _GET_ATTACH_COOKIE)
            except OSError as error:
                require_answer(error)
                refusal = "unknown"
            self._tells[kind] = TargetIdSource.PROGRAM if refusal else TargetIdSource.COOKIE
        return self._tells[kind]

    @functools.cached_property
    def may_preempt(self) -> bool:
        """Whether programs on raw and typed tracepoints can be preempted: where some may sleep (7.2)."""
        try:
            os.close(load(ProgType.RAW_TRACEPOINT, returning(0), flags=_SLEEPABLE))
        except OSError as error:
            require_answer(error)
            return False
        return True

    @functools.cached_property
    def kallsyms(self) -> bytes:
        """The kernel's symbols, b"" where they are not shown. That takes 40 ms: it is for what failed."""
        with contextlib.suppress(OSError):
            return _KALLSYMS.read_bytes()
        return b""

    def has_symbol(self, symbol: str) -> bool:
        """Whether there is a function of exactly this name, in the kernel or a module."""
        name = b" " + symbol.encode()
        return any(name + end in self.kallsyms for end in (b"\n", b"\t"))


def assumed(name: str) -> Support:
    """Without privileges, what may be there is said to be there."""
    return Support(True, name, reason=_UNTRIED, was_tried=False)


def require_answer(error: OSError) -> None:
    """Raise ResourcesError if a trial failed for want of descriptors or memory: that says nothing about what
    the kernel has."""
    if error.errno == errno.EMFILE:
        raise inherited.too_many_files() from error
    if error.errno in policy.EXHAUSTED:
        raise policy.explain(error, "cannot try what this kernel grants") from error


def unsupported(error: OSError, absent: str) -> Support:
    """Report a feature as unsupported: for the reason ``absent``, unless a policy refused it.

    Raises ResourcesError, see :func:`require_answer`.
    """
    require_answer(error)
    reached = policy.explain(error, "it")
    if isinstance(reached, NotPermittedError):
        return Support(False, reason=policy.refusal(), is_forbidden=True)
    if error.errno in (errno.ENOENT, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return Support(False, reason=absent)
    return Support(False, reason=f"{absent} ({os.strerror(error.errno or 0)})")


def unsupported_because(error: PytracerError) -> Support:
    """Report a feature as unsupported for the reason of an error; re-raises ResourcesError."""
    if isinstance(error, ResourcesError):
        raise error
    return Support(False, reason=error.message, is_forbidden=isinstance(error, NotPermittedError))


def _close(programs: dict[tuple[ProgType, bytes, int], int | OSError]) -> None:
    for program in programs.values():
        if isinstance(program, int):
            os.close(program)
    programs.clear()
