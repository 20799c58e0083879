"""Translate the functions of scripts that read and compare strings and bytes."""

from __future__ import annotations

from pytracer.lang import syntax
from pytracer.lang.scope import EITHER, Lvalue, Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.builtins import Builtins
from pytracer.lang.script.comparisons import BOOL
from pytracer.lang.script.types import (
    WORD,
    BufferType,
    IntArrayType,
    StackType,
    StringType,
    c_size,
)
from pytracer.lang.syntax import Node
from pytracer.lang.types import INT, U64, ArrayType, IntType, PointerType, is_string, is_text


class StringFunctions(Builtins):
    """Translates calls of functions for strings."""

    def _str(self, node: script.Call, dst: str, capacity: int) -> Value:
        argument = node.arguments[0]
        if isinstance(argument, syntax.Name) and argument.name[:1] == "$" and argument.name[1:].isdecimal():
            text = self.parameter(int(argument.name[1:]))
            return self.literal(syntax.TextLiteral(argument.start, argument.end, text), dst, capacity)
        if isinstance(argument, syntax.Binary) and (known := self.constant_text(argument)) is not None:
            return self.literal(syntax.TextLiteral(argument.start, argument.end, known), dst, capacity)
        limit = self.constant(node.arguments[1]) if self._is_constant(node, 1) else 0
        size_max = min(max(limit, 1), self.state.string_room) if limit else self.state.string_room
        value = self.value(argument)
        if isinstance(value.type, StringType):
            return value
        memory = self.scope.memory if isinstance(value.type, IntType) else EITHER
        if isinstance(value.type, PointerType):
            memory = self._memory(value.type)
            if isinstance(value.type.to, ArrayType) and value.type.to.length:
                size_max = min(size_max, value.type.to.length + 1)
        elif not isinstance(value.type, IntType):
            raise self.fail(argument, f"str() takes an address, and this is a {value.type.text}")
        value = self.read_string(f"(u64)({value.code})", size_max, memory, dst, capacity)
        if len(node.arguments) > 1 and not limit:
            length = self.number(node.arguments[1])
            wanted = self.temporary("u64", length.code)
            self.line(f"script_cut({value.code}, {size_max}, {wanted} ? {wanted} - 1 : 0);")
        return value

    def _pton(self, node: script.Call, _to: str, _room: int) -> Value:
        argument = node.arguments[0]
        if not isinstance(argument, syntax.TextLiteral):
            raise self.fail(argument, "pton() takes an address in quotes")
        import socket  # few scripts name addresses

        family = socket.AF_INET6 if ":" in argument.value else socket.AF_INET
        try:
            data = socket.inet_pton(family, argument.value)
        except OSError:
            raise self.fail(argument, f"{argument.value!r} is no IP address") from None
        return self.bytes_literal(data, IntArrayType(IntType(1, False), len(data)))

    def bytes_literal(self, data: bytes, kind: IntArrayType) -> Value:
        """Add code that writes bytes."""
        dst = self.memory(kind.size)
        data = data.ljust(kind.size, b"\0")
        for at in range(0, len(data), WORD):
            self.line(f"*(u64 *)({dst} + {at}) = {int.from_bytes(data[at : at + WORD], 'little'):#x}ULL;")
        return Value(dst, kind)

    def _buf(self, node: script.Call, _to: str, _room: int) -> Value:
        argument = node.arguments[0]
        if isinstance(argument, syntax.TextLiteral):
            data = argument.value.encode("utf-8", "surrogateescape")
            data = (data + b"\0")[: self.constant(node.arguments[1])] if len(node.arguments) > 1 else data
            literal = self.bytes_literal(data, IntArrayType(IntType(1, False), len(data)))
            return self._as_buffer(literal)
        value = self.bytes_or_value(node.arguments[0])
        if isinstance(value.type, BufferType):
            return value
        limit = min(int(self.state.config["max_strlen"]), self.state.string_room)
        if self._is_constant(node, 1):
            limit = min(self.constant(node.arguments[1]), limit)
        if isinstance(value.type, IntArrayType):
            return self._as_buffer(value, limit)
        memory = self._memory(value.type) if isinstance(value.type, PointerType) else self.scope.memory
        value = self.read_bytes(f"(u64)({value.code})", limit, memory)
        if len(node.arguments) > 1 and not self._is_constant(node, 1):
            length = self.number(node.arguments[1])
            self.line(f"script_shorten({value.code}, {limit}, (u64)({length.code}));")
        return value

    def bytes_or_value(self, node: Node) -> Value:
        """Translate an expression; an array of characters is bytes, not a string that ends at a NUL."""
        operand = self._resolve(node)
        kind = operand.type if isinstance(operand, Lvalue) else None
        if isinstance(operand, Lvalue) and isinstance(kind, ArrayType) and is_string(kind) and kind.length:
            return self.read_whole(operand, IntArrayType(IntType(1, False), kind.length))
        return self.operand_value(node, operand)

    def _as_buffer(self, array: Value, limit: int = 0) -> Value:
        assert isinstance(array.type, IntArrayType)
        size = c_size(array.type)
        kind = BufferType(min(size, limit or size))
        dst = self.memory(kind.size)
        self.line(f"*(u64 *)({dst}) = {kind.capacity};")
        self.line(f"script_copy({dst} + {WORD}, {kind.size - WORD}, {array.code});")
        return Value(dst, kind)

    def _strncmp(self, node: script.Call, _to: str, _room: int) -> Value:
        first, second = self.string(node.arguments[0]), self.string(node.arguments[1])
        comparison = self.equal(first, second, self.constant(node.arguments[2]))
        return Value(f"((s32)!{comparison.code})", INT)

    def _strcontains(self, node: script.Call, _to: str, _room: int) -> Value:
        first, second = self.string(node.arguments[0]), self.string(node.arguments[1])
        assert isinstance(first.type, StringType)
        assert isinstance(second.type, StringType)
        code = f"script_find({first.code}, {first.type.capacity}, {second.code}, {second.type.capacity})"
        return Value(self.temporary("s32", f"{code} >= 0"), BOOL)

    def _len(self, node: script.Call, _to: str, _room: int) -> Value:
        argument = node.arguments[0]
        if isinstance(argument, script.MapAccess):
            return self.map_length(argument)
        value = self.value(argument)
        if isinstance(value.type, StringType):
            return Value(self.temporary("u64", f"script_length({value.code}, {value.type.capacity})"), U64)
        if isinstance(value.type, StackType):
            return Value(self.temporary("u64", f"script_depth({value.code}, {value.type.depth})"), U64)
        raise self.fail(argument, f"a {value.type.text} has no length")

    def map_length(self, map_access: script.MapAccess) -> Value:
        """Count the entries of a map."""
        raise NotImplementedError

    def string(self, node: Node) -> Value:
        """Translate an expression that must be a string. Raises ProbeSpecError."""
        if isinstance(node, syntax.Name) and node.name.removeprefix("__builtin_") == "probe":
            return self.literal(syntax.TextLiteral(node.start, node.end, self.constant_text(node) or ""))
        value = self.value(node)
        if isinstance(value.type, PointerType) and is_text(value.type):
            return self.read_string(value.code, self.state.string_room, self._memory(value.type))
        if not isinstance(value.type, StringType):
            raise self.fail(node, f"a string is expected here, and this is {value.type.text}")
        return value

    # Constants

    def constant(self, node: Node) -> int:
        """Return the value of an expression that must be constant. Raises ProbeSpecError."""
        value = self.value(node)
        if value.constant is None:
            raise self.fail(node, "a constant is expected here")
        return value.constant

    def _is_constant(self, node: script.Call, index: int) -> bool:
        return len(node.arguments) > index and self.constant_or_none(node.arguments[index]) is not None

    def constant_or_none(self, node: Node) -> int | None:
        """Return the value of a constant expression, else None, without adding code."""
        lines, used_words, functions = self.lines, self._used, len(self.functions)
        self.lines = []
        try:
            return self.value(node).constant
        finally:
            self.lines, self._used = lines, used_words
            del self.functions[functions:]
