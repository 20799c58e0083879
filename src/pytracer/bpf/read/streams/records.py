"""Find records in a ring, and copy them into rows.

A ring is a sequence of records, each after its length, each beginning at a multiple of 8 bytes. If all have
the same length, they are at a fixed stride, and NumPy reads them in place. Otherwise each begins where the
one before it ends: ``record_offsets`` finds thousands at once by doubling: from the record after each place
follows the second after it, the fourth, and so on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from pytracer.arrays import Array, np

CHUNK = 1 << 20  # bytes of a ring that are read at a time: copies stay small, and room is released early
_BLOCK = 4096  # words of 8 bytes that are searched at a time: the tables stay in the processor's cache
_GATHERED = 1 << 18  # words that are copied at a time
_ROWS = 1 << 24  # maximum bytes of one result: all rows are as wide as the longest


class MemoryBarrier:
    """A memory barrier between accesses to a ring.

    The ring is shared with the kernel: a record's length must be read before its contents, and these before
    its room is released. x86 keeps that order by itself, arm64 does not. Releasing a lock orders all accesses
    before it, acquiring one all that follow.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def __call__(self) -> None:
        """Order all accesses before the call before all that follow. For one thread."""
        self._lock.release()
        self._lock.acquire()


def read_rest(read: Callable[..., Array | None]) -> int:
    """Read all records that are left, and return their number."""
    count = 0
    while (records := read(last=True)) is not None:
        count += len(records)
    return count


def record_offsets(step: Array) -> tuple[Array, int]:
    """Find the record starts 0, step[0], ...: ``step[i]`` is the length in words of the record at word ``i``
    (0: there is none that can be read).

    Returns the starts (ascending), and the word at which the chain leaves the array or ends.
    """
    words = len(step)
    parts = []
    start = 0
    while start < words:
        block = step[start : start + _BLOCK]
        size = len(block)
        # The end of the block, and places where nothing can be read, lead to one place that leads to itself.
        jump = np.empty(size + 1, dtype=np.intp)
        jump[:size] = np.where(block > 0, np.minimum(np.arange(size) + block, size), size)
        jump[size] = size
        visited = np.zeros(1, dtype=np.intp)
        while True:
            next_offset = jump[visited]
            if next_offset[-1] == size:
                visited = np.concatenate((visited, next_offset[next_offset < size]))
                break
            visited = np.concatenate((visited, next_offset))
            jump = jump[jump]
        last = int(visited[-1])
        if block[last] == 0:
            parts.append(start + visited[:-1])
            return np.concatenate(parts), start + last
        parts.append(start + visited)
        start += last + int(block[last])
    return (np.concatenate(parts) if parts else np.zeros(0, dtype=np.intp)), start


def count_fitting(lengths: Array) -> int:
    """Return how many of the first records, of ``lengths`` bytes, to copy at a time: at least one if any."""
    if not len(lengths):
        return 0
    sizes = np.maximum.accumulate(lengths) * np.arange(1, len(lengths) + 1)
    return max(int(np.searchsorted(sizes, _ROWS, side="right")), 1)


def string_member(dtype: np.dtype[np.void]) -> str | None:
    """Return the name of the last member if it is a string or bytes, which a record may hold in part."""
    assert dtype.names is not None
    assert dtype.fields is not None
    fields = dtype.fields
    last = max(dtype.names, key=lambda name: fields[name][1])
    member = fields[last][0]
    return last if member.kind == "S" or (member.base == np.uint8 and len(member.shape) == 1) else None


def resize_dtype(dtype: np.dtype[np.void], size: int) -> np.dtype[np.void]:
    """Return the type with its last member resized, so that the whole is ``size`` bytes."""
    last = string_member(dtype)
    if last is None or size == dtype.itemsize:
        return dtype
    assert dtype.names is not None
    assert dtype.fields is not None
    fields = {name: dtype.fields[name][:2] for name in dtype.names}
    kind, offset = fields[last]
    padded_size = max(size - offset, 1)
    fields[last] = (
        np.dtype(f"S{padded_size}") if kind.kind == "S" else np.dtype((np.uint8, (padded_size,))),
        offset,
    )
    return np.dtype({
        "names": list(fields),
        "formats": [kind for kind, _ in fields.values()],
        "offsets": [offset for _, offset in fields.values()],
        "itemsize": offset + padded_size,
    })  # fmt: skip


def compact(data: Array, offsets: Array, lengths: Array) -> tuple[Array, Array]:
    """Copy only these records of ``data`` (see ``gather``), one after the other. Returns them and their
    offsets."""
    source = data[: len(data) // 4 * 4].view(np.uint32)
    words = -(-lengths // 4)
    starts = np.cumsum(words) - words
    positions = np.repeat(offsets // 4 - starts, words) + np.arange(int(words.sum()))
    return source[np.minimum(positions, len(source) - 1)].view(np.uint8), starts * 4


def gather(data: Array, offsets: Array, lengths: Array, dtype: np.dtype[np.void]) -> Array:
    """Copy records of ``lengths`` bytes at ``offsets`` (multiples of 4) of ``data`` (bytes) into rows of
    ``dtype``.

    If the type ends with a string, that gets as much room as the longest of these records needs. Records that
    are shorter than the type are padded with zeros; longer ones (padding) are cut.
    """
    longest = -(-int(lengths.max(initial=0)) // 8) * 8
    dtype = resize_dtype(dtype, min(longest, dtype.itemsize))
    size = dtype.itemsize
    words = -(-size // 4)
    rows = np.zeros((len(offsets), words * 4), dtype=np.uint8)
    source = data[: len(data) // 4 * 4].view(np.uint32)
    step = max(_GATHERED // words, 1)
    for first in range(0, len(offsets), step):
        part = slice(first, first + step)
        width = min(-(-int(lengths[part].max()) // 4), words)
        # A word behind the last record's end is masked below, but must exist.
        positions = np.minimum(offsets[part, None] // 4 + np.arange(width), len(source) - 1)
        rows[part, : width * 4] = source[positions].view(np.uint8)
        rows[part, : width * 4] *= np.arange(width * 4) < lengths[part, None]
    return np.ascontiguousarray(rows[:, :size]).reshape(-1).view(dtype)


def sort_by_time(rows: Array) -> Array:
    """Sort the rows by their member ``ns``; those of equal time keep their order."""
    times = rows["ns"]
    return rows if (times[1:] >= times[:-1]).all() else rows[np.argsort(times, kind="stable")]
