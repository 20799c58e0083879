"""Give the kernel a program's lines of C: ``bpftool prog dump`` and the verifier log show them.

BCC gives the compiler's line table only to the kernel. So :mod:`pytracer.bpf.compile.line_table` loads as
many no-op instructions as the program has, under its name, and asks the kernel for the lines that BCC
passed. BCC lacks the text of lines where ``#line`` names a file; it is added here. The image keeps the
result, and every start loads it. BCC inserts lines before and into functions; a ``#line`` on either side
of a function's brace (``bpf/compile/source.py``) keeps the numbers right.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable, Iterator
from itertools import starmap

from pytracer.bpf.sys import btf_load
from pytracer.record import record

RECORD = struct.Struct("=IIII")  # struct bpf_line_info: insn_off, file_name_off, line_off, line_col
FUNCTION = struct.Struct("=II")  # struct bpf_func_info: insn_off, type_id
LINE_SHIFT = 10
# The "source" of a packet filter's prologue: always the first strings of the BTF, so that their offsets are
# known.
FILTER = (b"--filter", b"the packet filter, from classic BPF")
_FILTER_AT = (1, 1 + len(FILTER[0]) + 1)


@record
class FuncLineInfo:
    """Debug information that is loaded with a program: the positions of its functions and their types in its
    BTF (``struct bpf_func_info`` records), and its ``lines`` (``struct bpf_line_info`` records)."""

    functions: bytes
    lines: bytes

    def shift(self, prologue: int) -> FuncLineInfo:
        """Return the records shifted by ``prologue`` instructions, which then belong to the first
        function."""
        if not prologue:
            return self
        functions = [
            (insn + prologue if insn else 0, kind) for insn, kind in FUNCTION.iter_unpack(self.functions)
        ]
        shifted_lines = list(starmap(RECORD.pack, _moved(RECORD.iter_unpack(self.lines), prologue)))
        if shifted_lines:
            shifted_lines.insert(0, RECORD.pack(0, *_FILTER_AT, 1 << LINE_SHIFT))
        return FuncLineInfo(b"".join(FUNCTION.pack(*record) for record in functions), b"".join(shifted_lines))

    def called_from(self, caller: int) -> FuncLineInfo:
        """Return the records with a function of ``caller`` instructions before the first one, which it calls:
        with that one's name and first line."""
        functions, lines = list(FUNCTION.iter_unpack(self.functions)), list(RECORD.iter_unpack(self.lines))
        return FuncLineInfo(
            b"".join(starmap(FUNCTION.pack, [*functions[:1], *_moved(functions, caller)])),
            b"".join(starmap(RECORD.pack, [*lines[:1], *_moved(lines, caller)])),
        )

    def matches(self, code: bytes) -> bool:
        """Return whether the kernel would accept the records with that code."""
        return _are_valid(FUNCTION, self.functions, code) and _are_valid(RECORD, self.lines, code)


NO_DEBUG_INFO = FuncLineInfo(b"", b"")


def _moved(records: Iterable[tuple[int, ...]], by: int) -> Iterator[tuple[int, ...]]:
    return ((insn + by, *fields) for insn, *fields in records)


def _are_valid(form: struct.Struct, records: bytes, code: bytes) -> bool:
    if len(records) % form.size:
        return False
    places = [record[0] for record in form.iter_unpack(records)]
    ordered = places == sorted(set(places))
    return not places or (ordered and places[0] == 0 and places[-1] * 8 < len(code))


def load_btf(data: bytes) -> int:
    """Load BTF and return its descriptor; -1 if the kernel refuses it: programs load without it as well."""
    if data:
        with contextlib.suppress(OSError):
            return btf_load(data)
    return -1
