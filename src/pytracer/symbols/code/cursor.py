"""A reader of the encodings that DWARF and its relatives use. Truncated data is an ElfError."""

from __future__ import annotations

from pytracer.symbols.elf_tables import ElfError

_OMITTED = 0xFF  # DW_EH_PE_omit
_LEB_BYTES = 10  # of a number with 64 bits
_SIZES = {2: (2, False), 3: (4, False), 4: (8, False), 10: (2, True), 11: (4, True), 12: (8, True)}


class Cursor:
    """Reads ``data``, which is loaded at ``address``, from the position ``position`` on."""

    def __init__(self, data: bytes, address: int, position: int = 0) -> None:
        self.data = data
        self.address = address
        self.position = position

    @property
    def here(self) -> int:
        """Address of the next byte to read."""
        return self.address + self.position

    def number(self, size: int, *, signed: bool = False) -> int:
        """Read a number of ``size`` bytes."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def take(self, size: int) -> bytes:
        """Read ``size`` bytes."""
        data = self.data[self.position : self.position + size]
        if size < 0 or len(data) != size:
            raise ElfError("call frame information ends too early")
        self.position += size
        return data

    def text(self) -> bytes:
        """Read bytes up to a NUL."""
        end = self.data.find(b"\0", self.position)
        if end < 0:
            raise ElfError("call frame information ends too early")
        text = self.data[self.position : end]
        self.position = end + 1
        return text

    def uleb(self) -> int:
        """Read an unsigned LEB128 number."""
        return self._leb()[0]

    def sleb(self) -> int:
        """Read a signed LEB128 number."""
        value, bits, last = self._leb()
        return value - (1 << bits) if last & 0x40 else value

    def pointer(self, encoding: int, word: int, data: int = 0) -> int | None:
        """Read an encoded pointer (DW_EH_PE_*). DW_EH_PE_datarel pointers are relative to ``data``.

        Returns the address, or None if the pointer is omitted. For an indirect pointer, returns the address
        at which the dynamic linker writes it.
        """
        if encoding == _OMITTED:
            return None
        base = {0: 0, 0x10: self.here, 0x30: data, 0x40: 0}.get(encoding & 0x70)
        kind = encoding & 0xF
        if base is None:
            raise ElfError(f"call frame information has a pointer of unknown encoding {encoding:#x}")
        if kind == 1:
            value = self.uleb()
        elif kind == 9:
            value = self.sleb()
        elif kind in (0, 8):
            value = self.number(word, signed=kind == 8)
        elif kind in _SIZES:
            size, signed = _SIZES[kind]
            value = self.number(size, signed=signed)
        else:
            raise ElfError(f"call frame information has a pointer of unknown encoding {encoding:#x}")
        return (base + value) & ((1 << 8 * word) - 1) if value else 0

    def _leb(self) -> tuple[int, int, int]:
        value = bits = 0
        for _ in range(_LEB_BYTES):
            byte = self.number(1)
            value |= (byte & 0x7F) << bits
            bits += 7
            if not byte & 0x80:
                return value, bits, byte
        raise ElfError("call frame information has a number without an end")
