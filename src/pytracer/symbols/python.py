"""Find CPython's interpreter in a file, and name the functions that it runs.

See "Functions of Python" in docs/internals.md.
"""

from __future__ import annotations

import os
import re
import struct
from functools import partial
from pathlib import Path

from pytracer.arrays import Array, np
from pytracer.record import record
from pytracer.symbols import symtab
from pytracer.symbols.elf_tables import Tables
from pytracer.symbols.python_layouts import Version, find_layout, pack
from pytracer.symbols.python_lines import LineTable, read_line_table
from pytracer.symbols.unwind.cold_part import find_cold_part
from pytracer.text import from_bytes

FUNCTION = 1 << 63
"""PT_PYTHON_FUNCTION of probes_c/include/python_frames.h: marks a code object in a stack."""
_NUMBER = 48  # PT_PYTHON_NUMBER: the bit that the number of its name begins at
_NUMBER_LIMIT = (1 << 63 - _NUMBER) - 1
_ADDRESS = (1 << _NUMBER) - 1
_ALIGNMENT = 16  # of objects; where a call returns to, 1 is subtracted
_RUNTIME, _EVAL, _VERSION = b"_PyRuntime", b"_PyEval_EvalFrameDefault", b"Py_Version"
_FILE = re.compile(r"(?:lib)?python3(?:\.(\d{1,3}))?")
_TABLES_LIMIT = 8 << 20  # bytes of all line tables
_WIDTHS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}


@record
class Interpreter:
    """The places of an interpreter in its file, as the file numbers addresses. ``eval_size`` is the size of
    _PyEval_EvalFrameDefault, ``cold_start`` and ``cold_size`` are of the part that the compiler has put
    elsewhere. ``version`` is the place of Py_Version; before Python 3.11, which has none, 0, and ``minor``
    is from the file's name."""

    runtime: int
    version: int
    eval_start: int
    eval_size: int
    cold_start: int = 0
    cold_size: int = 0
    minor: int = 0


def find_interpreter(file: Tables) -> Interpreter | None:
    """Find the interpreter in a file; None if it has none. Raises ElfError, OverBudgetError, OSError."""
    match = _FILE.match(Path(f"/proc/self/fd/{file.descriptor}").readlink().name)
    if match is None:
        return None
    found = dict[bytes, tuple[int, int]]()
    for symbols, strings, _ in symtab.raw_tables(file):
        for symbol_name in (_RUNTIME, _EVAL, _VERSION):
            is_match = np.isin(symbols["name"], symtab.name_offsets_of(symbol_name, strings))
            matches = symbols[is_match & (symbols["shndx"] != 0)]
            if len(matches):
                found[symbol_name] = int(matches[0]["value"]), int(matches[0]["size"])
    version, _ = found.get(_VERSION, (0, 0))
    minor = int(match[1] or 0)
    if _RUNTIME not in found or _EVAL not in found or not (version or minor):
        return None
    cold_start, cold_end = find_cold_part(file, *found[_EVAL])
    return Interpreter(
        found[_RUNTIME][0], version, *found[_EVAL], cold_start, cold_end - cold_start, 0 if version else minor
    )


def locate(interpreter: Interpreter, pid: int, bias: int) -> bytes | None:
    """Return the ``struct pt_python`` of a process that has the interpreter's file at ``bias``, the distance
    of its addresses from the file's; None if the version is none that is known."""
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            read = partial(os.pread, memory.fileno())
            version: Version = 3, interpreter.minor
            if interpreter.version:
                number = int.from_bytes(read(8, interpreter.version + bias), "little")
                version = number >> 24, number >> 16 & 0xFF
            runtime = interpreter.runtime + bias
            layout = find_layout(version, lambda size: read(size, runtime))
    except (OSError, OverflowError):
        return None
    if layout is None:
        return None
    return struct.pack(
        "=QQQQQ",
        runtime + layout.interpreters,
        interpreter.eval_start + bias,
        interpreter.eval_size,
        interpreter.cold_start + bias,
        interpreter.cold_size,
    ) + pack(version, layout)


class FunctionNames:
    """The names of Python functions by their numbers, from the map ``python_names``."""

    def __init__(self) -> None:
        """Start without names."""
        self._names = [""]
        self._lines = dict[int, tuple[str, LineTable | None]]()  # by number: the name without a line
        self._room = _TABLES_LIMIT

    def __len__(self) -> int:
        """Return the number that the next name has: the first is 1."""
        return len(self._names)

    def add(self, values: Array) -> None:
        """Add the next elements of the map, struct pt_python_name, shape (n,)."""
        for value in values:
            name = _decode(value["name"], value["name_size"], value["name_width"])
            path = _decode(value["file"], value["file_size"], value["file_width"]).rpartition("/")[2]
            text = name or f"0x{value['code']:x}"
            if path and "table" in (value.dtype.names or ()):  # with PT_PYTHON_LINES
                table = read_line_table(value, self._room)
                self._room -= 0 if table is None else len(table.data)
                self._lines[len(self._names)] = f"{text} ({path}:", table
            self._names.append(f"{text} ({path}:{value['line']})" if path else text)

    def find(self, addresses: Array) -> list[str]:
        """Return the name of each function in a stack (uint64 with FUNCTION, shape (n,))."""
        names = list[str]()
        for address in addresses.tolist():
            code = (address & _ADDRESS) + _ALIGNMENT - 1 & -_ALIGNMENT
            number = address >> _NUMBER & _NUMBER_LIMIT
            is_known = 0 < number < len(self._names)
            if number in self._lines:
                prefix, table = self._lines[number]
                line = None if table is None else table.find((code >> 4) - 1)
                names.append(f"{prefix}{'-' if line is None else line})")
                continue
            names.append(self._names[number] if is_known else f"[python 0x{code:x}]")
        return names


def _decode(text: bytes, size: int, width: int) -> str:
    """Return the text of ``size`` bytes in characters of ``width`` bytes; empty if there is none."""
    if width not in _WIDTHS:
        return ""
    characters = text.ljust(size, b"\0")[:size].decode(_WIDTHS[width], "replace")
    return from_bytes(characters.encode())
