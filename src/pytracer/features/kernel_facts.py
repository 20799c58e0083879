"""The facts about the running kernel that a plan needs, found by feature probes.

Each probe runs once; most take some tens of microseconds. Nothing stays loaded or attached after the object
is dropped, and nothing that others trace is disturbed. The probe of a kind of hook is beside its attacher, in
:mod:`pytracer.bpf.attach`.

Without privileges nothing can be tried: then hooks that may exist are reported as supported with
``was_tried`` False, and a plan can still be shown.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytracer.bpf.attach import attacher_of
from pytracer.bpf.attach.kind import LoadAttributes
from pytracer.bpf.cache import type_answers
from pytracer.bpf.prober import FeatureProber, require_answer
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import ATOMIC_FETCH_ADD, EMPTY, LOOP, READS_BEYOND, helper_refusal
from pytracer.errors import HeadersError, PytracerError
from pytracer.features.program_needs import ProgramNeeds, describe_lack
from pytracer.features.table.uses import NOTHING, ProgramUses
from pytracer.kernel import tracefs
from pytracer.kernel.btf import Btf
from pytracer.kernel.facts import FoundTargets, FunctionTypes, ProcessStart, Support
from pytracer.kernel.running_types import recall_by, running_types
from pytracer.record import replace
from pytracer.spec import FunctionCode, Probe, ProbeSite, Source
from pytracer.targets import find

if TYPE_CHECKING:
    from pytracer.targets.machine_code import CodeReader

_X86_ABI = Path("/proc/sys/abi/vsyscall32")  # arch/x86/entry/vdso/vdso32-setup.c, CONFIG_COMPAT_32
_PROC_SYS = Path("/proc/sys")
_PER_LINUX32, _QUERY = 0x0008, 0xFFFFFFFF  # include/uapi/linux/personality.h


class RunningKernel(FeatureProber):
    """The running kernel, as :class:`pytracer.kernel.facts.KernelInfo`."""

    def __init__(self) -> None:
        """Create the facts; features are probed on demand."""
        super().__init__()
        recall_by(type_answers.recall)
        self._answers: dict[Probe, Support] = {}
        self._described: dict[ProbeSite, FunctionTypes | None] = {}
        self._helpers: dict[int, bool] = {}
        self._needs = ProgramNeeds()

    @property
    def architecture(self) -> str:
        """The machine name of uname: ``x86_64``, ``aarch64``, ..."""
        return os.uname().machine

    @functools.cached_property
    def runs_compat(self) -> bool:
        """True if 32-bit programs can run beside 64-bit ones, or that is unknown."""
        if self.architecture == "x86_64":
            return _X86_ABI.exists() or not _PROC_SYS.is_dir()
        if self.architecture == "aarch64":
            return _accepts_linux32()
        return True

    def has_helper(self, number: int) -> bool:
        """Return whether programs may call the BPF helper of this number; True if that cannot be tried."""
        if number not in self._helpers:
            self._helpers[number] = bool(self.missing_capabilities) or self._try_helper(number)
        return self._helpers[number]

    def has_map_type(self, number: int) -> bool:
        """Return whether a map of this type can be created; True if that cannot be tried."""
        return bool(self.missing_capabilities) or self._needs.has_map_type(number)

    def may_call(self, attributes: LoadAttributes, number: int) -> bool:
        """Return whether a program that is loaded so may call a helper; True if that cannot be tried."""
        return self._needs.may_call(attributes, number)

    def describe_lack(self, probe: Probe, uses: ProgramUses) -> str:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        if uses is NOTHING or self.missing_capabilities:
            return ""
        return describe_lack(self, attacher_of(probe).load_attributes(probe), uses)

    def may_read(self, attributes: LoadAttributes, fields: tuple[tuple[int, int], ...]) -> bool:
        """Return whether such a program may read these fields of its context."""
        return self._needs.may_read(attributes, fields)

    @functools.cached_property
    def has_loops(self) -> bool:
        """True if the verifier accepts loops, or that cannot be tried."""
        return bool(self.missing_capabilities) or self.can_load(self._kind, LOOP)

    @functools.cached_property
    def has_atomic_fetch(self) -> bool:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        return bool(self.missing_capabilities) or self.can_load(self._kind, ATOMIC_FETCH_ADD)

    def probe(self, probe: Probe) -> Support:
        """Test whether ``probe`` can be attached, and return its name here. Results are cached."""
        # Of the user's targets only their presence matters: it decides how a program gets its target id.
        question = replace(probe, program="", optional=False, when="", targets=(0,) if probe.targets else ())
        if question not in self._answers:
            self._answers[question] = attacher_of(probe).check_support(probe, self)
        return self._answers[question]

    @functools.cached_property
    def types(self) -> Btf | None:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        try:
            return running_types()
        except HeadersError:
            return None

    def function_types(self, site: ProbeSite) -> FunctionTypes | None:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        from pytracer.symbols import program_files
        from pytracer.targets import debug_info

        if site not in self._described:
            self._described[site] = None
            key = site.file, site.holder, site.identity
            # If the file is removed meanwhile, attaching reports it.
            with contextlib.suppress(PytracerError), program_files.find(*key) as file:
                self._described[site] = debug_info.describe(file, site.name, site.offset)
        return self._described[site]

    def code(self, site: ProbeSite) -> FunctionCode:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        return self._code.code(site)

    def entry(self, site: ProbeSite) -> int:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        return self._code.entry(site)

    def variable(self, site: ProbeSite, name: str) -> tuple[int, int] | None:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        from pytracer.symbols import program_files
        from pytracer.symbols.variables import find_variable

        with program_files.find(site.file, site.holder, site.identity) as file:
            return find_variable(file.tables, name.encode(), site.offset)

    def is_go(self, site: ProbeSite) -> bool:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        return self._code.is_go(site)

    def event_format(self, name: str) -> str:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        return tracefs.event_format(name).decode("utf-8", "backslashreplace")

    def find(self, source: Source) -> FoundTargets:
        """Find the targets that a user's source names here. Raises as
        :class:`pytracer.kernel.facts.KernelInfo` says."""
        return find(source)

    def maps_file(self, pids: Sequence[int], identity: tuple[int, ...]) -> bool:
        """Return whether one of these processes has mapped code of the file with this identity."""
        from pytracer.symbols import program_files

        return any(program_files.maps(pid, identity) for pid in pids)

    def start_of(self, process: int, command: tuple[str, ...] = ()) -> ProcessStart:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        from pytracer.targets.process_starts import start_of

        return start_of(process, command)

    def _try_helper(self, number: int) -> bool:
        try:
            return not helper_refusal(self._kind, number)
        except OSError as error:
            require_answer(error)
            return False

    @functools.cached_property
    def _code(self) -> CodeReader:
        from pytracer.targets.machine_code import CodeReader

        return CodeReader()

    @functools.cached_property
    def _kind(self) -> ProgType:
        """A program type that can be loaded."""
        if self.can_load(ProgType.RAW_TRACEPOINT, READS_BEYOND):
            return ProgType.RAW_TRACEPOINT
        return ProgType.KPROBE if self.can_load(ProgType.KPROBE, EMPTY) else ProgType.TRACEPOINT


def _accepts_linux32() -> bool:
    """Return whether personality(2) accepts PER_LINUX32; arm64 refuses it if no CPU runs 32-bit programs.

    The calling thread has it only between two system calls.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    personality = int(libc.personality(ctypes.c_ulong(_QUERY)))
    if personality < 0 or libc.personality(ctypes.c_ulong(_PER_LINUX32)) < 0:
        return ctypes.get_errno() != errno.EINVAL
    libc.personality(ctypes.c_ulong(personality))
    return True
