"""Write BTF types in C: names, declarations, alignment."""

from __future__ import annotations

import re
from itertools import chain

from pytracer.bpf.compile.headers.words import SourceWords
from pytracer.errors import HeadersError
from pytracer.kernel.btf import COMPOSITES, ENUMS, Btf, BtfKind

IDENTIFIER = re.compile(r"[A-Za-z_]\w*\Z")
_C_INT = re.compile(r"(?:signed|unsigned|char|short|int|long|_Bool| )+\Z")
# No sane type nests deeper; one that contains itself does.
_DEEP = 64
_BY_SIZE = {1: "char", 2: "short", 4: "int", 8: "long long"}


class TypeWriter:
    """Writes the types of ``btf`` for a header of a text with the words ``names``.

    Structs and unions are always called by their tags, unnamed ones by their number, and a second one of the
    same name by both. Typedefs are resolved, so a header's structs depend on nothing but each other.
    """

    def __init__(self, btf: Btf, names: SourceWords) -> None:
        self.btf = btf
        self.names = names
        self.tags: dict[str, int] = {}
        self._align: dict[int, int] = {}

    def tagged(self, name: str, kind: str) -> int:
        """Return the struct or union called ``name`` (0: none), preferably the one of this kind."""
        if name in self.names.own_tags:
            return 0
        if name not in self.tags:
            first = (BtfKind.UNION,) if kind == "union" else (BtfKind.STRUCT,)
            type_id = self.btf.find(first, name) or self.btf.find(COMPOSITES, name)
            if type_id:
                self.tags[name] = type_id
        return self.tags.get(name, 0)

    def element(self, type_id: int) -> int:
        """Resolve modifiers, typedefs and arrays."""
        for _ in range(_DEEP):
            type_id = self.btf.resolve(type_id)
            if self.btf.kind(type_id) is not BtfKind.ARRAY:
                return type_id
            type_id = self.btf.array(type_id).element
        raise HeadersError(f"{self.btf.origin} is damaged: array {type_id} contains itself")

    def pointee(self, type_id: int) -> int:
        """Return the struct or union at the end of pointers and arrays of pointers, or 0."""
        for depth in range(_DEEP):
            type_id = self.element(type_id)
            kind = self.btf.kind(type_id)
            if kind is not BtfKind.PTR:
                return type_id if depth and kind in COMPOSITES else 0
            type_id = self.btf.target(type_id)
        raise HeadersError(f"{self.btf.origin} is damaged: pointer {type_id} points to itself")

    def spelling(self, type_id: int) -> str:
        """Return ``struct NAME``: by name if that name means this type, else with its number."""
        name = self.btf.name(type_id)
        keyword = self.keyword(type_id)
        if not IDENTIFIER.match(name):  # Rust has names that C cannot have
            return f"{keyword} __anon_{type_id}"
        meant = self.tagged(name, keyword)
        return f"{keyword} {name}" if meant == type_id else f"{keyword} {name}___{type_id}"

    def scalar(self, type_id: int) -> str:
        """Return the C type of an integer or enum of at most 64 bits."""
        btf, kind = self.btf, self.btf.kind(type_id)
        if kind in ENUMS:
            is_signed, size = btf.enum_signed(type_id), btf.size_of(type_id)
        elif kind is BtfKind.INT:
            name, (size, _, _, is_signed, _, _) = btf.name(type_id), btf.integer(type_id)
            if _C_INT.match(name):
                return name
        else:
            raise HeadersError(f"{btf.origin} is damaged: a bit-field of type {type_id}")
        return f"{'signed' if is_signed else 'unsigned'} {_BY_SIZE.get(size, 'char')}"

    def declare(self, type_id: int, name: str) -> str | None:
        """Declare ``name`` with this type; None for types that C cannot declare so (a function, say)."""
        btf = self.btf
        for _ in range(_DEEP):
            type_id = btf.resolve(type_id)
            kind = btf.kind(type_id)
            if kind is BtfKind.PTR:
                type_id = btf.resolve(btf.target(type_id))
                behind = btf.kind(type_id)
                # C wants to know the whole struct for an array of them, even behind a pointer.
                is_opaque = behind is BtfKind.ARRAY and btf.kind(self.element(type_id)) in COMPOSITES
                if is_opaque or behind is BtfKind.FUNC_PROTO:
                    return f"void *{name}"
                name = f"(*{name})" if behind is BtfKind.ARRAY else f"*{name}"
            elif kind is BtfKind.ARRAY:
                type_id, length = btf.array(type_id)
                name = f"{name}[{length}]"
            elif kind is BtfKind.VOID:
                return f"void {name}"
            elif kind in COMPOSITES or kind is BtfKind.FWD:
                spelling = self.spelling(type_id) if kind in COMPOSITES else self._forward(type_id)
                return f"{spelling} {name}"
            elif kind in (BtfKind.INT, *ENUMS) and btf.size_of(type_id) in _BY_SIZE:
                return f"{self.scalar(type_id)} {name}"
            elif kind in (BtfKind.INT, BtfKind.FLOAT):
                # 128-bit integers as two words, floating point as bytes: neither can be computed with.
                size = btf.size_of(type_id)
                return f"unsigned long long {name}[2]" if size == 16 else f"unsigned char {name}[{size}]"
            else:
                return None
        raise HeadersError(f"{btf.origin} is damaged: type {type_id} contains itself")

    def _forward(self, type_id: int) -> str:
        """Return the spelling of a struct that is only declared here; if it is defined elsewhere, of that
        one."""
        keyword = "union" if self.btf.fwd_is_union(type_id) else "struct"
        target = self.tagged(self.btf.name(type_id), keyword)
        if target:
            return self.spelling(target)
        name = self.btf.name(type_id)
        return f"{keyword} {name if IDENTIFIER.match(name) else f'__anon_{type_id}'}"

    def alignment(self, type_id: int, depth: int = 0) -> int:
        """Return the natural alignment in bytes, at most 8 (BPF's limit); less for types that the kernel
        packs."""
        btf = self.btf
        type_id = self.element(type_id)
        kind = btf.kind(type_id)
        if kind not in COMPOSITES:
            return 1 if kind is BtfKind.FLOAT else min(8, btf.size_of(type_id) or 1)
        if type_id not in self._align:
            if depth > _DEEP:
                raise HeadersError(f"{btf.origin} is damaged: type {type_id} contains itself")
            members = [(m, self.alignment(m.type, depth + 1)) for m in btf.members(type_id)]
            best, size = max(chain((1,), (a for _, a in members))), btf.size_of(type_id)
            places = [(m.bit_offset, a) for m, a in members if not m.bits]
            while best > 1 and (
                size % best or any(bit_offset % (8 * min(a, best)) for bit_offset, a in places)
            ):
                best //= 2
            self._align[type_id] = best
        return self._align[type_id]

    def keyword(self, type_id: int) -> str:
        """Return ``struct`` or ``union``."""
        return "union" if self.btf.kind(type_id) is BtfKind.UNION else "struct"
