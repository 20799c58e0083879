"""State that feature probes share: trial programs, missing capabilities, the kernel's symbols."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path

from pytracer import inherited
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import helper_refusal, load, return_code
from pytracer.errors import NotPermittedError, PytracerError, ResourcesError
from pytracer.features.table.helpers import ATTACH_COOKIE
from pytracer.kernel import injection, policy
from pytracer.kernel.facts import Support, TargetIdSource
from pytracer.signal_mask import signals_blocked
from pytracer.spec import Probe

SKIPPED = "programs there can be preempted, and are skipped meanwhile"
"""The caveat of raw and typed tracepoints where :attr:`FeatureProber.may_preempt` is true."""
_KALLSYMS = Path("/proc/kallsyms")
_UNTRIED = "not tried: needs root"
_SLEEPABLE = 1 << 4  # BPF_F_SLEEPABLE


class FeatureProber:
    """Loads each trial program once and keeps it until it is closed."""

    def __init__(self) -> None:
        """Create the prober; it loads its program on demand."""
        self.categories: dict[str, OSError | None] = {}
        """The error with which a category of trace events refuses programs; None if it accepts them."""
        self._id_sources: dict[ProgType, TargetIdSource] = {}
        self._begin()

    def _begin(self) -> None:
        self._programs: dict[tuple[ProgType, bytes, int], int | OSError] = {}
        self._events = list[int]()
        self._closing = weakref.finalize(self, _close_trials, self._programs, self._events)

    def close(self) -> None:
        """Close the trial programs and events; so does dropping the object. Later trials are new ones."""
        closing = self._closing
        self._begin()
        closing()

    def keep_event(self, descriptor: int) -> None:
        """Keep a trial's perf event open until the prober is closed.

        Closing the last event of a trace event takes 70 ms, in which no other can be opened nor its format
        be read (the kernel's event_mutex). If a program is attached to it meanwhile, it is not the last.
        """
        self._events.append(descriptor)

    def close_meanwhile(self) -> None:
        """Close, but do not wait: the kernel lets grace periods pass as it closes events (Linux 6.13,
        ef1b808e3b7c). :func:`finish_closing` waits."""
        if not self._events:
            self.close()
            return
        closing = self._closing
        self._begin()  # who asks for more, such as explain, has trials that are closed in their turn
        thread = threading.Thread(target=closing)
        with signals_blocked():  # it is to take none
            try:
                thread.start()
            except RuntimeError:  # no more threads
                closing()
            else:
                _closing_threads.append(thread)

    @functools.cached_property
    def missing_capabilities(self) -> list[str]:
        """The capabilities for tracing that this process lacks."""
        missing = policy.missing_capabilities(policy.TRACING)
        if not missing:
            policy.raise_memlock()
        return missing

    def program(self, kind: ProgType, code: bytes, attach_type: int = 0) -> int:
        """Load a trial program, once, and return its descriptor. Raises OSError."""
        key = kind, code, attach_type
        if key not in self._programs:
            try:
                self._programs[key] = load(kind, code, attach_type=attach_type)
            except OSError as error:
                require_answer(error)
                self._programs[key] = error
        descriptor = self._programs[key]
        if isinstance(descriptor, OSError):
            raise descriptor
        return descriptor

    def can_load(self, kind: ProgType, code: bytes) -> bool:
        """Return whether the kernel loads this program."""
        with contextlib.suppress(OSError):
            return self.program(kind, code) >= 0
        return False

    def target_id_source(self, probe: Probe, kind: ProgType) -> TargetIdSource:
        """Return how a program of this type gets its target id, if each target has an event of its own: from
        the cookie if programs may read it, else from a constant in the program."""
        if not probe.targets:
            return TargetIdSource.PROGRAM
        if kind not in self._id_sources:
            try:
                refusal = helper_refusal(kind, ATTACH_COOKIE.number)
            except OSError as error:
                require_answer(error)
                refusal = "unknown"
            self._id_sources[kind] = TargetIdSource.PROGRAM if refusal else TargetIdSource.COOKIE
        return self._id_sources[kind]

    @functools.cached_property
    def injectable(self) -> Mapping[str, str] | None:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        return injection.functions()

    @functools.cached_property
    def may_preempt(self) -> bool:
        """True if programs on raw and typed tracepoints can be preempted: if they may be sleepable (7.2)."""
        try:
            os.close(load(ProgType.RAW_TRACEPOINT, return_code(0), flags=_SLEEPABLE))
        except OSError as error:
            require_answer(error)
            return False
        return True

    @functools.cached_property
    def kallsyms(self) -> bytes:
        """The kernel's symbols; b"" if hidden. Reading takes 40 ms, so it is used only to explain
        failures."""
        with contextlib.suppress(OSError):
            return _KALLSYMS.read_bytes()
        return b""

    def has_symbol(self, symbol: str) -> bool:
        """Return whether the kernel or a module has a function of exactly this name."""
        name = b" " + symbol.encode()
        return any(name + end in self.kallsyms for end in (b"\n", b"\t"))


def report_untried(name: str) -> Support:
    """Report a feature as supported but not tried, for lack of privileges."""
    return Support(True, name, reason=_UNTRIED, was_tried=False)


def require_answer(error: OSError) -> None:
    """Raise ResourcesError if a trial failed for lack of descriptors or memory: then it says nothing about
    the kernel's features."""
    if error.errno == errno.EMFILE:
        raise inherited.too_many_files() from error
    if error.errno in policy.EXHAUSTED:
        raise policy.explain(error, "cannot try what this kernel grants") from error


def report_unsupported(error: OSError, reason_if_absent: str) -> Support:
    """Report a feature as unsupported: for the reason ``reason_if_absent``, unless a policy refused it.

    Raises ResourcesError, see :func:`require_answer`.
    """
    require_answer(error)
    policy_reason = policy.explain(error, "it")
    if isinstance(policy_reason, NotPermittedError):
        return Support(False, reason=policy.explain_refusal(), is_forbidden=True)
    if error.errno in (errno.ENOENT, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return Support(False, reason=reason_if_absent)
    return Support(False, reason=f"{reason_if_absent} ({os.strerror(error.errno or 0)})")


def report_error(error: PytracerError) -> Support:
    """Report a feature as unsupported for the reason of an error; re-raises ResourcesError."""
    if isinstance(error, ResourcesError):
        raise error
    return Support(False, reason=error.message, is_forbidden=isinstance(error, NotPermittedError))


_closing_threads = list[threading.Thread]()


def finish_closing() -> None:
    """Wait until the trials of :meth:`FeatureProber.close_meanwhile` are closed."""
    while _closing_threads:
        _closing_threads.pop().join()


def _close_trials(programs: dict[tuple[ProgType, bytes, int], int | OSError], events: list[int]) -> None:
    while events:
        os.close(events.pop())
    for program in programs.values():
        if isinstance(program, int):
            os.close(program)
    programs.clear()
