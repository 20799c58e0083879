"""The kernel's functions, from /proc/kallsyms: reading takes some 40 ms, so it waits for the first look-up.

kallsyms has no sizes. A symbol of the kernel proper, or of a module, extends to the next symbol of the
same; the last one of a module to the end of its page, for behind it may be anything. Code that the kernel
generates (BPF programs, trampolines) lies among other such code that has no symbols: classic BPF filters,
and programs that sysctls hide. There a symbol extends as far as the program's size is known from elsewhere,
or else covers its first instruction alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from pytracer.arrays import Array, np
from pytracer.text import from_bytes

KALLSYMS = Path("/proc/kallsyms")
_PAGE = 4096  # bytes: the smallest, and so the least that a module is given
_RUN_TIME = ("[bpf]", "[__builtin_")  # where modules have their name
_CODE = b"tTwW"


class KernelSymbols:
    """Names of addresses in the kernel and its modules."""

    def __init__(
        self, path: Path = KALLSYMS, programs: Callable[[], Iterable[tuple[int, int]]] = tuple
    ) -> None:
        """Create the table, which is read on demand. ``programs`` returns the address ranges of BPF
        programs."""
        self._path, self._programs = path, programs
        self._sizes: dict[int, int] = {}
        self._read = False
        self._text = b""
        self._starts: Array = np.zeros(0, np.uint64)
        self._places: Array = np.zeros(0, np.intp)
        self._is_code: Array = np.zeros(0, bool)
        self._core = (0, 0)
        self._width = 16

    @property
    def hidden(self) -> bool:
        """True if the kernel hides the addresses of its functions (kernel.kptr_restrict)."""
        self.load()
        return not len(self._starts)

    def names(self, addresses: Array) -> list[str]:
        """Return the function at each address (uint64, shape (n,)); ``0x...`` if it is not known."""
        self.load()
        if self.hidden:
            return [f"0x{address:x}" for address in addresses.tolist()]
        rows = np.searchsorted(self._starts, addresses, side="right").astype(np.intp) - 1
        low, high = self._core
        core = (addresses >= low) & (addresses < high)
        is_known = (rows >= 0) & self._is_code[np.maximum(rows, 0)]
        for row in np.flatnonzero(is_known & ~core).tolist():
            is_known[row] = self._reaches(int(rows[row]), int(addresses[row]))
        return [
            self._name(row) if is_found else f"0x{address:x}"
            for row, is_found, address in zip(
                rows.tolist(), is_known.tolist(), addresses.tolist(), strict=True
            )
        ]

    def _reaches(self, row: int, address: int) -> bool:
        """Return whether a symbol outside of the kernel proper, the last before an address, covers that
        address."""
        start, module = int(self._starts[row]), self._module(row)
        if module.startswith(_RUN_TIME):
            return address - start < self._sizes.get(start, 1)
        following = row + 1 < len(self._starts) and self._is_code[row + 1]
        if following and self._module(row + 1) == module:
            return True
        return address // _PAGE == start // _PAGE

    def address(self, name: str) -> int:
        """Return the address of the first symbol with a name; 0 if it is unknown or hidden."""
        self.load()
        return self._address(name.encode())

    def _name(self, row: int) -> str:
        return self._line(row).partition("\t")[0]

    def _module(self, row: int) -> str:
        return self._line(row).partition("\t")[2]

    def _line(self, row: int) -> str:
        begin = int(self._places[row]) + self._width + 3
        return from_bytes(self._text[begin : self._text.find(b"\n", begin)])

    def load(self) -> None:
        """Read the symbols once. Code that is loaded for a time (modules, BPF programs) has symbols only
        then."""
        if self._read:
            return
        self._read = True
        self._sizes = {start: end - start for start, end in self._programs()}
        with contextlib.suppress(OSError):
            self._text = self._path.read_bytes()
        self._width = width = max(self._text.find(b" "), 0)
        data = np.frombuffer(self._text, np.uint8)
        places = np.concatenate(([0], np.flatnonzero(data == ord("\n")) + 1))[:-1].astype(np.intp)
        if not len(places) or width not in (8, 16):
            return
        starts = np.zeros(len(places), np.uint64)
        for column in range(width):
            digit = data[places + column]
            value = np.where(digit >= ord("a"), digit - (ord("a") - 10), digit - ord("0"))
            starts = starts << np.uint64(4) | value.astype(np.uint64)
        if not starts.any():
            return
        is_code = np.isin(data[places + width + 1], np.frombuffer(_CODE, np.uint8))
        order = np.lexsort((~is_code, starts))
        # Of several at one address the first, as the kernel itself does.
        order = order[np.concatenate(([True], np.diff(starts[order]) != 0))]
        self._starts, self._places, self._is_code = starts[order], places[order], is_code[order]
        self._core = self._address(b"_stext"), self._address(b"_etext")

    def _address(self, name: bytes) -> int:
        position = self._text.find(b" " + name + b"\n")
        return (
            int(self._text[self._text.rfind(b"\n", 0, position) + 1 :][: self._width], 16)
            if position >= 0
            else 0
        )
