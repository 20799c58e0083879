"""Count the runs of programs and their time, by the kernel's statistics.

They cost each run of each program two readings of the clock. They are on for as long as a descriptor of
BPF_ENABLE_STATS is open (Linux 5.8, d46edd671a14), and so end with the process. Others who enabled them by
the sysctl or a descriptor are not disturbed: the kernel counts its users. Before 5.8 there is only the
sysctl, which is restored; a process that is killed leaves it on.
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
from pytracer.errors import UnsupportedError
from pytracer.features.table.changes import RUN_COUNTS
from pytracer.kernel.policy import explain
from pytracer.prog.program_list import KernelProgram, ProgramLister
from pytracer.record import record

_RUN_TIME = 0  # BPF_STATS_RUN_TIME
SYSCTL = Path("/proc/sys/kernel/bpf_stats_enabled")  # Linux 5.1 (492ecee892c2)
_NEEDED = ("CAP_SYS_ADMIN",)


@contextlib.contextmanager
def count_runs() -> Iterator[None]:
    """Enable the statistics for the length of the block. Raises UnsupportedError if the kernel has none, or
    the error that explains its refusal."""
    try:
        descriptor = bpf(Command.ENABLE_STATS, struct.pack("I", _RUN_TIME))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise explain(error, "counting the runs of programs", capabilities=_NEEDED) from error
        with _enable_by_sysctl():
            yield
        return
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _enable_by_sysctl() -> Iterator[None]:
    try:
        saved = SYSCTL.read_text()
        if not int(saved):
            SYSCTL.write_text("1")
    except FileNotFoundError:
        raise UnsupportedError(RUN_COUNTS.absence, hint="pytracer prog list shows all but the runs") from None
    except OSError as error:
        raise explain(error, "counting the runs of programs", capabilities=_NEEDED) from error
    try:
        yield
    finally:
        if not int(saved):
            SYSCTL.write_text(saved)


@record
class RunCount:
    """The statistics of a program since the last reading: ``runs``, their total ``time`` (ns), and the runs
    that were skipped since one was under way on that CPU (``missed``). None: the kernel does not report
    it."""

    program: KernelProgram
    runs: int | None
    time: int | None
    missed: int | None


class RunCounter:
    """Reads the statistics of all programs repeatedly while they are enabled."""

    def __init__(self) -> None:
        """Take the first reading. Raises OSError."""
        self._programs = ProgramLister()
        self._begun = self._looked = time.monotonic()
        self._first = self._before = self._seen = self._programs.list()

    def look(self) -> tuple[list[RunCount], float]:
        """Return the statistics of each program since the last reading, and the seconds since. Raises
        OSError."""
        programs, now = self._programs.list(), time.monotonic()
        ran, seconds = subtract(self._before, programs), now - self._looked
        self._before, self._looked = programs, now
        self._seen = self._seen | programs
        return ran, seconds

    @property
    def programs(self) -> dict[int, KernelProgram]:
        """The programs at the last reading, by id."""
        return self._before

    def whole(self) -> tuple[list[RunCount], float]:
        """Return the statistics since the first reading; of unloaded programs, until they were last seen."""
        return subtract(self._first, self._seen), self._looked - self._begun


def subtract(earlier: Mapping[int, KernelProgram], now: Mapping[int, KernelProgram]) -> list[RunCount]:
    """Compare two readings. A new program was loaded in between: ids are not reused."""
    return [_subtract_run(earlier.get(number), program) for number, program in now.items()]


def _subtract_run(earlier_program: KernelProgram | None, program: KernelProgram) -> RunCount:
    info, earlier_info = program.info, earlier_program.info if earlier_program else None
    misses = info.recursion_misses
    if misses is not None and earlier_info is not None:
        misses -= earlier_info.recursion_misses or 0
    if not info.counts_runs:
        return RunCount(program, None, None, misses)
    runs = info.run_count - (earlier_info.run_count if earlier_info else 0)
    return RunCount(program, runs, info.run_time - (earlier_info.run_time if earlier_info else 0), misses)
