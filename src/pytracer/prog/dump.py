"""Dump one program: its lines of C, its instructions, its native code, its maps."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from typing import Any

from pytracer.arrays import load, np
from pytracer.bpf.obj_info import ProgramInfo, SourceLine, read_program
from pytracer.bpf.objects import ObjectKind, open_object
from pytracer.errors import PytracerError, UnknownNameError
from pytracer.kernel.policy import describe_errno, explain
from pytracer.prog.disassembly import BytecodeLine, KernelReferenceFormatter, listing
from pytracer.prog.link_targets import TargetNames
from pytracer.prog.map_contents import MapContents, read_contents
from pytracer.prog.native_code import NativeInstruction, disassemble_program
from pytracer.prog.program_list import KernelMap, ProgramLister, read_kernel_map
from pytracer.prog.program_tables import NEEDED, context, row
from pytracer.prog.run_stats import RunCount
from pytracer.record import record
from pytracer.symbols.kernel import KernelSymbols

HIDDEN = "the kernel hides it from this process (net.core.bpf_jit_harden, kernel.kptr_restrict)"
NONE = "there is none: this kernel interprets"


@record
class ProgramDump:
    """A program with its code. ``facts`` are its columns of :mod:`pytracer.prog.program_tables`.

    Instructions and native code are paired with the line of C that begins there. Native code begins at the
    address ``begin``; ``hint`` says why it is missing or cannot be disassembled. ``unseen`` says which
    processes were not searched for descriptors of it.
    """

    facts: dict[str, Any]
    info: ProgramInfo
    maps: tuple[tuple[KernelMap, MapContents], ...]
    bytecode: tuple[tuple[SourceLine | None, BytecodeLine], ...]
    native: tuple[tuple[SourceLine | None, NativeInstruction], ...]
    begin: int
    hint: str
    unseen: tuple[str, ...] = ()


def dump_program(name: str, *, entries: int) -> ProgramDump:
    """Read the program of that id, and ``entries`` entries of each of its maps.

    Raises UnknownNameError if there is none, or the error that explains the kernel's refusal.
    """
    try:
        programs = ProgramLister().list()
        if not name.isdecimal() or int(name) not in programs:
            raise UnknownNameError(
                "program", name, map(str, programs), where_listed="pytracer prog lists them"
            )
        number = int(name)
        program = programs[number]
        table_context = context(programs, TargetNames())
        facts = row(RunCount(program, 0, 0, None), 0, table_context)
        with open_object(ObjectKind.PROGRAM, number) as descriptor:
            info = read_program(descriptor)
        tables = tuple(_iter_tables(info, entries))
    except FileNotFoundError:
        raise PytracerError(f"program {name} has gone while it was looked at") from None
    except OSError as error:
        raise explain(error, f"looking at program {name}", capabilities=NEEDED) from error
    symbols = KernelSymbols()
    names = KernelReferenceFormatter({table.info.id: table.info.name for table, _ in tables}, symbols)
    begin = info.functions[0].address if info.functions else 0

    def name_of(address: int) -> str:
        return symbols.names(np.array([address], np.uint64))[0]

    load()
    code, hint = disassemble_program(info, name_of=name_of)
    by_insn = _Lines((line.insn, line) for line in info.lines)
    by_address = _Lines((line.address, line) for line in info.lines if line.address)
    return ProgramDump(
        facts=facts,
        unseen=table_context.unseen,
        info=info,
        maps=tables,
        bytecode=tuple(
            (by_insn.new(instruction.number), instruction) for instruction in listing(info.xlated, names)
        ),
        native=tuple((by_address.new(instruction.address), instruction) for instruction in code),
        begin=begin,
        hint=hint if info.jited else HIDDEN if info.jited_size else NONE,
    )


class _Lines:
    """The lines of C of a program, sorted by their start."""

    def __init__(self, lines: Iterable[tuple[int, SourceLine]]) -> None:
        ordered = sorted(lines, key=lambda pair: pair[0])
        self._starts = [start for start, _ in ordered]
        self._lines = [line for _, line in ordered]
        self._last: SourceLine | None = None

    def new(self, insn: int) -> SourceLine | None:
        """Return the line at the position ``insn``, or None if it is the same as at the last call."""
        index = bisect.bisect_right(self._starts, insn) - 1
        line = self._lines[index] if index >= 0 else None
        if line == self._last:
            return None
        self._last = line
        return line


def _iter_tables(info: ProgramInfo, entries: int) -> Iterator[tuple[KernelMap, MapContents]]:
    for number in info.map_ids:
        with open_object(ObjectKind.MAP, number) as descriptor:
            table = read_kernel_map(descriptor)
            try:
                yield table, read_contents(descriptor, table.info, entries)
            except OSError as error:
                yield table, MapContents(None, reason=describe_errno(error.errno or 0).lower())
