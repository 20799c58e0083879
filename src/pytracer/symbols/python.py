"""Find CPython's interpreter in a file, and name the functions that it runs.

See "Functions of Python" in docs/internals.md.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Sequence
from pathlib import Path

from pytracer.arrays import Array, np
from pytracer.record import record
from pytracer.symbols import symtab
from pytracer.symbols.elf_tables import Tables
from pytracer.text import from_bytes

FUNCTION = 1 << 63
"""PT_PYTHON_FUNCTION of probes_c/include/python_frames.h: marks a code object in a stack."""
_ALIGNMENT = 16  # of objects; where a call returns to, 1 is subtracted
_NAMES = (b"_PyRuntime", b"_PyEval_EvalFrameDefault", b"Py_Version")
_FILE = re.compile(r"(lib)?python3")

# By version: the offset of interpreters.head in _PyRuntime, and the members of struct pt_python:
# interpreter_threads, thread_next, thread_id, thread_cframe, cframe_frame, frame_code, frame_previous,
# frame_is_entry, code_filename, code_qualname, code_firstlineno, text_length, text_state, text_data.
_OFFSETS: dict[tuple[int, int], tuple[int, Sequence[int]]] = {
    (3, 11): (40, (16, 8, 152, 56, 8, 32, 48, 68, 112, 128, 72, 16, 32, 48)),
}


@record
class Interpreter:
    """The places of an interpreter in its file, as the file numbers addresses. ``eval_size`` is the size of
    _PyEval_EvalFrameDefault."""

    runtime: int
    version: int
    eval_start: int
    eval_size: int


def find_interpreter(file: Tables) -> Interpreter | None:
    """Find the interpreter in a file; None if it has none. Raises ElfError, OverBudgetError, OSError."""
    if not _FILE.match(Path(f"/proc/self/fd/{file.descriptor}").readlink().name):
        return None
    found = dict[bytes, tuple[int, int]]()
    for symbols, strings, _ in symtab.raw_tables(file):
        for symbol_name in _NAMES:
            is_match = np.isin(symbols["name"], symtab.name_offsets_of(symbol_name, strings))
            matches = symbols[is_match & (symbols["shndx"] != 0)]
            if len(matches):
                found[symbol_name] = int(matches[0]["value"]), int(matches[0]["size"])
    if len(found) < len(_NAMES):
        return None
    runtime, evaluate, version = (found[symbol_name] for symbol_name in _NAMES)
    return Interpreter(runtime[0], version[0], *evaluate)


def locate(interpreter: Interpreter, pid: int, bias: int) -> bytes | None:
    """Return the ``struct pt_python`` of a process that has the interpreter's file at ``bias``, the distance
    of its addresses from the file's; None if the version is none that is known."""
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            version = os.pread(memory.fileno(), 8, interpreter.version + bias)
    except (OSError, OverflowError):
        return None
    if len(version) != 8:
        return None
    number = int.from_bytes(version, "little")
    known = _OFFSETS.get((number >> 24, number >> 16 & 0xFF))
    if known is None:
        return None
    head, members = known
    start = interpreter.eval_start + bias
    return struct.pack(
        f"=QQQ{len(members)}I",
        interpreter.runtime + bias + head,
        start,
        start + interpreter.eval_size,
        *members,
    )


class FunctionNames:
    """The names of Python functions by process and code object, from the map ``python_codes``."""

    def __init__(self) -> None:
        """Start without names."""
        self._names = dict[tuple[int, int], str]()

    def add(self, keys: Array, values: Array) -> None:
        """Add entries of the map: struct pt_python_code and struct pt_python_name, shape (n,)."""
        for pid, code, line, name, file in zip(
            keys["pid"].tolist(),
            keys["code"].tolist(),
            values["line"].tolist(),
            values["name"].tolist(),
            values["file"].tolist(),
            strict=True,
        ):
            text = from_bytes(name.partition(b"\0")[0]) or f"0x{code:x}"
            path = from_bytes(file.partition(b"\0")[0]).rpartition("/")[2]
            self._names[pid, code] = f"{text} ({path}:{line})" if path else text

    def find(self, pid: int, addresses: Array) -> list[str]:
        """Return the name of each function in a stack (uint64 with FUNCTION, shape (n,))."""
        codes = (addresses & np.uint64(FUNCTION - 1)) + np.uint64(_ALIGNMENT - 1)
        codes &= np.uint64(FUNCTION - _ALIGNMENT)
        return [self._names.get((pid, code), f"[python 0x{code:x}]") for code in codes.tolist()]
