"""Look up types by name, and translate casts of numbers, addresses, arrays and strings."""

from __future__ import annotations

from pytracer.lang import syntax
from pytracer.lang.arithmetic import convert
from pytracer.lang.scope import KERNEL, USER, Lvalue, Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.addresses import Addresses
from pytracer.lang.script.types import (
    TYPE_NAMES,
    WORD,
    BufferType,
    CodeType,
    IntArrayType,
    StringType,
    c_size,
    stored,
)
from pytracer.lang.syntax import Node
from pytracer.lang.types import (
    BASIC,
    U64,
    ArrayType,
    IntType,
    PointerType,
    StoredType,
    Type,
)
from pytracer.record import replace


class Casts(Addresses):
    """Looks up types and converts values."""

    def type_of(self, name: syntax.TypeName) -> Type:
        """See Checker; scripts have further names, may leave out ``struct``, and have arrays."""
        kind = self._base_type(name)
        for length in reversed(name.lengths):
            kind = ArrayType(kind, length)
        return kind

    def type_of_argument(self, node: Node) -> Type:
        """Return the type that a type's name or an expression has."""
        if isinstance(node, syntax.Name) and node.name in self.substitutes:
            return self.expand_parameter(node.name, self.type_of_argument)
        if isinstance(node, syntax.Index) and self.is_type(node.of):  # TYPE[N], of a macro's parameter
            return ArrayType(self.type_of_argument(node.of), self.constant(node.index))
        return self.type_of(node) if isinstance(node, syntax.TypeName) else self.type_of_value(node)

    def is_type(self, node: Node) -> bool:
        """Return whether a node names a type: itself, or as the argument of a macro."""
        if isinstance(node, syntax.Name) and node.name in self.substitutes:
            return self.expand_parameter(node.name, self.is_type)
        return isinstance(node, syntax.TypeName)

    def constant(self, node: Node) -> int:
        """Return the value of an expression that must be constant. Raises ProbeSpecError."""
        raise NotImplementedError

    def _base_type(self, name: syntax.TypeName) -> Type:
        kind: Type
        if isinstance(name, script.TypeOf) and name.of is not None:
            kind = self.type_of_argument(name.of)
            for _ in range(name.stars):
                kind = PointerType(kind, user=self.scope.memory == USER)
            return kind
        if len(name.words) == 1 and name.words[0] in self.substitutes:
            kind = self.expand_parameter(name.words[0], self.type_of_argument)
            for _ in range(name.stars):
                kind = PointerType(kind, user=self.scope.memory == USER)
            return kind
        if len(name.words) == 1:
            known_type: Type | None = TYPE_NAMES.get(name.words[0])
            if known_type is None and name.words[0] in TYPE_NAMES and not name.stars:
                return StringType(self.state.string_room)
            if known_type is None and name.words[0] not in BASIC:
                known_type = self.scope.types.find("struct", name.words[0])
                if self.scope.types.find("typedef", name.words[0]) is not None:
                    known_type = None
            if known_type is not None:
                kind = known_type
                for _ in range(name.stars):
                    kind = PointerType(kind, user=self.scope.memory == USER)
                return kind
        return super().type_of(replace(name, lengths=()))

    def _cast(self, node: syntax.Cast) -> Value:
        name = node.type
        if name.words[0] in ("string", "buffer") and not name.stars:
            return self._cast_to_text(node)
        kind = self.type_of(name)
        value = self.value(node.of)
        if isinstance(kind, ArrayType) and isinstance(kind.of, IntType):
            return self._cast_to_array(node, kind.of, kind.length, value)
        if isinstance(value.type, IntArrayType) and isinstance(kind, IntType):
            if c_size(value.type) != kind.size:
                raise self.fail(
                    node, f"{value.type.text} has {c_size(value.type)} bytes, and {name.text} {kind.size}"
                )
            return Value(f"(({kind.c})*({kind.c} *)({value.code}))", kind)
        if isinstance(value.type, CodeType) and isinstance(kind, IntType):
            return convert(Value(value.code, U64), kind)
        if isinstance(kind, (IntType, PointerType)) and not isinstance(value.type, StoredType):
            if isinstance(kind, PointerType) and isinstance(value.type, PointerType):
                kind = replace(kind, user=kind.user or value.type.user)
            return convert(value, kind)
        if stored(kind) == stored(value.type):
            return value
        raise self.fail(node, f"{value.type.text} cannot be converted to {kind.text}")

    def _cast_to_text(self, node: syntax.Cast) -> Value:
        capacity = (
            node.type.lengths[0] if node.type.lengths and node.type.lengths[0] else self.state.string_room
        )
        value = self.value(node.of)
        if isinstance(value.type, (StringType, BufferType)):
            return value
        if isinstance(value.type, IntArrayType) and value.type.of.size == 1:
            return self.read_string(value.code, min(value.type.length + 1, capacity), KERNEL)
        if isinstance(value.type, StoredType):
            raise self.fail(node, f"{value.type.text} cannot be converted to {node.type.text}")
        memory = self._memory(value.type) if isinstance(value.type, PointerType) else self.scope.memory
        if node.type.words[0] == "buffer":
            return self.read_bytes(f"(u64)({value.code})", capacity, memory)
        return self.read_string(f"(u64)({value.code})", capacity, memory)

    def _cast_to_array(self, node: syntax.Cast, element: IntType, length: int, value: Value) -> Value:
        size = c_size(stored(value.type))
        if value.constant is not None and isinstance(node.of, syntax.NumberLiteral):
            size = element.size * (length or WORD // element.size)  # a literal has the width that is wanted
        length = length or size // element.size
        kind = IntArrayType(element, length)
        if c_size(kind) != size:
            raise self.fail(node, f"{kind.text} has {c_size(kind)} bytes, and this has {size}")
        if isinstance(value.type, StoredType):
            return Value(value.code, kind)
        dst = self.memory(kind.size)
        self.line(f"*(u64 *)({dst}) = (u64)({convert(value, IntType(size, False)).code});")
        return Value(dst, kind)

    def _dereference(self, node: Node, value: Value) -> Lvalue:
        if isinstance(value.type, StoredType):
            raise self.fail(node, f"this is no address ({value.type.text})")
        if isinstance(value.type, IntType):  # a number that is followed leads to a word of 64 bits
            value = Value(value.code, PointerType(U64))
        return super()._dereference(node, value)
