"""Read LEB128 numbers, many at a time."""

from __future__ import annotations

from pytracer.arrays import Array, np

PADDING = 16  # bytes that follow what is read, so that a number at its end has an end
_HUGE = 1 << 40  # stands for each number that is larger


def read_uleb(code: Array, at: Array, *, is_signed: bool = False) -> tuple[Array, Array]:
    """Read a LEB128 number at each place: the numbers (int64), and where they end. Those of more than 40
    bits are read as a number that is too large for anything."""
    limit = len(code) - 1
    at = np.minimum(at, limit).astype(np.int64)
    last = code[at]
    values, bits = (last & 0x7F).astype(np.int64), np.full(len(at), 7)
    ends = at + 1
    longer = np.flatnonzero(last & 0x80)
    shift = 7
    while len(longer) and shift < 70:
        byte = code[np.minimum(ends[longer], limit)]
        last[longer] = byte
        if shift < 42:
            values[longer] |= (byte & 0x7F).astype(np.int64) << shift
        else:
            values[longer] = np.where(byte & 0x7F, _HUGE, values[longer])
        ends[longer] += 1
        bits[longer] += 7
        longer = longer[byte & 0x80 != 0]
        shift += 7
    values[longer] = _HUGE
    if is_signed:
        negative = (last & 0x40 != 0) & (bits < 49)
        values = np.where(negative, values - (np.int64(1) << np.minimum(bits, 48)), values)
        values[bits >= 49] = _HUGE
    return np.minimum(values, _HUGE), ends
