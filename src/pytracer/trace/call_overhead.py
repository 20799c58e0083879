"""Measure how much of the time that is shown for a call of a program's function is the probes' own.

The time between the probe on the entry and the one at the return contains the end of the first exception and
the beginning of the second. It is measured on functions of this process: machine code in an anonymous file
that nobody else maps.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress

from pytracer.bpf.asm.assembler import DW, R0, R1, R2, R3, R4, R6, R10, Assembler, HelperId, W
from pytracer.bpf.attach import uprobe, uprobe_multi
from pytracer.bpf.sys import Command, MapType, ProgType, address, bpf, map_create
from pytracer.bpf.trial import load
from pytracer.errors import PytracerError
from pytracer.model import CallOverhead
from pytracer.plan import Plan
from pytracer.record import record
from pytracer.spec import Point, ProbeSite, Unit, UprobeMulti, Uretprobe, UretprobeMulti, UserProbe
from pytracer.symbols.code.uprobe_limits import is_emulated

_WARM_UP, _CALLS = 50, 300
_SITES = 1000  # entries that are read: what is not read counts as single-stepped
_INSTRUCTION = 6  # bytes, enough to tell


@record
class _Function:
    """Machine code of a function that does nothing, and the offset of its return instruction."""

    code: bytes
    exit: int


@record
class _AnonymousFile:
    """A file without a name, as uprobe.attach_sites takes it."""

    path: str
    name: str = "pytracer's own function"


# By whether the kernel emulates their first instruction: push rbp; pop rbp; ret, and mov rax, rdi; ret.
_FUNCTIONS = {True: _Function(b"\x55\x5d\xc3", 2), False: _Function(b"\x48\x89\xf8\xc3", 3)}


def measure_overhead(plan: Plan) -> CallOverhead | None:
    """Measure the overhead in the times of calls that a plan measures by probes in programs.

    Returns None if it measures no such calls, on machines other than x86-64, or if the kernel refuses. It
    takes some hundredths of a second.
    """
    if platform.machine() != "x86_64":
        return None
    if not any(column.unit is Unit.NANOSECONDS for column in plan.schema.columns):
        return None
    probes = [one.probe for one in plan.targets.probes if isinstance(one.probe, UserProbe)]
    by_link = any(isinstance(probe, UprobeMulti) for probe in probes)
    at_return = any(
        isinstance(probe, (Uretprobe, UretprobeMulti)) for probe in probes if Point.RETURN in probe.at
    )
    measured = dict[bool, int]()
    with suppress(OSError, PytracerError):
        for emulated in sorted(set(_first_instructions(probes)), reverse=True):
            measured[emulated] = _measure(_FUNCTIONS[emulated], by_link=by_link, at_return=at_return)
    if not measured:
        return None
    return CallOverhead(measured.get(True), measured.get(False), time.time())


def _first_instructions(probes: Sequence[UserProbe]) -> Iterator[bool]:
    """Yield whether the kernel emulates the first instruction, for each entry of a function."""
    for probe in probes:
        if Point.ENTRY not in probe.at:
            continue
        for file, sites, _ in uprobe.iter_site_groups(probe):
            for site in sites[:_SITES]:
                yield is_emulated(os.pread(file.descriptor, _INSTRUCTION, site.offset))
            if len(sites) > _SITES:
                yield False


def _measure(function: _Function, *, by_link: bool, at_return: bool) -> int:
    """Return the median of the times that probes show for calls of a function, in ns.

    ``by_link``: by links of uprobe.multi, else by perf events; ``at_return``: by the kernel's return probe.
    Raises OSError, PytracerError.
    """
    attach = uprobe_multi.attach_sites if by_link else uprobe.attach_sites
    with ExitStack() as stack:
        file, call = _map_function(function, stack)
        starts = map_create(MapType.HASH, 8, 8, 64)
        stack.callback(os.close, starts)
        times = map_create(MapType.ARRAY, 4, 8, 1)
        stack.callback(os.close, times)
        entry, end = ProbeSite("entry", 0), ProbeSite("exit", 0 if at_return else function.exit)
        for code, site, is_return in (
            (_entry_program(starts), entry, False),
            (_return_program(starts, times), end, at_return),
        ):
            program = load(ProgType.KPROBE, code, attach_type=uprobe_multi.ATTACH_TYPE if by_link else 0)
            stack.callback(os.close, program)
            for link in attach(file, [site], program, at_return=is_return):
                stack.callback(link.close)
        key, value = bytearray(4), bytearray(8)
        lookup = struct.pack("IxxxxQQQ", times, address(key), address(value), 0)
        samples = []
        for _ in range(_WARM_UP + _CALLS):
            call()
            bpf(Command.MAP_LOOKUP_ELEM, lookup)
            samples.append(int.from_bytes(value, "little"))
    return sorted(samples[_WARM_UP:])[_CALLS // 2]


def _map_function(function: _Function, stack: ExitStack) -> tuple[_AnonymousFile, Callable[[], int]]:
    """Map a function from an anonymous file. Returns the file, and the function to call. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    descriptor = os.memfd_create("pytracer", os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    os.write(descriptor, function.code.ljust(mmap.PAGESIZE, b"\0"))
    protection = mmap.PROT_READ | mmap.PROT_EXEC
    start = libc.mmap(None, mmap.PAGESIZE, protection, mmap.MAP_PRIVATE, descriptor, 0)
    if start == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap of executable memory")
    stack.callback(libc.munmap, start, mmap.PAGESIZE)
    return _AnonymousFile(f"/proc/self/fd/{descriptor}"), ctypes.CFUNCTYPE(ctypes.c_long)(start)


def _entry_program(starts: int) -> bytes:
    """Return the code of a program that stores the time of a call, as funclatency's does."""
    a = Assembler()
    a.call(HelperId.get_current_pid_tgid)
    a.store(DW, R10, -8, R0)
    a.call(HelperId.ktime_get_ns)
    a.store(DW, R10, -16, R0)
    _update_map(a, starts, key=-8, value=-16)
    a.mov(R0, 1)
    a.exit()
    return a.assemble()


def _return_program(starts: int, times: int) -> bytes:
    """Return the code of a program that stores the time since the call began."""
    a = Assembler()
    a.call(HelperId.ktime_get_ns)
    a.mov(R6, R0)
    a.call(HelperId.get_current_pid_tgid)
    a.store(DW, R10, -8, R0)
    a.load_map(R1, starts)
    a.mov(R2, R10)
    a.add(R2, -8)
    a.call(HelperId.map_lookup_elem)
    a.jump_if(R0, "==", 0, "out")
    a.load(DW, R1, R0, 0)
    a.alu(R6, "-=", R1)
    a.store(DW, R10, -8, R6)
    a.store(W, R10, -12, 0)
    _update_map(a, times, key=-12, value=-8)
    a.label("out")
    a.mov(R0, 1)
    a.exit()
    return a.assemble()


def _update_map(a: Assembler, fd: int, *, key: int, value: int) -> None:
    """Append the update of a map; key and value are at these offsets from the end of the stack."""
    a.load_map(R1, fd)
    a.mov(R2, R10)
    a.add(R2, key)
    a.mov(R3, R10)
    a.add(R3, value)
    a.mov(R4, 0)
    a.call(HelperId.map_update_elem)
