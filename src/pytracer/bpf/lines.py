"""Where the lines of C are among a program's instructions, for the kernel to keep with the program.

Whoever looks at such a program has its C beside it: pytracer, ``bpftool prog dump``, and the verifier's log.
:mod:`pytracer.bpf.line_table` makes them.
"""

from __future__ import annotations

import contextlib
import struct

from pytracer.bpf.sys import btf_load
from pytracer.record import record

RECORD = struct.Struct("=IIII")  # struct bpf_line_info: insn_off, file_name_off, line_off, line_col
LINE_SHIFT = 10
# What stands before a program that filters packets: always the first strings, so that their places are known.
FILTER = (b"--filter", b"the packet filter, from classic BPF")
_FILTER_AT = (1, 1 + len(FILTER[0]) + 1)


@record
class Told:
    """What the kernel is told of one program: the type of its function in the BTF that goes with it, and
    ``struct bpf_line_info``s."""

    function: int
    records: bytes

    def behind(self, prologue: int) -> bytes:
        """The records where so many instructions stand before the program."""
        if not prologue or not self.records:
            return self.records
        moved = [RECORD.pack(at + prologue, *rest) for at, *rest in RECORD.iter_unpack(self.records)]
        return RECORD.pack(0, *_FILTER_AT, 1 << LINE_SHIFT) + b"".join(moved)

    def fits(self, code: bytes) -> bool:
        """Whether the kernel would take these lines with this code."""
        if len(self.records) % RECORD.size:
            return False
        places = [record[0] for record in RECORD.iter_unpack(self.records)]
        ordered = places == sorted(set(places))
        return not places or (ordered and places[0] == 0 and places[-1] * 8 < len(code))


NOTHING = Told(0, b"")


def load_btf(data: bytes) -> int:
    """A descriptor of that BTF; -1 where the kernel does not take it: it is for people."""
    if data:
        with contextlib.suppress(OSError):
            return btf_load(data)
    return -1
