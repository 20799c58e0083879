"""Build BTF for tests, type by type."""

from __future__ import annotations

import struct

from pytracer.kernel.btf import Btf, BtfKind

# The ids of what ``basic`` begins with.
INT, CHAR, LONG = 1, 2, 3


class Builder:
    """Builds BTF type by type; every method returns the new type's id."""

    def __init__(self, *, tidy: bool = True) -> None:
        self.types: list[bytes] = []
        self.strings = b"\0"
        self.tidy = tidy

    def string(self, text: str) -> int:
        data = text.encode() + b"\0"
        if not text:
            return 0
        offset = self.strings.find(b"\0" + data)
        if offset < 0 or not self.tidy:
            self.strings += data
            return len(self.strings) - len(data)
        return offset + 1

    def add(
        self, kind: BtfKind, name: str, last: int, *words: int, count: int = 0, flag: bool = False
    ) -> int:
        info = kind << 24 | count | flag << 31
        head = (self.string(name), info, last, *words)
        self.types.append(struct.pack(f"={len(head)}I", *(w & 0xFFFFFFFF for w in head)))
        return len(self.types)

    def int(self, name: str, size: int, *, encoding: int = 1, bits: int = 0, offset: int = 0) -> int:
        return self.add(BtfKind.INT, name, size, encoding << 24 | offset << 16 | (bits or size * 8))

    def ptr(self, target: int) -> int:
        return self.add(BtfKind.PTR, "", target)

    def array(self, element: int, length: int) -> int:
        return self.add(BtfKind.ARRAY, "", 0, element, INT, length)

    def typedef(self, name: str, target: int) -> int:
        return self.add(BtfKind.TYPEDEF, name, target)

    def struct(self, name: str, size: int, *members: tuple[str, int, int], union: bool = False) -> int:
        """Add a struct. Members are (name, type id, offset in bits)."""
        words = [w for m, t, bit_offset in members for w in (self.string(m), t, bit_offset)]
        return self.add(BtfKind.UNION if union else BtfKind.STRUCT, name, size, *words, count=len(members))

    def bits(self, name: str, size: int, *members: tuple[str, int, int, int]) -> int:
        """Add a struct with bit-fields. Members are (name, type id, offset in bits, width in bits, 0 for
        none)."""
        words = [w for m, t, bit_offset, n in members for w in (self.string(m), t, bit_offset | n << 24)]
        return self.add(BtfKind.STRUCT, name, size, *words, count=len(members), flag=True)

    def enum(self, name: str, values: dict[str, int], *, size: int = 4, flag: bool = False) -> int:
        words = [w for k, v in values.items() for w in (self.string(k), v)]
        return self.add(BtfKind.ENUM, name, size, *words, count=len(values), flag=flag)

    def enum64(self, name: str, values: dict[str, int], *, flag: bool = False) -> int:
        words = [w for k, v in values.items() for w in (self.string(k), v, v >> 32)]
        return self.add(BtfKind.ENUM64, name, 8, *words, count=len(values), flag=flag)

    def data(self, *, order: str = "=") -> bytes:
        types = b"".join(self.types)
        head = struct.pack(f"{order}HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self.strings))
        return head + types + self.strings

    def btf(self) -> Btf:
        return Btf(self.data())


def basic(**options: bool) -> Builder:
    builder = Builder(**options)
    builder.int("int", 4)
    builder.int("char", 1)
    builder.int("long int", 8)
    return builder
