"""Translate the functions of scripts that have a value: for strings, addresses, stacks, names."""

from __future__ import annotations

from collections.abc import Callable

from pytracer.errors import UsageError, suggest_near
from pytracer.lang import syntax
from pytracer.lang.arithmetic import convert, number
from pytracer.lang.scope import Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.comparisons import BOOL
from pytracer.lang.script.machine_functions import MACHINE, MachineFunctions
from pytracer.lang.script.types import (
    WORD,
    CodeType,
    InetType,
    IntArrayType,
    StackType,
    SymbolType,
    c_size,
    literal_type,
)
from pytracer.lang.syntax import Node
from pytracer.lang.types import U64, IntType, PointerType
from pytracer.record import replace

DEPTH = 127  # frames of a stack: the kernel's default limit (kernel.perf_event_max_stack)
_MODES = ("bpftrace", "perf", "raw", "build_id")
_REGISTERS = (
    *["ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip", "flags"],
    *(f"r{n}" for n in range(8, 16)),
)
_REGISTER_NAMES = {"pc": "ip"}


class ValueFunctions(MachineFunctions):
    """Translates calls of functions that have a value."""

    def call(self, node: script.Call, dst: str, capacity: int) -> Value:
        """See ScriptExpressions."""
        macro = self.state.macros.get((node.name, len(node.arguments)))
        if macro is not None:
            return self.expand(node, macro, node.arguments)
        function = _FUNCTIONS.get(node.name.removeprefix("__builtin_"))
        if function is None and not node.arguments:
            name = syntax.Name(node.start, node.end, node.name)
            if self.builtin(name) is not None:  # cpu() is cpu
                return self.value(name, dst, capacity)
        if function is None:
            if node.name in self.statement_functions:
                raise self.fail(node, f"{node.name}() has no value")
            names = {*_FUNCTIONS, *self.statement_functions, *(name for name, _ in self.state.macros)}
            raise self.fail(node, f"no function {node.name!r}", hint=suggest_near(node.name, names))
        translate, min_count, max_count = function
        if not min_count <= len(node.arguments) <= max_count:
            expected = f"{min_count}" if min_count == max_count else f"{min_count} to {max_count}"
            raise self.fail(node, f"{node.name}() takes {expected} arguments, and has {len(node.arguments)}")
        return translate(self, node, dst, capacity)

    def takes_no_argument(self, call: script.Call) -> bool:
        """See ScriptExpressions."""
        return call.name in _FUNCTIONS and not _FUNCTIONS[call.name][1]

    # Addresses and names

    def _ksym(self, node: script.Call, _to: str, _room: int) -> Value:
        return self._symbol(node, user=False)

    def _usym(self, node: script.Call, _to: str, _room: int) -> Value:
        return self._symbol(node, user=True)

    def _symbol(self, node: script.Call, *, user: bool) -> Value:
        address = self.number(node.arguments[0])
        dst = self.memory(2 * WORD)
        self.line(f"*(u64 *)({dst}) = {'script_pid_tgid() >> 32' if user else '0'};")
        self.line(f"*(u64 *)({dst} + {WORD}) = (u64)({address.code});")
        return Value(dst, SymbolType(user))

    def _kstack(self, node: script.Call, _to: str, _room: int) -> Value:
        return self.stack(node, user=False, arguments=node.arguments)

    def _ustack(self, node: script.Call, _to: str, _room: int) -> Value:
        return self.stack(node, user=True, arguments=node.arguments)

    def stack(self, node: Node, *, user: bool, arguments: tuple[Node, ...]) -> Value:
        """See Builtins."""
        mode, depth = self.state.config["stack_mode"], DEPTH
        for argument in arguments:
            if isinstance(argument, syntax.Name) and argument.name in _MODES:
                mode = argument.name
            else:
                depth = self.constant(argument)
        if mode == "build_id" and not user:
            raise self.fail(node, "the kernel's functions have no build id", hint="ustack(build_id)")
        if not 0 < depth <= DEPTH:
            raise self.fail(node, f"a stack has 1 to {DEPTH} frames")
        kind = StackType(user, depth, mode)
        dst = self.memory(kind.size)
        if user:
            self.state.takes_user_stacks = True
            shows_python = int(mode in ("bpftrace", "perf"))
            self.line(f"script_user_stack(ctx, {dst}, {WORD * depth}, {shows_python});")
        else:
            self.line(f"script_kernel_stack(ctx, {dst}, {WORD * depth});")
        return Value(dst, kind)

    def _dw_ustack(self, node: script.Call, _to: str, _room: int) -> Value:
        if self.state.config["unstable_dw_ustack"] == "error":
            message = "the script's settings allow no dw_ustack()"
            raise self.fail(node, message, hint="unstable_dw_ustack = enable")
        self.state.needs_tables = True
        return self.stack(node, user=True, arguments=node.arguments)

    def _ntop(self, node: script.Call, _to: str, _room: int) -> Value:
        import socket  # few scripts show addresses

        *family, argument = node.arguments
        dst = self.memory(InetType().size)
        value = self.value(argument)
        if isinstance(value.type, IntType):
            kind = self.number(family[0]).code if family else str(int(socket.AF_INET))
            self.line(f"script_inet({dst}, {kind}, (u64)({value.code}));")
            return Value(dst, InetType())
        if isinstance(value.type, IntArrayType) and c_size(value.type) in (4, 16):
            size = c_size(value.type)
            kind = str(int(socket.AF_INET if size == 4 else socket.AF_INET6))
            self.line(f"*(u64 *)({dst}) = {self.number(family[0]).code if family else kind};")
            self.line(f"script_zero({dst} + {WORD}, 16);")
            self.line(f"script_copy({dst} + {WORD}, {size}, {value.code});")
            return Value(dst, InetType())
        raise self.fail(argument, f"ntop() takes an address of 4 or 16 bytes, and this is {value.type.text}")

    def _macaddr(self, node: script.Call, _to: str, _room: int) -> Value:
        value = self.bytes_or_value(node.arguments[0])
        if isinstance(value.type, IntArrayType):
            return Value(f"(*(u64 *)({value.code}) & 0xffffffffffffULL)", CodeType("mac"))
        if isinstance(value.type, PointerType):
            memory = self._memory(value.type)
            return Value(f"pt_spec_load({value.code}, 6, {memory}, &bad)", CodeType("mac"))
        raise self.fail(node, "macaddr() takes six bytes, or their address")

    def _strerror(self, node: script.Call, _to: str, _room: int) -> Value:
        return Value(f"((u64)({self.number(node.arguments[0]).code}))", CodeType("strerror"))

    def _strftime(self, node: script.Call, _to: str, _room: int) -> Value:
        form = node.arguments[0]
        if not isinstance(form, syntax.TextLiteral):
            raise self.fail(form, "the format of strftime() is a text in quotes")
        code = f"((u64)({self.number(node.arguments[1]).code}))"
        return Value(code, CodeType("strftime", form.value))

    def _cgroup_path(self, node: script.Call, _to: str, _room: int) -> Value:
        pattern = self.constant_text(node.arguments[1]) if len(node.arguments) > 1 else ""
        if pattern is None:
            raise self.fail(node.arguments[1], "the filter of cgroup_path() is a text in quotes")
        code = f"((u64)({self.number(node.arguments[0]).code}))"
        return Value(code, CodeType("cgroup_path", pattern))

    # Numbers

    def _nsecs(self, node: script.Call, _to: str, _room: int) -> Value:
        clock = node.arguments[0] if node.arguments else None
        clock_name = clock.name if isinstance(clock, syntax.Name) else "boot"
        codes = {
            "boot": "script_boot_ns()",
            "monotonic": "bpf_ktime_get_ns()",
            "tai": "script_tai_ns()",
            "sw_tai": "script_tai_ns()",
        }
        if clock_name not in codes:
            raise self.fail(node, f"no clock {clock_name!r}", hint=f"there is {', '.join(codes)}")
        return Value(f"((u64){codes[clock_name]})", U64)

    def _reg(self, node: script.Call, _to: str, _room: int) -> Value:
        name = node.arguments[0]
        register = _REGISTER_NAMES.get(name.value, name.value) if isinstance(name, syntax.TextLiteral) else ""
        if register not in _REGISTERS:
            raise self.fail(node, f"registers are {', '.join(_REGISTERS)}", hint='reg("ip")')
        return Value(f"((u64)((struct pt_regs *)ctx)->{register})", U64)

    def _bswap(self, node: script.Call, _to: str, _room: int) -> Value:
        value = self.number(node.arguments[0])
        kind = value.type if isinstance(value.type, IntType) else U64
        if kind.size == 1:
            return value
        unsigned = IntType(kind.size, False)
        return Value(
            f"((u{8 * kind.size})__builtin_bswap{8 * kind.size}({convert(value, unsigned).code}))", unsigned
        )

    def _has_key(self, node: script.Call, _to: str, _room: int) -> Value:
        access, *keys = node.arguments
        if not isinstance(access, script.MapAccess):
            raise self.fail(access, "has_key() takes a map and a key", hint="has_key(@name, key)")
        access = self.resolve_map(access)
        access = script.MapAccess(node.start, node.end, access.name, access.keys or tuple(keys))
        if self.state.has_type(access.name) and not self.state.map(access.name).keys:
            raise self.fail(node, "call to has_key() expects a map with explicit keys (non-scalar map)")
        key = self.map_key(access)
        if not self.state.has_type(access.name):
            return number(0, BOOL)
        known_map = self.state.map(access.name)
        return Value(self.temporary("u64", f"script_lookup_{known_map.number}({key}) != 0"), BOOL)

    def _delete(self, node: script.Call, _to: str, _room: int) -> Value:
        access, *keys = node.arguments
        if not isinstance(access, script.MapAccess):
            raise self.fail(node, "delete() takes a map and a key", hint="delete(@name, key)")
        access = self.resolve_map(access)
        key = self.map_key(replace(access, keys=access.keys or tuple(keys)))
        if not self.state.has_type(access.name):
            return number(0, BOOL)
        known_map = self.state.map(access.name)
        if known_map.has_buckets:
            raise self.fail(node, "an entry of a histogram cannot be deleted", hint="clear() empties the map")
        return Value(self.temporary("u64", f"script_delete_{known_map.number}({key})"), BOOL)

    def _syscall_name(self, node: script.Call, _to: str, _room: int) -> Value:
        return Value(f"((u64)({self.number(node.arguments[0]).code}))", CodeType("syscall"))

    def _getopt(self, node: script.Call, dst: str, capacity: int) -> Value:
        name, *default = node.arguments
        if not isinstance(name, syntax.TextLiteral):
            raise self.fail(name, "the name of a parameter is a text in quotes")
        description = self.constant_text(node.arguments[2]) if len(node.arguments) > 2 else ""
        self.state.options.setdefault(name.value, description or "")
        given = option_text = self.state.named_parameters.get(name.value)
        if option_text is not None and option_text.lower() in ("true", "false"):
            option_text = option_text.lower()
        if not default:
            return number(int(option_text not in (None, "false", "0")), BOOL)
        default_value = default[0]
        if option_text is None:
            return self.value(default_value, dst, capacity)
        if isinstance(default_value, syntax.TextLiteral):
            return self.literal(syntax.TextLiteral(node.start, node.end, option_text), dst, capacity)
        is_bool = isinstance(default_value, syntax.Name) and default_value.name in ("true", "false")
        if is_bool and option_text in ("", "true", "false"):
            return number(int(option_text != "false"), BOOL)
        try:
            value = int(option_text, 0)
        except ValueError:
            message = f"program command line option --{name.value} invalid integer (value: {given})"
            raise UsageError(message) from None
        return number(value, literal_type(value))

    def _kptr(self, node: script.Call, _to: str, _room: int) -> Value:
        value = self.number(node.arguments[0])
        kind = value.type.to if isinstance(value.type, PointerType) else IntType(1, True, char=True)
        return Value(value.code, PointerType(kind, kernel=True))

    def _uptr(self, node: script.Call, _to: str, _room: int) -> Value:
        value = self.number(node.arguments[0])
        kind = value.type.to if isinstance(value.type, PointerType) else IntType(1, True, char=True)
        return Value(value.code, PointerType(kind, user=True))


_Translate = Callable[["ValueFunctions", script.Call, str, int], Value]
_FUNCTIONS: dict[str, tuple[_Translate, int, int]] = {
    **MACHINE,
    "str": (ValueFunctions._str, 1, 2),
    "buf": (ValueFunctions._buf, 1, 2),
    "strncmp": (ValueFunctions._strncmp, 3, 3),
    "strcontains": (ValueFunctions._strcontains, 2, 2),
    "len": (ValueFunctions._len, 1, 1),
    "ksym": (ValueFunctions._ksym, 1, 1),
    "usym": (ValueFunctions._usym, 1, 1),
    "dw_ustack": (ValueFunctions._dw_ustack, 0, 2),
    "kstack": (ValueFunctions._kstack, 0, 2),
    "ustack": (ValueFunctions._ustack, 0, 2),
    "ntop": (ValueFunctions._ntop, 1, 2),
    "pton": (ValueFunctions._pton, 1, 1),
    "macaddr": (ValueFunctions._macaddr, 1, 1),
    "strerror": (ValueFunctions._strerror, 1, 1),
    "strftime": (ValueFunctions._strftime, 2, 2),
    "cgroup_path": (ValueFunctions._cgroup_path, 1, 2),
    "nsecs": (ValueFunctions._nsecs, 0, 1),
    "reg": (ValueFunctions._reg, 1, 1),
    "bswap": (ValueFunctions._bswap, 1, 1),
    "has_key": (ValueFunctions._has_key, 1, 2),
    "delete": (ValueFunctions._delete, 1, 9),
    "syscall_name": (ValueFunctions._syscall_name, 1, 1),
    "getopt": (ValueFunctions._getopt, 1, 3),
    "kptr": (ValueFunctions._kptr, 1, 1),
    "uptr": (ValueFunctions._uptr, 1, 1),
}
"""By name: the translating method, and the smallest and largest number of arguments."""
