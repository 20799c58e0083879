"""Lay out the structs that a script defines, in addition to the types of the kernel or program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytracer.lang.arithmetic import size_of
from pytracer.lang.checker import Checker
from pytracer.lang.scope import RecordField, Scope, TypeProvider
from pytracer.lang.script.syntax import EnumDefinition, StructDefinition
from pytracer.lang.types import ArrayType, IntType, PointerType, StructType, Type
from pytracer.record import replace

_FIRST_STRUCT_NUMBER = 1 << 48  # numbers of these structs; those of the kernel and of programs are below


class ScriptTypes:
    """Provides the structs of a script, with C's layout, and the types of ``base`` for all other names."""

    def __init__(
        self,
        base: TypeProvider,
        definitions: Sequence[StructDefinition],
        enums: Sequence[EnumDefinition],
        text: str,
    ) -> None:
        self._below = base
        self._enums = enums
        self._checker = Checker(text, Scope("the script", self))
        self.missing_reason = base.missing_reason
        self._known = dict[str, StructType]()
        self._members = dict[int, dict[str, RecordField]]()
        self._alignments = dict[int, int]()  # bytes, by number
        for definition in definitions:
            self._define(definition)

    def members(self, struct: StructType) -> Mapping[str, RecordField]:
        """See :class:`~pytracer.lang.scope.TypeProvider`."""
        members = self._members.get(struct.number)
        return self._below.members(struct) if members is None else members

    def find(self, kind: str, name: str) -> Type | None:
        """See :class:`~pytracer.lang.scope.TypeProvider`."""
        if kind == "enum":
            enum = next((declared.type for declared in self._enums if declared.name == name), None)
            return enum or self._below.find(kind, name)
        definition = self._known.get(f"{kind} {name}") if kind != "typedef" else None
        return definition or self._below.find(kind, name)

    def names(self, kind: str) -> set[str]:
        """See :class:`~pytracer.lang.scope.TypeProvider`."""
        defined = {name.partition(" ")[2] for name in self._known if name.startswith(kind)}
        defined |= {enum.name for enum in self._enums} if kind == "enum" else set()
        return defined | self._below.names(kind)

    def enumerator(self, name: str) -> int | None:
        """See :class:`~pytracer.lang.scope.TypeProvider`."""
        values = (dict(enum.members).get(name) for enum in self._enums)
        found = next((value for value in values if value is not None), None)
        return self._below.enumerator(name) if found is None else found

    def enum_of(self, enumerator: str) -> str:
        """See :class:`~pytracer.lang.scope.TypeProvider`."""
        names = (enum.name for enum in self._enums if enumerator in dict(enum.members))
        found = next(names, None)
        if found is not None:
            return "" if found.startswith("#") else found  # values of one without a name are numbers
        return self._below.enum_of(enumerator)

    def enum_names(self, enum: str) -> Mapping[int, str]:
        """See :class:`~pytracer.lang.scope.TypeProvider`."""
        for declared in self._enums:
            if declared.name == enum:
                return {value: name for name, value in declared.members}
        return self._below.enum_names(enum)

    def _define(self, definition: StructDefinition) -> None:
        name = f"{definition.kind} {definition.name}"
        number = _FIRST_STRUCT_NUMBER + len(self._known)
        self._known[name] = StructType(number, name, 0)  # for pointers to itself
        fields, bits, widest = dict[str, RecordField](), 0, 1
        longest = 0
        for field in definition.fields:
            kind = self._checker.type_of(field.type)
            for length in reversed(field.lengths):
                kind = ArrayType(kind, length)
            align = 1 if definition.packed else self._align(kind)
            widest = max(widest, align)
            if definition.kind == "union":
                bits = 0
            if field.bits:
                unit = 8 * size_of(kind)
                if not definition.packed and bits // unit != (bits + field.bits - 1) // unit:
                    bits = -(-bits // unit) * unit
                fields[field.name] = RecordField(kind, bits, field.bits)
                bits += field.bits
            else:
                bits = -(-bits // (8 * align)) * 8 * align
                if field.name:
                    fields[field.name] = RecordField(kind, bits)
                elif isinstance(kind, StructType):
                    for inner_name, inner in self.members(kind).items():
                        fields[inner_name] = replace(inner, offset=bits + inner.offset)
                bits += 8 * size_of(kind)
            longest = max(longest, bits)
        widest = max(widest, definition.align)
        size = -(-longest // (8 * widest)) * widest
        self._members[number] = fields
        self._alignments[number] = widest
        self._known[name] = StructType(number, name, size)

    def _align(self, kind: Type) -> int:
        if isinstance(kind, ArrayType):
            return self._align(kind.of)
        if isinstance(kind, StructType) and kind.number in self._alignments:
            return self._alignments[kind.number]
        if isinstance(kind, StructType):
            return max((self._align(field.type) for field in self.members(kind).values()), default=1)
        return size_of(kind) if isinstance(kind, (IntType, PointerType)) else 1
