"""The kernel's own type information (BTF), read without any library.

``Btf.load()`` reads ``/sys/kernel/btf/vmlinux``; ``Btf(data)`` takes the same bytes from anywhere else.
The format is the one of Documentation/bpf/btf.rst: a header, a section of type records of varying length
and a section of NUL-terminated names. Types are numbered from 1 in the order they stand; 0 is ``void``.

Speed decides the shape of this module. A kernel has some 130,000 types, and a cold start pays for every
one of them, so the only eager work is one pass that notes where each record begins. Names are looked up,
and then decoded, when somebody asks. Nothing here trusts the data: whatever is wrong with it (cut short,
numbers that point outside, types that contain themselves) is a ``HeadersError``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import accumulate, count
from operator import add
from pathlib import Path

from pytracer.errors import HeadersError
from pytracer.kernel.btf_format import (
    FLAG,
    KIND_MASK,
    KIND_SHIFT,
    VLEN_MASK,
    BtfArray,
    BtfKind,
    BtfMember,
    IntInfo,
    Proto,
    Steps,
    sections,
)

__all__ = [
    "COMPOSITES",
    "ENUMS",
    "MODIFIERS",
    "VMLINUX",
    "Btf",
    "BtfArray",
    "BtfKind",
    "BtfMember",
    "IntInfo",
    "Proto",
]

VMLINUX = Path("/sys/kernel/btf/vmlinux")


_KINDS = tuple(BtfKind)
COMPOSITES = (BtfKind.STRUCT, BtfKind.UNION)
ENUMS = (BtfKind.ENUM, BtfKind.ENUM64)
# What says something about a type without changing its layout.
MODIFIERS = frozenset({BtfKind.VOLATILE, BtfKind.CONST, BtfKind.RESTRICT, BtfKind.TYPE_TAG})
_SEE_THROUGH = MODIFIERS | {BtfKind.TYPEDEF}

# No sane type nests deeper; one that contains itself does.
_DEEP = 64
_WIDE = 100_000  # members, with those of inner ones


class Btf:
    """The types in ``data`` (a whole BTF blob). Type ids are those of the blob; 0 is ``void``.

    Raises ``HeadersError`` where the data is not BTF, is of the other byte order, or contradicts itself:
    on construction for what one pass can see, in the methods for the rest.
    """

    def __init__(self, data: bytes, *, origin: str = "BTF", has_enum_signs: bool = False) -> None:
        """Parse the header. ``has_enum_signs``: the sign flag of enums is valid even if none has it."""
        self.origin = origin
        self._words, self._strings = sections(data, origin)
        words, end = self._words, len(self._words)
        positions = [0]
        note, steps = positions.append, Steps()
        position = 0
        try:
            while position < end:
                note(position)
                position += steps[words[position + 1]]
        except IndexError:
            position = -1
        if position != end:
            raise HeadersError(f"{origin} is cut short: its last type runs past the end")
        self._positions = positions
        self._infos = frozenset(steps)
        self._ids: dict[tuple[BtfKind, ...], list[int]] = {}
        self._offsets: dict[bytes, int] | None = None
        self._split_positions: dict[bytes, list[int]] = {}
        self._last: dict[int, int] | None = None
        self._signs: bool | None = has_enum_signs or None
        self._others: dict[int, list[int]] = {}

    @classmethod
    def load(cls, path: str | Path = VMLINUX) -> Btf:
        """Read a BTF file; the default is the running kernel's. ``HeadersError`` if it cannot be read."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise HeadersError(
                f"cannot read kernel types from {path}: {error.strerror}",
                hint="the kernel must be built with CONFIG_DEBUG_INFO_BTF=y",
            ) from error
        return cls(data, origin=str(path))

    def __len__(self) -> int:
        """Return the number of type ids, ``void`` included: valid ids are ``range(len(btf))``."""
        return len(self._positions)

    # One type

    def _position_of(self, type_id: int) -> int:
        if not 0 < type_id < len(self._positions):
            raise HeadersError(f"{self.origin} is damaged: it has no type {type_id}")
        return self._positions[type_id]

    def _checked_position(self, type_id: int, *kinds: BtfKind) -> int:
        position = self._position_of(type_id)
        if self.kind(type_id) not in kinds:
            raise HeadersError(f"{self.origin}: type {type_id} is no {' or '.join(k.name for k in kinds)}")
        return position

    def kind(self, type_id: int) -> BtfKind:
        """Return the kind of a type."""
        return (
            _KINDS[self._words[self._position_of(type_id) + 1] >> KIND_SHIFT & KIND_MASK]
            if type_id
            else BtfKind.VOID
        )

    def name(self, type_id: int) -> str:
        """Return the type's own name, "" if it has none."""
        return self.string(self._words[self._position_of(type_id)]) if type_id else ""

    def target(self, type_id: int) -> int:
        """Return the type id that a pointer, typedef, modifier, function, variable or tag refers to."""
        return self._words[self._position_of(type_id) + 2]

    def integer(self, type_id: int) -> IntInfo:
        """Return the encoding of an INT."""
        position = self._checked_position(type_id, BtfKind.INT)
        data = self._words[position + 3]
        code = data >> 24 & 0xF
        return IntInfo(
            self._words[position + 2],
            data & 0xFF,
            data >> 16 & 0xFF,
            bool(code & 1),
            bool(code & 2),
            bool(code & 4),
        )

    def array(self, type_id: int) -> BtfArray:
        """Return element type and length of an ARRAY."""
        position = self._checked_position(type_id, BtfKind.ARRAY)
        return BtfArray(self._words[position + 3], self._words[position + 5])

    def fwd_is_union(self, type_id: int) -> bool:
        """Return whether a forward declaration (FWD) is one of a union."""
        return bool(self._words[self._checked_position(type_id, BtfKind.FWD) + 1] & FLAG)

    def member_count(self, type_id: int) -> int:
        """Count the members of a struct or union; those of unnamed inner ones are not counted."""
        return self._words[self._checked_position(type_id, *COMPOSITES) + 1] & VLEN_MASK

    def members(self, type_id: int) -> list[BtfMember]:
        """Return the declared members of a struct or union; unnamed inner structs are not expanded."""
        position = self._checked_position(type_id, *COMPOSITES)
        words, info = self._words, self._words[position + 1]
        members = []
        for i in range(position + 3, position + 3 + 3 * (info & VLEN_MASK), 3):
            offset, bits = words[i + 2], 0
            if info & FLAG:
                offset, bits = offset & VLEN_MASK, offset >> 24
            else:
                # Older compilers describe a bit-field by an integer type that is smaller than its storage.
                base = self.resolve(words[i + 1])
                if base and self.kind(base) is BtfKind.INT:
                    integer = self.integer(base)
                    if integer.offset or integer.bits != integer.size * 8:
                        offset, bits = offset + integer.offset, integer.bits
            members.append(BtfMember(self.string(words[i]), words[i + 1], offset, bits))
        return members

    def enumerators(self, type_id: int) -> Iterator[tuple[str, int]]:
        """Yield the (name, value) pairs of an enum, values with their sign, decoded on demand."""
        position = self._checked_position(type_id, *ENUMS)
        words, is_signed = self._words, self.enum_signed(type_id)
        is_64_bit = self.kind(type_id) is BtfKind.ENUM64
        step = 3 if is_64_bit else 2
        for i in range(position + 3, position + 3 + (words[position + 1] & VLEN_MASK) * step, step):
            value = words[i + 1] | words[i + 2] << 32 if is_64_bit else words[i + 1]
            if is_signed and value >> (63 if is_64_bit else 31):
                value -= 1 << (64 if is_64_bit else 32)
            yield self.string(words[i]), value

    def enum_signed(self, type_id: int) -> bool:
        """Return whether an enum's values are signed. BTF does not say so before Linux 6.0; then all count
        as signed."""
        if self._signs is None:
            words, positions = self._words, self._positions
            self._signs = any(words[positions[i] + 1] & FLAG for i in self.ids(*ENUMS))
        return bool(self._words[self._checked_position(type_id, *ENUMS) + 1] & FLAG) or not self._signs

    def enumerators_named(self, names: Iterable[str]) -> dict[str, list[tuple[int, int]]]:
        """Find enumerators by name: (enum's type id, value) pairs for each name that exists."""
        offsets = {offset for name in names for offset in self._name_offsets(name)}
        words, enumerators = self._words, dict[str, list[tuple[int, int]]]()
        for i in self.ids(*ENUMS):
            position = self._positions[i]
            step = 2 if words[position + 1] >> KIND_SHIFT & KIND_MASK == BtfKind.ENUM else 3
            count = words[position + 1] & VLEN_MASK
            if not offsets.isdisjoint(words[position + 3 : position + 3 + step * count : step]):
                for (name, value), k in zip(
                    self.enumerators(i), range(position + 3, len(words), step), strict=False
                ):
                    if words[k] in offsets:
                        enumerators.setdefault(name, []).append((i, value))
        return enumerators

    def func_proto(self, type_id: int) -> Proto:
        """Return the prototype of a FUNC or FUNC_PROTO."""
        if self.kind(type_id) is BtfKind.FUNC:
            type_id = self.target(type_id)
        position = self._checked_position(type_id, BtfKind.FUNC_PROTO)
        words, count = self._words, self._words[position + 1] & VLEN_MASK
        params = [
            (self.string(words[i]), words[i + 1]) for i in range(position + 3, position + 3 + 2 * count, 2)
        ]
        # A last parameter of no name and type void stands for "...".
        variadic = bool(params) and params[-1] == ("", 0)
        return Proto(words[position + 2], tuple(params[:-1] if variadic else params), variadic)

    # Through types

    def resolve(self, type_id: int, *, typedefs: bool = True) -> int:
        """Skip const, volatile, restrict and tags, and by default typedefs; 0 is void."""
        skipped_kinds = _SEE_THROUGH if typedefs else MODIFIERS
        for _ in range(_DEEP):
            if self.kind(type_id) not in skipped_kinds:
                return type_id
            type_id = self.target(type_id)
        raise HeadersError(f"{self.origin} is damaged: type {type_id} refers to itself")

    def size_of(self, type_id: int) -> int:
        """Return the size of a value in bytes. Raises HeadersError for types without a size (void,
        functions, FWD)."""
        count = 1
        for _ in range(_DEEP):
            type_id = self.resolve(type_id)
            kind = self.kind(type_id)
            if kind is BtfKind.PTR:
                return count * struct.calcsize("P")
            if kind in (
                BtfKind.INT,
                BtfKind.STRUCT,
                BtfKind.UNION,
                BtfKind.ENUM,
                BtfKind.ENUM64,
                BtfKind.FLOAT,
                BtfKind.DATASEC,
            ):
                return count * self._words[self._position_of(type_id) + 2]
            if kind is not BtfKind.ARRAY:
                raise HeadersError(f"{self.origin}: a {kind.name} (type {type_id}) has no size")
            type_id, length = self.array(type_id)
            count *= length
        raise HeadersError(f"{self.origin} is damaged: type {type_id} contains itself")

    def walk(self, type_id: int) -> Iterator[BtfMember]:
        """Yield members under the names that C knows: unnamed inner structs and unions are expanded.

        Offsets are in bits from the start of ``type_id``, a struct or union (or a typedef of one).
        """
        return self._walk(self.resolve(type_id), 0, 0, count())

    def _walk(self, type_id: int, base: int, depth: int, counter: Iterator[int]) -> Iterator[BtfMember]:
        if depth > _DEEP:
            raise HeadersError(f"{self.origin} is damaged: type {type_id} contains itself")
        for name, member, offset, bits in self.members(type_id):
            if next(counter) > _WIDE:
                raise HeadersError(f"{self.origin}: type {type_id} is part of one with too many members")
            inner = 0 if name else self.resolve(member)
            if inner and self.kind(inner) in COMPOSITES:
                yield from self._walk(inner, base + offset, depth + 1, counter)
            elif name:
                yield BtfMember(name, member, base + offset, bits)

    def member(self, struct_name: str, path: str) -> BtfMember | None:
        """Find a member of ``struct_name`` (a struct or union) by a dotted path; None if there is none.

        The offset is in bits from the start of the outermost struct.
        """
        type_id = self.find(COMPOSITES, struct_name)
        member = None
        for name in path.split("."):
            if not type_id or self.kind(type_id) not in COMPOSITES:
                return None
            base = member.bit_offset if member else 0
            member = next((m for m in self.walk(type_id) if m.name == name), None)
            if member is None:
                return None
            member = member._replace(bit_offset=member.bit_offset + base)
            type_id = self.resolve(member.type)
        return member

    def member_offset(self, struct_name: str, path: str) -> int | None:
        """Return the byte offset of a member (of a bit-field's first byte); None if there is none."""
        member = self.member(struct_name, path)
        return None if member is None else member.bit_offset // 8

    # By name

    def find(self, kinds: BtfKind | Iterable[BtfKind], name: str) -> int | None:
        """Return the id of the type with this name, or None.

        If several have the name, the struct or union with the most members is preferred (kernels have stubs
        and private twins), else the first.
        """
        return next(iter(self.find_all(kinds, name)), None)

    def find_all(self, kinds: BtfKind | Iterable[BtfKind], name: str) -> list[int]:
        """Return all ids with this name and these kinds, the preferred one first."""
        kind_set = frozenset((kinds,) if isinstance(kinds, BtfKind) else kinds)
        ids = [i for i in self.named(name) if self.kind(i) in kind_set]
        return sorted(ids, key=lambda i: (-self._sort_key(i), i))

    def named(self, name: str) -> list[int]:
        """Return all ids with this name, of any kind."""
        return [i for offset in self._name_offsets(name) for i in self._ids_at_name(offset)]

    def _sort_key(self, type_id: int) -> int:
        return self.member_count(type_id) if self.kind(type_id) in COMPOSITES else 0

    def ids(self, *kinds: BtfKind) -> list[int]:
        """Return all ids of these kinds, ascending."""
        if kinds not in self._ids:
            # Few values of this word occur, so they are sorted out once, not for every type.
            infos = {info for info in self._infos if info >> KIND_SHIFT & KIND_MASK in kinds}
            words = self._words
            self._ids[kinds] = [
                i for i, position in enumerate(self._positions) if words[position + 1] in infos and i
            ]
        return self._ids[kinds]

    def names(self, *kinds: BtfKind) -> set[str]:
        """Return all names of these kinds, for suggestions."""
        return {name for i in self.ids(*kinds) if (name := self.name(i))}

    def string(self, offset: int) -> str:
        """Return the string at an offset of the string section."""
        end = self._strings.find(b"\0", offset)
        if end < 0:
            raise HeadersError(f"{self.origin} is damaged: it has no name at {offset}")
        return self._strings[offset:end].decode("utf-8", "replace")

    def _name_offsets(self, name: str) -> list[int]:
        """Return the offsets of ``name`` in the string section: usually one, more in BTF without
        deduplication."""
        if self._offsets is None:
            strings = self._strings.split(b"\0")
            # Each begins after all that is before it, and one NUL for each of those.
            offsets = list(map(add, accumulate(map(len, strings), initial=0), count()))
            self._offsets = dict(zip(strings, offsets, strict=False))
            # The last string is empty, as is the first; any further repeat is a twin.
            if len(self._offsets) < len(strings) - 1:
                for text, offset in zip(strings, offsets, strict=False):
                    if text and self._offsets[text] != offset:
                        self._split_positions.setdefault(text, []).append(offset)
        key = name.encode()
        if not key or key not in self._offsets:
            return []
        return [*self._split_positions.get(key, ()), self._offsets[key]]

    def _ids_at_name(self, offset: int) -> list[int]:
        """Return the ids whose name is at ``offset``, ascending."""
        if self._last is None:
            words = self._words
            names = [words[position] for position in self._positions]
            names[0] = 0
            self._last = dict(zip(names, range(len(names)), strict=True))
            for i, name in enumerate(names):
                if name and self._last[name] != i:
                    self._others.setdefault(name, []).append(i)
        if offset not in self._last:
            return []
        return [*self._others.get(offset, ()), self._last[offset]]
