"""The types that structs and arrays have as values of scripts: read as a whole, member by member."""

from __future__ import annotations

from pytracer.lang.scope import TypeProvider
from pytracer.lang.script.types import ArrayValueType, IntArrayType, RecordType, StringType, stored_size
from pytracer.lang.types import ArrayType, IntType, PointerType, StructType, Type, VoidType, is_string

_SIZE_MAX = 1024  # bytes of a value; what is longer stays an address
_ITEMS_MAX = 64  # that are read one by one
_DEPTH_MAX = 6


def value_type(kind: Type, types: TypeProvider, depth: int = 0) -> Type | None:
    """Return the type of a whole struct or array as a value; None if it is too large or not known."""
    found: Type | None = None
    match kind:
        case IntType() | PointerType():
            return kind
        case ArrayType() if not kind.length:
            return None
        case ArrayType() if is_string(kind):
            return StringType(kind.length + 1) if kind.length < _SIZE_MAX else None
        case ArrayType(of=IntType() as item):
            found = IntArrayType(item, kind.length)
        case ArrayType():
            item_type = value_type(kind.of, types, depth + 1) if kind.length <= _ITEMS_MAX else None
            found = None if item_type is None else ArrayValueType((item_type,) * kind.length)
        case StructType() if depth < _DEPTH_MAX:
            found = _record(kind, types, depth)
    return found if found is not None and count_items(found) <= _ITEMS_MAX and _fits(found) else None


def _fits(kind: Type) -> bool:
    return stored_size(kind) <= _SIZE_MAX


def _record(struct: StructType, types: TypeProvider, depth: int) -> Type | None:
    names, items = list[str](), list[Type]()
    for name, member in types.members(struct).items():
        if isinstance(member.type, VoidType):  # a function or a number with a fraction
            continue
        item = value_type(member.type, types, depth + 1)
        if item is None:
            return None
        names.append(name)
        items.append(item)
    return RecordType(tuple(names), tuple(items)) if names else None


def count_items(kind: Type) -> int:
    """Return the number of reads that a value takes."""
    if isinstance(kind, (RecordType, ArrayValueType)):
        return sum(map(count_items, kind.items))
    return 1
