"""The functions of scripts that read and compare strings and bytes."""

from __future__ import annotations

import socket

from pytracer.lang import syntax
from pytracer.lang.scope import EITHER, Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.builtins import Builtins
from pytracer.lang.script.types import (
    WORD,
    BufferType,
    IntArrayType,
    StackType,
    StringType,
    c_size,
)
from pytracer.lang.syntax import Node
from pytracer.lang.types import INT, U64, ArrayType, IntType, PointerType, is_text

BOOL = IntType(1, False, boolean=True)


class Strings(Builtins):
    """Translates calls of functions for strings."""

    def _str(self, node: script.Call, to: str, room: int) -> Value:
        of = node.arguments[0]
        if isinstance(of, syntax.Name) and of.name[:1] == "$" and of.name[1:].isdecimal():
            text = self.parameter(int(of.name[1:]))
            return self.literal(syntax.TextLiteral(of.start, of.end, text), to, room)
        limit = self.constant(node.arguments[1]) if self._is_constant(node, 1) else 0
        most = min(limit + 1, self.state.string_room) if limit else self.state.string_room
        found = self.value(of)
        if isinstance(found.type, StringType):
            return found
        memory = self.scope.memory if isinstance(found.type, IntType) else EITHER
        if isinstance(found.type, PointerType):
            memory = self._memory(found.type)
            if isinstance(found.type.to, ArrayType) and found.type.to.length:
                most = min(most, found.type.to.length + 1)
        elif not isinstance(found.type, IntType):
            raise self.fail(of, f"str() takes an address, and this is a {found.type.text}")
        value = self.read_string(f"(u64)({found.code})", most, memory, to, room)
        if len(node.arguments) > 1 and not limit:
            length = self.number(node.arguments[1])
            self.line(f"script_cut({value.code}, {most}, (u64)({length.code}));")
        return value

    def _pton(self, node: script.Call, _to: str, _room: int) -> Value:
        of = node.arguments[0]
        if not isinstance(of, syntax.TextLiteral):
            raise self.fail(of, "pton() takes an address in quotes")
        family = socket.AF_INET6 if ":" in of.value else socket.AF_INET
        try:
            data = socket.inet_pton(family, of.value)
        except OSError:
            raise self.fail(of, f"{of.value!r} is no IP address") from None
        return self.bytes_literal(data, IntArrayType(IntType(1, False), len(data)))

    def bytes_literal(self, data: bytes, kind: IntArrayType) -> Value:
        """Add code that writes bytes."""
        to = self.memory(kind.size)
        data = data.ljust(kind.size, b"\0")
        for at in range(0, len(data), WORD):
            self.line(f"*(u64 *)({to} + {at}) = {int.from_bytes(data[at : at + WORD], 'little'):#x}ULL;")
        return Value(to, kind)

    def _buf(self, node: script.Call, _to: str, _room: int) -> Value:
        of = node.arguments[0]
        if isinstance(of, syntax.TextLiteral):
            data = of.value.encode("utf-8", "surrogateescape")
            data = (data + b"\0")[: self.constant(node.arguments[1])] if len(node.arguments) > 1 else data
            literal = self.bytes_literal(data, IntArrayType(IntType(1, False), len(data)))
            return self._as_buffer(literal)
        found = self.value(node.arguments[0])
        if isinstance(found.type, BufferType):
            return found
        if isinstance(found.type, IntArrayType):
            return self._as_buffer(found)
        limit = self.state.string_room
        if self._is_constant(node, 1):
            limit = min(self.constant(node.arguments[1]), limit)
        memory = self._memory(found.type) if isinstance(found.type, PointerType) else self.scope.memory
        value = self.read_bytes(f"(u64)({found.code})", limit, memory)
        if len(node.arguments) > 1 and not self._is_constant(node, 1):
            length = self.number(node.arguments[1])
            self.line(f"script_shorten({value.code}, {limit}, (u64)({length.code}));")
        return value

    def _as_buffer(self, array: Value) -> Value:
        assert isinstance(array.type, IntArrayType)
        kind = BufferType(c_size(array.type))
        to = self.memory(kind.size)
        self.line(f"*(u64 *)({to}) = {kind.room};")
        self.line(f"script_copy({to} + {WORD}, {array.type.size}, {array.code});")
        return Value(to, kind)

    def _strncmp(self, node: script.Call, _to: str, _room: int) -> Value:
        one, other = self.string(node.arguments[0]), self.string(node.arguments[1])
        same = self.equal(one, other, self.constant(node.arguments[2]))
        return Value(f"((s32)!{same.code})", INT)

    def _strcontains(self, node: script.Call, _to: str, _room: int) -> Value:
        one, other = self.string(node.arguments[0]), self.string(node.arguments[1])
        assert isinstance(one.type, StringType)
        assert isinstance(other.type, StringType)
        code = f"script_contains({one.code}, {one.type.room}, {other.code}, {other.type.room})"
        return Value(self.temporary("s32", code), BOOL)

    def _len(self, node: script.Call, _to: str, _room: int) -> Value:
        of = node.arguments[0]
        if isinstance(of, script.MapAccess):
            return self.map_length(of)
        value = self.value(of)
        if isinstance(value.type, StringType):
            return Value(self.temporary("u64", f"script_length({value.code}, {value.type.room})"), U64)
        if isinstance(value.type, StackType):
            return Value(self.temporary("u64", f"script_depth({value.code}, {value.type.depth})"), U64)
        raise self.fail(of, f"a {value.type.text} has no length")

    def map_length(self, of: script.MapAccess) -> Value:
        """Count the entries of a map."""
        raise NotImplementedError

    def string(self, node: Node) -> Value:
        """Translate an expression that has to be a string."""
        value = self.value(node)
        if isinstance(value.type, PointerType) and is_text(value.type):
            return self.read_string(value.code, self.state.string_room, self._memory(value.type))
        if not isinstance(value.type, StringType):
            raise self.fail(node, f"a string is expected here, and this is {value.type.text}")
        return value

    # Constants

    def constant(self, node: Node) -> int:
        """Return the value of an expression that has to be constant. Raises ProbeSpecError."""
        value = self.value(node)
        if value.constant is None:
            raise self.fail(node, "a constant is expected here")
        return value.constant

    def _is_constant(self, node: script.Call, which: int) -> bool:
        return len(node.arguments) > which and self.constant_or_none(node.arguments[which]) is not None

    def constant_or_none(self, node: Node) -> int | None:
        """Return the value of a constant, None of what is none; adds no code."""
        lines, used, functions = self.lines, self._used, len(self.functions)
        self.lines = []
        try:
            return self.value(node).constant
        finally:
            self.lines, self._used = lines, used
            del self.functions[functions:]
