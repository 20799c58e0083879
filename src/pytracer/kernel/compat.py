"""Warn about 32-bit programs, whose system calls raise no events of the category syscalls."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from pytracer.procfs import PROC, living

EVENTS = "t:syscalls:"
_ELF32 = b"\x7fELF\x01"  # EI_CLASS is ELFCLASS32


def is_32_bit(path: Path | str) -> bool:
    """Return whether a file is a 32-bit program; False if it cannot be read."""
    with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
        return file.read(len(_ELF32)) == _ELF32
    return False


class CompatTarget(Protocol):
    """The parts of a request that name programs: the process filters and the command."""

    @property
    def processes(self) -> Sequence[int]:
        """The named processes."""
        ...

    @property
    def command(self) -> Sequence[str]:
        """The words of the command."""
        ...


def warnings(targets: Sequence[str], named: CompatTarget) -> Iterator[str]:
    """Yield a warning if the named processes or the command raise no such events.

    The kernel leaves them out for compat calls (ARCH_TRACE_IGNORE_COMPAT_SYSCALLS; x86 and arm64).
    """
    if not any(target.startswith(EVENTS) for target in targets):
        return
    for name in named_32_bit(named):
        yield (
            f"{name} is a 32-bit program: its system calls raise no events {EVENTS}* "
            "(pytracer syscalls counts them)"
        )


def named_32_bit(named: CompatTarget) -> Iterator[str]:
    """Yield which of the named processes and command are 32-bit programs."""
    command = named.command
    programs = [(f"process {pid}", f"/proc/{living(pid)}/exe") for pid in named.processes]
    import shutil  # not before there is an event of a system call

    if command and (path := shutil.which(command[0])):
        programs.append((command[0], path))
    yield from (name for name, path in programs if is_32_bit(path))


def running_32_bit(proc: Path = PROC) -> str:
    """Name a process that runs a 32-bit program, or say that there are too many to look; "" if none does."""
    processes = [entry.name for entry in proc.iterdir() if entry.name.isdecimal()]
    if len(processes) > _MAX_PROCESSES:
        return f"one of {len(processes)} processes"
    for pid in processes:
        if is_32_bit(proc / str(living(int(pid), proc)) / "exe"):
            return f"process {pid}"
    return ""


_MAX_PROCESSES = 20_000  # of which each takes some ten microseconds
