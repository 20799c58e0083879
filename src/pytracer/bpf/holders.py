"""Find the processes that hold programs and links, by their descriptors.

Processes may end and descriptors may change meanwhile: what disappears is left out.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from pytracer.bpf import process_mark
from pytracer.bpf.objects import file_info
from pytracer.bpf.sys import Command, address, bpf_inout
from pytracer.budget import OverBudgetError, current
from pytracer.kernel import hidden
from pytracer.kernel.policy import effective_capabilities
from pytracer.procfs import living
from pytracer.record import default_factory, record, replace
from pytracer.text import from_bytes

PROC = Path("/proc")
_BPF, _PERF = "anon_inode:bpf", "anon_inode:[perf_event]"
_OFTEN = 256  # descriptors between two checks of the budget
_NAME = 256  # bytes for the name of a function or event, or the path of a file
_TRACEPOINT, _UPROBES = 1, ("u", "ur")
_SPELLINGS = ("rt", "t", "k", "kr", "u", "ur")  # of enum bpf_task_fd_type


@record
class Process:
    """A process that holds BPF objects. ``tracer`` is the tracer that pytracer runs in it, "" for other
    processes; ``loaded`` the ids of the programs that it loaded."""

    pid: int
    comm: str
    tracer: str = ""
    loaded: frozenset[int] = frozenset()

    def __str__(self) -> str:
        return f"{f'pytracer {self.tracer}' if self.tracer else self.comm} ({self.pid})"


@record
class EventProgram:
    """A program on a perf event: the probed place (``k:vfs_read``), and the process and descriptor that hold
    the event."""

    program: int
    where: str
    process: int
    descriptor: int


@record
class Holders:
    """The processes that hold each program and link, by id; the programs on perf events; and for each network
    namespace (its inode) a process in it. ``refused`` counts the processes whose descriptors may not be
    read."""

    programs: dict[int, list[Process]] = default_factory(factory=dict)
    links: dict[int, list[Process]] = default_factory(factory=dict)
    events: list[EventProgram] = default_factory(factory=list)
    networks: dict[int, int] = default_factory(factory=dict)
    refused: int = 0


def find_holders() -> Holders:
    """Search the descriptors of all visible processes.

    A process may have a million descriptors: the time is charged to its user's budget.
    """
    holders, refused_count = Holders(), 0
    for process in PROC.iterdir():
        if process.name.isdecimal():
            try:
                account = current().account(process.stat().st_uid, f"process {process.name}")
                with account.timed():
                    _search_process(process, holders, account.check)
            except PermissionError:
                refused_count += 1
            except (OSError, OverBudgetError):
                continue  # it has ended, or the budget has warned
    return replace(holders, refused=refused_count)


def describe_refused(holders: Holders) -> list[str]:
    """Describe which processes could not be searched, and why; empty if all could."""
    lines = [line for line in (hidden.describe_pid_namespace(), hidden.describe_hidepid()) if line]
    if holders.refused:
        count = f"{holders.refused} process{'es' * (holders.refused > 1)}"
        lacking = "" if "CAP_SYS_PTRACE" in effective_capabilities() else " without CAP_SYS_PTRACE"
        lines.append(f"the descriptors of {count} may not be read{lacking}")
    return lines


def _search_process(process: Path, holders: Holders, check: Callable[[], None]) -> None:
    pid = int(process.name)
    process = PROC / str(living(pid, PROC))
    with contextlib.suppress(OSError):
        holders.networks.setdefault((process / "ns/net").stat().st_ino, pid)
    programs, links, events = set[int](), set[int](), set[EventProgram]()
    for number, target in _iter_descriptors(process, check):
        if target == _PERF:
            events.update(_find_event_program(int(process.name), number, pid))
        elif target.startswith(_BPF):
            info = file_info((process / "fdinfo" / str(number)).read_text())
            if "prog_id" in info:  # of a program, or of a link
                programs.add(int(info["prog_id"]))
            if "link_id" in info:
                links.add(int(info["link_id"]))
    programs.update(event.program for event in events)
    if programs or links:
        tracer, loaded_ids = process_mark.read_mark(process)
        comm = from_bytes((PROC / str(pid) / "comm").read_bytes().removesuffix(b"\n"))
        holder = Process(pid, comm, tracer, loaded_ids)
        for number in programs:
            holders.programs.setdefault(number, []).append(holder)
        for number in links:
            holders.links.setdefault(number, []).append(holder)
        holders.events.extend(events)


def _iter_descriptors(process: Path, check: Callable[[], None]) -> Iterator[tuple[int, str]]:
    """Yield each descriptor and its link target. There may be tens of thousands: paths stay strings."""
    with os.scandir(f"{process}/fd") as entries:
        for number, entry in enumerate(entries):
            if number % _OFTEN == 0:
                check()
            with contextlib.suppress(FileNotFoundError):  # it was closed
                yield int(entry.name), os.readlink(entry.path)  # noqa: PTH115


def _find_event_program(thread: int, descriptor: int, process: int) -> Iterator[EventProgram]:
    """Yield the program on a perf event, if there is one, by BPF_TASK_FD_QUERY (Linux 4.18, 41bdc4b40ed6). It
    does not report programs that take samples (BPF_PROG_TYPE_PERF_EVENT)."""
    name = bytearray(_NAME)
    try:
        _, attr = bpf_inout(
            Command.TASK_FD_QUERY, struct.pack("IIIIQ", thread, descriptor, 0, len(name), address(name))
        )
    except OSError:
        return
    program, kind, offset, place_address = struct.unpack_from("IIQQ", attr, 24)
    if kind < len(_SPELLINGS):
        text = bytes(name).partition(b"\0")[0].decode(errors="replace")
        yield EventProgram(
            program, format_target(_SPELLINGS[kind], text, offset, place_address), process, descriptor
        )


def format_target(kind: str, name: str, offset: int = 0, address: int = 0) -> str:
    """Format a probed place as users name it: ``k:vfs_read``, ``k:vfs_read+8``, ``u:/bin/bash:0x1234``."""
    if kind in _UPROBES:
        return f"{kind}:{name}:{offset:#x}"
    if not name and address:
        return f"{kind}:{address:#x}"
    return f"{kind}:{name}{f'+{offset}' if offset else ''}"
