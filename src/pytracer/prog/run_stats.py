"""How often programs run, and for how long: the kernel counts while somebody asks it to.

Counting costs each run of each program two looks at the clock. It is on for as long as a descriptor of
BPF_ENABLE_STATS is open (Linux 5.8, d46edd671a14): it ends with the process, however that ends. Who had it on
by the sysctl, or by a descriptor, is not disturbed: the kernel counts them all. Before 5.8 there is only the
sysctl, which is put back as it was; a process that is killed leaves it on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from pytracer.bpf.sys import Command, bpf
from pytracer.kernel.policy import explain
from pytracer.prog.program_list import KernelProgram, ProgramLister
from pytracer.record import record

_RUN_TIME = 0  # BPF_STATS_RUN_TIME
SYSCTL = Path("/proc/sys/kernel/bpf_stats_enabled")  # Linux 5.1 (492ecee892c2)
_NEEDED = ("CAP_SYS_ADMIN",)


@contextlib.contextmanager
def count_runs() -> Iterator[None]:
    """Have the kernel count, for the length of the block. Raises what the kernel's refusal means."""
    try:
        descriptor = bpf(Command.ENABLE_STATS, struct.pack("I", _RUN_TIME))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise explain(error, "counting the runs of programs", needed=_NEEDED) from error
        with _by_sysctl():
            yield
        return
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _by_sysctl() -> Iterator[None]:
    try:
        before = SYSCTL.read_text()
        if not int(before):
            SYSCTL.write_text("1")
    except OSError as error:
        raise explain(error, "counting the runs of programs", needed=_NEEDED) from error
    try:
        yield
    finally:
        if not int(before):
            SYSCTL.write_text(before)


@record
class RunCount:
    """What a program did since it was looked at before: ``runs``, the ``time`` they took (ns), and the runs
    that were skipped as one was under way on that CPU already (``missed``; None: the kernel does not say)."""

    program: KernelProgram
    runs: int
    time: int
    missed: int | None


class RunCounter:
    """All programs and what they do, from one look to the next, while the kernel counts."""

    def __init__(self) -> None:
        """Take the first look. Raises OSError."""
        self._programs = ProgramLister()
        self._begun = self._looked = time.monotonic()
        self._first = self._before = self._seen = self._programs.list()

    def look(self) -> tuple[list[RunCount], float]:
        """What each did since the last look, and the seconds since then. Raises OSError."""
        programs, now = self._programs.list(), time.monotonic()
        ran, seconds = since(self._before, programs), now - self._looked
        self._before, self._looked = programs, now
        self._seen = self._seen | programs
        return ran, seconds

    @property
    def programs(self) -> dict[int, KernelProgram]:
        """The programs that were there at the last look, by id."""
        return self._before

    def whole(self) -> tuple[list[RunCount], float]:
        """The same since the first look; of programs that have gone, up to when they were last seen."""
        return since(self._first, self._seen), self._looked - self._begun


def since(before: Mapping[int, KernelProgram], now: Mapping[int, KernelProgram]) -> list[RunCount]:
    """What programs did between two looks. One that is new was loaded in between: ids are not used again."""
    return [_since(before.get(number), program) for number, program in now.items()]


def _since(before: KernelProgram | None, program: KernelProgram) -> RunCount:
    info, then = program.info, before.info if before else None
    missed = info.recursion_misses
    if missed is not None and then is not None:
        missed -= then.recursion_misses or 0
    runs = info.run_count - (then.run_count if then else 0)
    return RunCount(program, runs, info.run_time - (then.run_time if then else 0), missed)
