"""Find the part of a function that the compiler has put elsewhere, since it seldom runs.

Its symbol is local (``NAME.cold``), so that a stripped file has none. But the function jumps to it, and call
frame information says where it begins and ends.
"""

from __future__ import annotations

import contextlib

from pytracer.arrays import Array, np
from pytracer.symbols.elf_tables import Tables, content
from pytracer.symbols.unwind import entries

_FUNCTION_LIMIT = 1 << 20  # bytes
_JUMPS = 4  # into the same code from all places of a function: more than a call at its end is
_JUMP, _TWO_BYTES, _CONDITIONAL = 0xE9, 0x0F, 0x80  # with a distance of four bytes


def find_cold_part(file: Tables, start: int, size: int) -> tuple[int, int]:
    """Return where the cold part of a function begins and ends; 0 and 0 if it has none.

    Raises ElfError, OverBudgetError, OSError.
    """
    offset = file.offset_of(start)
    if offset is None or size > _FUNCTION_LIMIT:
        return 0, 0
    targets = _find_jumps(np.frombuffer(content(file.descriptor, offset, size), np.uint8)) + start
    targets = targets[(targets < start) | (targets >= start + size)]
    best, limits = 0, (0, 0)
    with contextlib.ExitStack() as held:
        for section in entries.sections(file, held):
            found = entries.read(section, file.account, held)
            order = np.argsort(found.starts, kind="stable")
            starts, ends = found.starts[order], found.ends[order]
            index = np.searchsorted(starts, targets, side="right") - 1
            index = index[(index >= 0) & (targets < ends[index]) & (targets > starts[index])]
            counts = np.bincount(index, minlength=1)
            most = int(counts.argmax())
            if counts[most] > max(best, _JUMPS - 1):
                best, limits = int(counts[most]), (int(starts[most]), int(ends[most]))
    return limits


def _find_jumps(code: Array) -> Array:
    """Return the targets of what may be jumps, as distances from the start of the code (int64, shape (n,)).

    Instructions are not decoded: a distance that is none leads out of the file, but for one in thousands.
    """
    padded = np.append(code, np.zeros(6, np.uint8))
    plain = np.flatnonzero(code == _JUMP) + 1
    conditional = (
        np.flatnonzero((code == _TWO_BYTES) & (padded[1 : len(code) + 1] & 0xF0 == _CONDITIONAL)) + 2
    )
    at = np.concatenate((plain, conditional))
    distances = padded[at[:, None] + np.arange(4)].view("<i4")[:, 0]
    return np.asarray(at + 4 + distances.astype(np.int64))
