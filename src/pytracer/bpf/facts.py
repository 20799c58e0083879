"""What this kernel grants, found out by trying: the answers that a plan asks for.

Each question is asked once; most cost some tens of microseconds. Nothing stays loaded or attached after
the answers have been dropped, and nothing that others trace is disturbed.

Without privileges nothing can be tried: then what may be there is said to be there, ``tried`` is false,
and a plan can still be shown.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import platform
import weakref
from collections.abc import Callable
from pathlib import Path

from pytracer.bpf.attach import kprobe as kprobe_pmu
from pytracer.bpf.attach import kprobe_multi, perf_sample
from pytracer.bpf.attach.perf import attach_program, event_attr
from pytracer.bpf.attach.tracepoint import PERF_TYPE_TRACEPOINT
from pytracer.bpf.probing import EMPTY, LOOP, READS_BEYOND, helper_refusal, load, reads_argument
from pytracer.bpf.sys import MapType, ProgType, map_create, raw_tracepoint_open
from pytracer.errors import NotPermittedError, PytracerError
from pytracer.kernel import functions, mounts, policy, tracefs
from pytracer.kernel.facts import Answer

_KALLSYMS = Path("/proc/kallsyms")
_X86_ABI = Path("/proc/sys/abi/vsyscall32")  # arch/x86/entry/vdso/vdso32-setup.c, CONFIG_COMPAT_32
_PROC_SYS = Path("/proc/sys")
_PACKET = Path("/proc/net/packet")
_NOWHERE = 1  # an address at which there is no function
_ENOTSUPP = 524  # kernel-internal, but it gets out
_PER_LINUX32, _QUERY = 0x0008, 0xFFFFFFFF  # include/uapi/linux/personality.h

_UNTRIED = "not tried: needs root"
_NO_KPROBES = "this kernel has no kprobes (CONFIG_KPROBES)"


class KernelFacts:
    """The kernel that runs, as :class:`pytracer.kernel.facts.Facts`."""

    def __init__(self) -> None:
        """Ask nothing yet."""
        self._programs: dict[tuple[ProgType, bytes, int], int | OSError] = {}
        self._answers: dict[tuple[object, ...], Answer] = {}
        self._helpers: dict[int, bool] = {}
        self._map_types: dict[int, bool] = {}
        self._categories: dict[str, OSError | None] = {}
        self._closing = weakref.finalize(self, _close, self._programs)

    def close(self) -> None:
        """Let go of the programs that were loaded to ask with; so does dropping the object."""
        self._closing()

    @property
    def architecture(self) -> str:
        """``x86_64``, ``aarch64``, ... as uname says."""
        return platform.machine()

    @functools.cached_property
    def runs_compat(self) -> bool:
        """Whether 32-bit programs run beside 64-bit ones; true where that cannot be told."""
        if self.architecture == "x86_64":
            return _X86_ABI.exists() or not _PROC_SYS.is_dir()
        if self.architecture == "aarch64":
            return _takes_linux32()
        return True

    def has_helper(self, number: int) -> bool:
        """Whether programs may call the BPF helper of this number; true where that cannot be tried."""
        if number not in self._helpers:
            self._helpers[number] = bool(self._missing) or self._try_helper(number)
        return self._helpers[number]

    def has_map_type(self, number: int) -> bool:
        """Whether a map of this type can be made; true where that cannot be tried."""
        if number not in self._map_types:
            self._map_types[number] = bool(self._missing) or _makes_map(number)
        return self._map_types[number]

    @functools.cached_property
    def has_loops(self) -> bool:
        """Whether the verifier goes through loops; true where that cannot be tried."""
        return bool(self._missing) or self._loads(self._kind, LOOP)

    def raw_tracepoint(self, event: str, arguments: int = 0) -> Answer:
        """Whether a program can be put on this raw tracepoint, and it has so many arguments."""
        answer = self._once(("raw_tracepoint", event), lambda: self._raw_tracepoint(event))
        if arguments and answer.ok and answer.tried:
            question = ("raw_tracepoint", event, arguments)
            return self._once(question, lambda: self._raw_arguments(event, arguments))
        return answer

    def tracepoint(self, category: str, event: str) -> Answer:
        """Whether a program can be put on this trace event. Up to 70 ms, once a category."""
        return self._once(("tracepoint", category, event), lambda: self._tracepoint(category, event))

    def kprobe(self, symbols: tuple[str, ...]) -> Answer:
        """Whether one of these functions can be probed, and by which name."""
        return self._once(("kprobe", symbols), lambda: self._kprobe(symbols))

    def kprobe_multi(self, patterns: tuple[str, ...], *, at_return: bool) -> Answer:
        """Whether these functions can be probed by one link. Tried on one of them."""
        question = ("kprobe_multi", patterns, at_return)
        return self._once(question, lambda: self._kprobe_multi(patterns, at_return=at_return))

    def kprobe_events(self, patterns: tuple[str, ...]) -> Answer:
        """Whether these functions can be probed by one trace event. Nothing is made to find out."""
        return self._once(("kprobe_events", patterns), lambda: self._kprobe_events(patterns))

    def socket_filter(self) -> Answer:
        """Whether a program can filter a packet socket."""
        return self._once(("socket_filter",), self._socket_filter)

    def perf_sample(self, event: str) -> Answer:
        """Whether a program can be run on samples of this event on every CPU."""
        return self._once(("perf_sample", event), lambda: self._perf_sample(event))

    def _once(self, question: tuple[object, ...], ask: Callable[[], Answer]) -> Answer:
        if question not in self._answers:
            self._answers[question] = ask()
        return self._answers[question]

    @functools.cached_property
    def _missing(self) -> list[str]:
        """The capabilities for tracing that are not there."""
        missing = policy.missing_capabilities(policy.TRACING)
        if not missing:
            policy.raise_memlock()
        return missing

    @functools.cached_property
    def _kallsyms(self) -> bytes:
        """The kernel's symbols: 40 ms, so only what failed is looked up there."""
        with contextlib.suppress(OSError):
            return _KALLSYMS.read_bytes()
        return b""

    def _program(self, kind: ProgType, code: bytes, attach_type: int = 0) -> int:
        """The descriptor of a program that is loaded once. Raises OSError."""
        key = kind, code, attach_type
        if key not in self._programs:
            try:
                self._programs[key] = load(kind, code, attach_type=attach_type)
            except OSError as error:
                self._programs[key] = error
        loaded = self._programs[key]
        if isinstance(loaded, OSError):
            raise loaded
        return loaded

    def _raw_tracepoint(self, event: str) -> Answer:
        if self._missing:
            return _untried(event)
        try:
            program = self._program(ProgType.RAW_TRACEPOINT, READS_BEYOND)
        except OSError as error:
            return _no(error, "this kernel has no raw tracepoints (Linux 4.17)")
        try:
            os.close(raw_tracepoint_open(event, program))
        except OSError as error:
            if error.errno != errno.EINVAL:
                return _no(error, f"no raw tracepoint {event}")
        return Answer(True, event)

    def _raw_arguments(self, event: str, arguments: int) -> Answer:
        """A program that reads the last of them is put on the event, for a moment, if there are so many."""
        try:
            program = self._program(ProgType.RAW_TRACEPOINT, reads_argument(arguments - 1))
            os.close(raw_tracepoint_open(event, program))
        except OSError as error:
            return _no(error, f"the raw tracepoint {event} has fewer arguments")
        return Answer(True, event)

    def _tracepoint(self, category: str, event: str) -> Answer:
        name = f"{category}:{event}"
        if self._missing:
            return _untried(name)
        try:
            if not tracefs.has_event(category, event):
                return Answer(False, reason=f"no trace event {name}")
            self._try_category(category, event)
        except PytracerError as problem:
            return Answer(False, reason=problem.message, refused=isinstance(problem, NotPermittedError))
        except OSError as error:
            return _no(error, f"the trace event {name} takes no program")
        return Answer(True, name)

    def _try_category(self, category: str, event: str) -> None:
        """Put a program on one event of a category: the others are of the same make.

        Not so across categories: Linux 4.9 takes none on ``syscalls``. The kernel waits for a grace
        period or two when the event is let go. Raises OSError.
        """
        if category not in self._categories:
            self._categories[category] = None
            number = tracefs.event_id(category, event)
            try:
                program = self._program(ProgType.TRACEPOINT, EMPTY)
                os.close(attach_program(event_attr(PERF_TYPE_TRACEPOINT, number), program))
            except OSError as error:
                self._categories[category] = error
        problem = self._categories[category]
        if problem is not None:
            raise problem

    def _kprobe(self, symbols: tuple[str, ...]) -> Answer:
        if not kprobe_pmu.PMU.is_dir():
            return Answer(False, reason=_NO_KPROBES)
        if self._missing:
            known = next((symbol for symbol in symbols if self._has_symbol(symbol)), "")
            if known or not self._kallsyms:
                return _untried(known or symbols[0])
            return Answer(False, reason=f"no function {' or '.join(symbols)}", tried=False)
        reasons, refused = [], False
        for symbol in symbols:
            try:
                program = self._program(ProgType.KPROBE, EMPTY)
                kind = int((kprobe_pmu.PMU / "type").read_text())
                name = ctypes.create_string_buffer(symbol.encode())
                os.close(attach_program(event_attr(kind, 0, ctypes.addressof(name)), program))
            except OSError as error:
                answer = self._no_kprobe(error, symbol)
                reasons.append(answer.reason)
                refused = refused or answer.refused
                continue
            return Answer(True, symbol)
        return Answer(False, reason=", ".join(dict.fromkeys(reasons)), refused=refused)

    def _no_kprobe(self, error: OSError, symbol: str) -> Answer:
        """Why a function could not be probed."""
        if _is_blacklisted(symbol):
            return Answer(False, reason=f"{symbol} is one that may not be probed (noprobe)")
        if error.errno == errno.EADDRNOTAVAIL:
            return Answer(False, reason=f"there is more than one function {symbol}")
        if error.errno in (errno.EPERM, errno.EACCES):
            return _no(error, "")
        if self._kallsyms and not self._has_symbol(symbol):
            if b" " + symbol.encode() + b"." in self._kallsyms:
                return Answer(False, reason=f"{symbol} is there in parts only, split up by the compiler")
            return Answer(False, reason=f"no function {symbol}")
        if error.errno == errno.EINVAL and not _is_traceable(symbol):
            return Answer(False, reason=f"{symbol} is one that may not be traced (notrace)")
        return Answer(False, reason=f"{symbol} cannot be probed ({os.strerror(error.errno or 0)})")

    def _kprobe_multi(self, patterns: tuple[str, ...], *, at_return: bool) -> Answer:
        if self._missing:
            return _untried("|".join(patterns))
        absent = "this kernel has no kprobe.multi (CONFIG_FPROBE, Linux 5.18)"
        try:
            program = self._program(ProgType.KPROBE, EMPTY, attach_type=kprobe_multi.ATTACH_TYPE)
        except OSError as error:
            return _no(error, absent)
        try:  # what is absent is said before what is refused: asked for before the list of functions
            os.close(kprobe_multi.link([_NOWHERE], program, at_return=at_return))
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, _ENOTSUPP):
                return Answer(False, reason=absent)
        try:
            found = functions.matching(patterns)
        except PytracerError as problem:
            return Answer(False, reason=problem.message, refused=isinstance(problem, NotPermittedError))
        try:
            link = kprobe_multi.link([next(iter(found.names))], program, at_return=at_return)
        except OSError as error:
            return _no(error, absent)
        try:
            if at_return and kprobe_multi.missed(link) is None:
                return Answer(
                    False, reason="this kernel does not count the returns that it misses (Linux 6.7)"
                )
        finally:
            os.close(link)
        return Answer(True, found.describe, reason=found.note)

    def _kprobe_events(self, patterns: tuple[str, ...]) -> Answer:
        if not kprobe_pmu.PMU.is_dir():  # of the same make (CONFIG_KPROBE_EVENTS)
            return Answer(False, reason=_NO_KPROBES)
        if self._missing:
            return _untried("|".join(patterns))
        try:
            found = functions.matching(patterns)
        except PytracerError as problem:
            return Answer(False, reason=problem.message, refused=isinstance(problem, NotPermittedError))
        return Answer(True, found.describe, reason=found.note)

    def _has_symbol(self, symbol: str) -> bool:
        """Whether there is a function of exactly this name, in the kernel or a module."""
        name = b" " + symbol.encode()
        return any(name + end in self._kallsyms for end in (b"\n", b"\t"))

    def _socket_filter(self) -> Answer:
        if self._missing or policy.missing_capabilities(("CAP_NET_RAW",)):
            return _untried("")
        try:
            self._program(ProgType.SOCKET_FILTER, EMPTY)
        except OSError as error:
            return _no(error, "this kernel has no socket filters")
        if _PROC_SYS.is_dir() and not _PACKET.exists():
            return Answer(False, reason="this kernel has no packet sockets (CONFIG_PACKET)")
        return Answer(True)

    def _perf_sample(self, event: str) -> Answer:
        if self._missing:
            return _untried(event)
        try:
            program = self._program(ProgType.PERF_EVENT, EMPTY)
            for descriptor in perf_sample.open_events(event, program, 1):
                os.close(descriptor)
        except OSError as error:
            return _no(error, f"this kernel takes no samples of {event} (Linux 4.9)")
        return Answer(True, event)

    def _try_helper(self, number: int) -> bool:
        try:
            return not helper_refusal(self._kind, number)
        except OSError:
            return False

    @functools.cached_property
    def _kind(self) -> ProgType:
        """A kind of program that can be loaded."""
        if self._loads(ProgType.RAW_TRACEPOINT, READS_BEYOND):
            return ProgType.RAW_TRACEPOINT
        return ProgType.KPROBE if self._loads(ProgType.KPROBE, EMPTY) else ProgType.TRACEPOINT

    def _loads(self, kind: ProgType, code: bytes) -> bool:
        with contextlib.suppress(OSError):
            return self._program(kind, code) >= 0
        return False


def _close(programs: dict[tuple[ProgType, bytes, int], int | OSError]) -> None:
    for program in programs.values():
        if isinstance(program, int):
            os.close(program)
    programs.clear()


def _untried(name: str) -> Answer:
    return Answer(True, name, reason=_UNTRIED, tried=False)


def _no(error: OSError, absent: str) -> Answer:
    """A no with its reason: ``absent``, where the kernel did not just refuse."""
    reached = policy.explain(error, "it")
    if isinstance(reached, NotPermittedError):
        return Answer(False, reason=policy.refusal(), refused=True)
    if error.errno in (errno.ENOENT, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return Answer(False, reason=absent)
    return Answer(False, reason=f"{absent} ({os.strerror(error.errno or 0)})")


def _is_blacklisted(symbol: str) -> bool:
    """Whether debugfs lists a function as one that kprobes must keep off."""
    with contextlib.suppress(OSError):
        mounts.ensure(mounts.DEBUGFS, tracefs.DEBUG)
        text = (tracefs.DEBUG / "kprobes/blacklist").read_bytes()
        return b"\t" + symbol.encode() + b"\n" in text
    return False


def _is_traceable(symbol: str) -> bool:
    """Whether ftrace knows the function; true where that cannot be seen."""
    with contextlib.suppress(OSError, PytracerError):
        text = (tracefs.root() / "available_filter_functions").read_bytes()
        return any(b"\n" + symbol.encode() + end in b"\n" + text for end in (b"\n", b" "))
    return True


def _takes_linux32() -> bool:
    """Whether personality(2) takes PER_LINUX32, which arm64 refuses where no CPU runs 32-bit programs.

    The calling thread has it for the two system calls between which it is put back.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = int(libc.personality(ctypes.c_ulong(_QUERY)))
    if before < 0 or libc.personality(ctypes.c_ulong(_PER_LINUX32)) < 0:
        return ctypes.get_errno() != errno.EINVAL
    libc.personality(ctypes.c_ulong(before))
    return True


def _makes_map(number: int) -> bool:
    """Whether a small map of this type can be made."""
    sizes = (0, 0, os.sysconf("SC_PAGE_SIZE")) if number == MapType.RINGBUF else (4, 4, 1)
    try:
        os.close(map_create(number, *sizes))
    except OSError:
        return False
    return True
