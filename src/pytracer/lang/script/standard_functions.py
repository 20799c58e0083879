"""The functions of scripts that bpftrace's standard library has: of strings, bytes, tasks, errors."""

from __future__ import annotations

from collections.abc import Callable

from pytracer.errors import suggest_near
from pytracer.lang import syntax
from pytracer.lang.arithmetic import number
from pytracer.lang.scope import Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.comparisons import BOOL
from pytracer.lang.script.introspection import INTROSPECTION, Introspection
from pytracer.lang.script.types import (
    BufferType,
    CodeType,
    IntArrayType,
    StringType,
    c_size,
    in_memory,
)
from pytracer.lang.syntax import Node
from pytracer.lang.types import S64, U32, U64, ArrayType, PointerType, StructType, is_text
from pytracer.record import replace

_MAX_ERRNO = 4095
_TASK_MEMBERS = {
    "ppid": ("real_parent", "pid"),
    "pcomm": ("real_parent", "comm"),
    "leader_tid": ("group_leader", "pid"),
    "leader_comm": ("group_leader", "comm"),
}
"""Functions of a task, or of the current one: the members of ``struct task_struct`` that lead there."""


class StandardFunctions(Introspection):
    """Translates calls of functions of the standard library."""

    # Strings and bytes

    def _strlen(self, node: script.Call, _to: str, _room: int) -> Value:
        value = self._text(node.arguments[0])
        assert isinstance(value.type, StringType)
        return Value(self.temporary("u64", f"script_length({value.code}, {value.type.capacity})"), U64)

    def _text(self, node: Node) -> Value:
        """Translate a string, an array of characters, or the address of one."""
        value = self.value(node)
        if isinstance(value.type, IntArrayType) and value.type.of.size == 1:
            return self.read_string(value.code, value.type.length + 1, "PT_MEMORY_KERNEL")
        if isinstance(value.type, PointerType) and is_text(value.type):
            return self.read_string(value.code, self.state.string_room, self._memory(value.type))
        if not isinstance(value.type, StringType):
            raise self.fail(node, f"a string is expected here, and this is {value.type.text}")
        return value

    def _strcap(self, node: script.Call, _to: str, _room: int) -> Value:
        kind = self.type_of_argument(node.arguments[0])
        if isinstance(kind, StringType):
            return number(kind.capacity, S64)
        if isinstance(kind, IntArrayType):
            return number(kind.length, S64)
        if isinstance(kind, PointerType) and is_text(kind):
            is_array = isinstance(kind.to, ArrayType) and kind.to.length
            return number(
                kind.to.length if isinstance(kind.to, ArrayType) and is_array else self._room(), S64
            )
        raise self.fail(node, f"a string is expected here, and this is {kind.text}")

    def _room(self) -> int:
        return self.state.string_room

    def _default_str_length(self, _node: script.Call, _to: str, _room: int) -> Value:
        return number(self._room(), S64)

    def _strstr(self, node: script.Call, _to: str, _room: int) -> Value:
        haystack, needle = self._text(node.arguments[0]), self._text(node.arguments[1])
        assert isinstance(haystack.type, StringType)
        assert isinstance(needle.type, StringType)
        code = (
            f"script_find({haystack.code}, {haystack.type.capacity}, {needle.code}, {needle.type.capacity})"
        )
        return Value(self.temporary("s64", code), S64)

    def _assert_str(self, node: script.Call, _to: str, _room: int) -> Value:
        kind = self.type_of_argument(node.arguments[0])
        is_chars = isinstance(kind, IntArrayType) and kind.of.size == 1
        if not (isinstance(kind, StringType) or is_chars or is_text(kind)):
            raise self.fail(node.arguments[0], f"a string is expected here, and this is {kind.text}")
        return number(1, BOOL)

    def _memcmp(self, node: script.Call, _to: str, _room: int) -> Value:
        count = self.constant(node.arguments[2])
        operands = [self._bytes(argument, count) for argument in node.arguments[:2]]
        code = f"script_compare({operands[0]}, {operands[1]}, {count})"
        return Value(self.temporary("s64", code), S64)

    def _bytes(self, node: Node, count: int) -> str:
        """Return C for the address of the first ``count`` bytes of a value, or behind an address."""
        value = self.value(node)
        if isinstance(value.type, (StringType, IntArrayType)):
            if count > c_size(value.type):
                raise self.fail(node, f"this has {c_size(value.type)} bytes, and {count} are compared")
            return value.code
        if isinstance(value.type, BufferType):
            return f"({value.code} + 8)"
        if isinstance(value.type, PointerType):
            buffer = self.read_bytes(f"(u64)({value.code})", max(count, 1), self._memory(value.type))
            return f"({buffer.code} + 8)"
        if in_memory(value.type):
            raise self.fail(node, f"the bytes of {value.type.text} cannot be compared")
        dst = self.memory(8)
        self.line(f"*(u64 *)({dst}) = (u64)({value.code});")
        return dst

    def _signal_name(self, node: script.Call, _to: str, _room: int) -> Value:
        return Value(f"((u64)({self.number(node.arguments[0]).code}))", CodeType("signal_name"))

    def _write_user(self, node: script.Call, _to: str, _room: int) -> Value:
        self.require_unsafe(node)
        address = self.number(node.arguments[0])
        source, length = self.value(node.arguments[1]), self.number(node.arguments[2])
        if not isinstance(source.type, (StringType, IntArrayType)):
            raise self.fail(
                node.arguments[1], f"a string or bytes are written, and this is {source.type.text}"
            )
        size = source.type.size
        code = f"script_write_user((u64)({address.code}), {source.code}, {size}, (u64)({length.code}))"
        return Value(self.temporary("s32", code), BOOL)

    def require_unsafe(self, node: script.Call) -> None:
        """Check that the script may change the traced system. Raises ProbeSpecError."""
        if not self.state.unsafe:
            message = f"{node.name}() is unsafe. To use you need the --unsafe flag"
            raise self.fail(node, message, hint="it changes what is traced")

    # Tasks

    def _of_task(self, node: script.Call, dst: str, capacity: int) -> Value:
        if node.name == "ppid" and not node.arguments:
            return self.value(syntax.Name(node.start, node.end, node.name))
        task: Node = syntax.Name(node.start, node.end, "__builtin_curtask")
        path: Node = node.arguments[0] if node.arguments else task
        for member in _TASK_MEMBERS[node.name]:
            path = syntax.Member(node.start, node.end, path, member, False, node.start)
        return self.value(path, dst, capacity)

    def _comm_of(self, node: script.Call, dst: str, capacity: int) -> Value:
        if node.arguments:
            raise self.fail(
                node,
                "the name of another process takes bpf_task_from_pid, a kernel function that programs of BCC "
                "cannot call",
                hint="comm is the name of the current thread",
            )
        return self.value(syntax.Name(node.start, node.end, "comm"), dst, capacity)

    def _ids(self, node: script.Call, to: str, room: int) -> Value:
        """Translate ``pid(curr_ns)``, ``tid(init)``: in pytracer's own pid namespace, or the first one."""
        [argument] = node.arguments
        name = argument.name if isinstance(argument, syntax.Name) else ""
        if name == "curr_ns":
            return self.value(syntax.Name(node.start, node.end, node.name), to, room)
        if name != "init":
            raise self.fail(argument, f"{node.name}() takes curr_ns or init")
        return Value(f"((u32)(bpf_get_current_pid_tgid(){' >> 32' * (node.name == 'pid')}))", U32)

    def _has_cpid(self, _node: script.Call, _to: str, _room: int) -> Value:
        return Value("((u8)(script_run_value(1) != 0))", BOOL)

    def _container_of(self, node: script.Call, _to: str, _room: int) -> Value:
        """Translate ``container_of(address, type, member)``: the address of the struct around a member."""
        address, kind = self.number(node.arguments[0]), self.type_of_argument(node.arguments[1])
        member = node.arguments[2]
        if not isinstance(kind, StructType) or not isinstance(member, syntax.Name):
            message = "container_of() takes the address of a member, the type of the struct, and the member"
            raise self.fail(node, message, hint="container_of($m, typeof(struct foo), m)")
        field = self.scope.types.members(kind).get(member.name)
        if field is None:
            hint = suggest_near(member.name, self.scope.types.members(kind))
            raise self.fail(member, f"{kind.name} has no member {member.name!r}", hint=hint)
        pointer_type = address.type if isinstance(address.type, PointerType) else PointerType(kind)
        return Value(f"((u64)({address.code}) - {field.offset // 8})", replace(pointer_type, to=kind))

    # Errors and maps

    def _is_err(self, node: script.Call, _to: str, _room: int) -> Value:
        value = self.number(node.arguments[0])
        return Value(f"((u8)((u64)({value.code}) >= (u64){-_MAX_ERRNO}LL))", BOOL)

    def _fail(self, node: script.Call, _to: str, _room: int) -> Value:
        """Fail with a message of the script's own, in a branch that is compiled."""
        template = self.constant_text(node.arguments[0])
        if template is None:
            raise self.fail(node, "the first argument of fail() is a text in quotes")
        if self.state.has_pending:
            return number(0, BOOL)
        values = [
            self.constant_text(argument) or str(self.constant(argument)) for argument in node.arguments[1:]
        ]
        parts = template.replace("%%", "%").split("%")
        message = parts[0]
        for part, value in zip(parts[1:], values, strict=False):
            message += value + part.lstrip("-+ #0123456789.hlzjt")[1:]
        raise self.fail(node, message)

    def _find(self, node: script.Call, dst: str, capacity: int) -> Value:
        """Translate ``find(@map, key, $variable)``: read an entry if there is one."""
        map_access, key, variable = node.arguments
        if not isinstance(map_access, script.MapAccess):
            raise self.fail(
                map_access, "find() takes a map, a key and a variable", hint="find(@name, key, $value)"
            )
        span = node.start, node.end
        has = script.Call(*span, "has_key", (map_access, key))
        entry = script.MapAccess(*span, map_access.name, (key,))
        assignment = script.Assignment(*span, variable, "=", entry)
        yes = script.BlockExpression(*span, (assignment,), syntax.Name(*span, "true"))
        return self.value(syntax.Conditional(*span, has, yes, syntax.Name(*span, "false")), dst, capacity)


_Translate = Callable[["StandardFunctions", script.Call, str, int], Value]
STANDARD: dict[str, tuple[_Translate, int, int]] = {
    **INTROSPECTION,
    **dict.fromkeys(_TASK_MEMBERS, (StandardFunctions._of_task, 0, 1)),
    "assert_str": (StandardFunctions._assert_str, 1, 1),
    "comm": (StandardFunctions._comm_of, 0, 1),
    "container_of": (StandardFunctions._container_of, 3, 3),
    "default_str_length": (StandardFunctions._default_str_length, 0, 0),
    "fail": (StandardFunctions._fail, 1, 16),
    "find": (StandardFunctions._find, 3, 3),
    "has_cpid": (StandardFunctions._has_cpid, 0, 0),
    "is_err": (StandardFunctions._is_err, 1, 1),
    "memcmp": (StandardFunctions._memcmp, 3, 3),
    "pid": (StandardFunctions._ids, 1, 1),
    "signal_name": (StandardFunctions._signal_name, 1, 1),
    "strcap": (StandardFunctions._strcap, 1, 1),
    "strlen": (StandardFunctions._strlen, 1, 1),
    "strstr": (StandardFunctions._strstr, 2, 2),
    "tid": (StandardFunctions._ids, 1, 1),
    "write_user": (StandardFunctions._write_user, 3, 3),
}
"""By name: how each is translated, and how many arguments it takes at least and at most."""
