"""Translate the builtins of scripts, such as ``pid`` and ``comm``."""

from __future__ import annotations

from pytracer.errors import suggest_near
from pytracer.lang import syntax
from pytracer.lang.arithmetic import number
from pytracer.lang.scope import USER, Comm, Lvalue, Operand, Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.map_access import MapReads
from pytracer.lang.script.types import TARGET_SYMBOL, CodeType, SymbolType
from pytracer.lang.types import U32, U64, IntType, Type, VoidType

NUMBERS: dict[str, tuple[str, Type]] = {
    "pid": ("(u32)(script_pid_tgid() >> 32)", U32),
    "tid": ("(u32)script_pid_tgid()", U32),
    "uid": ("(u32)bpf_get_current_uid_gid()", U32),
    "gid": ("(u32)(bpf_get_current_uid_gid() >> 32)", U32),
    "ppid": ("(u32)pt_current_parent()", U32),
    "cpu": ("(u32)bpf_get_smp_processor_id()", U32),
    "numaid": ("(u32)bpf_get_numa_node_id()", U32),
    "nsecs": ("(u64)script_boot_ns()", U64),
    "elapsed": ("(u64)(script_boot_ns() - script_run_value(0))", U64),
    "cpid": ("(u32)script_run_value(1)", U32),
    "rand": ("(u32)bpf_get_prandom_u32()", U32),
    "cgroup": ("(u64)bpf_get_current_cgroup_id()", U64),
    "jiffies": ("(u64)script_jiffies()", U64),
    "usermode": ("(u8)script_is_user(ctx)", IntType(1, False)),
}
"""The builtins that are numbers: the C expression and its type."""
_IN_KERNEL = ("f", "fr", "t", "rt", "iter")  # kinds of targets without registers of their own
_WORDS = (
    "comm",
    "curtask",
    "retval",
    "args",
    "func",
    "probe",
    "username",
    "ctx",
    "kstack",
    "ustack",
    "ncpus",
)


class Builtins(MapReads):
    """Translates builtins."""

    def builtin(self, node: syntax.Name) -> Operand | None:
        """See ScriptExpressions."""
        name = node.name.removeprefix("__builtin_")
        if name == "usermode" and self.scope.what in ("begin", "end", "BEGIN", "END"):
            return number(1, IntType(1, False))
        if name == "usermode" and self.scope.what.partition(":")[0] in _IN_KERNEL:
            return number(0, IntType(1, False))
        if name in NUMBERS:
            code, kind = NUMBERS[name]
            return Value(f"({code})", kind)
        if name == "comm":
            return Comm()
        if name == "curtask":
            return Value("((u64)bpf_get_current_task())", self._task(node))
        if name == "ncpus":
            return number(self.state.cpus, U64)
        if name == "retval":
            return self._return_value(node)
        if name == "ctx":
            return Value("((u64)ctx)", U64)
        if name == "probe":
            return Value("((u64)target)", CodeType(name))
        if name == "func":
            dst = self.memory(SymbolType(user=False).size)
            self.line(f"*(u64 *)({dst}) = {TARGET_SYMBOL:#x}ULL | target;")
            self.line(f"*(u64 *)({dst} + 8) = 0;")
            return Value(dst, SymbolType(self.scope.memory == USER))
        if name == "username":
            return Value("((u64)(u32)bpf_get_current_uid_gid())", CodeType("username"))
        if name in ("kstack", "ustack"):
            return self.stack(node, user=name == "ustack", arguments=())
        if name.startswith("sarg") and name[4:].isdecimal():
            return Value(f"script_stack_argument(ctx, {int(name[4:])})", U64)
        if name.startswith("arg") and name[3:].isdecimal():
            return self._argument(node, int(name[3:]))
        if name == "args":
            return self._all_arguments(node)
        return None

    def suggest(self, name: str) -> str:
        """See ScriptExpressions."""
        return suggest_near(name, {*NUMBERS, *_WORDS, "arg0"})

    def stack(self, node: syntax.Node, *, user: bool, arguments: tuple[syntax.Node, ...]) -> Value:
        """Add code that captures a stack."""
        raise NotImplementedError

    def _argument(self, node: syntax.Name, index: int) -> Operand:
        arguments = self.scope.numbered
        if index >= len(arguments):
            hint = f"there is arg0 to arg{len(arguments) - 1}" if arguments else self.scope.missing_reason
            raise self.fail(node, f"{self.scope.what} has no {node.name}", hint=hint)
        value = arguments[index]
        if isinstance(value, Lvalue):
            return value
        if isinstance(value, Value) and isinstance(value.type, VoidType):
            raise self.fail(node, f"this argument cannot be read: {value.type.text}")
        if isinstance(value, Value):  # a register: numbers and addresses alike
            return Value(f"((u64)({value.code}))", value.type if self.scope.record else U64)
        return value

    def _all_arguments(self, node: syntax.Name) -> Value:
        """Translate ``args``: a record of all arguments or fields."""
        scope = self.scope.entry if self.scope.entry is not None and not self.scope.named else self.scope
        names = tuple(scope.named)
        if not names:
            raise self.fail(node, f"{scope.what} has no arguments", hint=scope.missing_reason)
        items = tuple(syntax.Member(node.start, node.end, node, name, False, node.start) for name in names)
        return self._tuple(script.RecordLiteral(node.start, node.end, names, items))

    def _return_value(self, node: syntax.Name) -> Value:
        value = self._retval(node)
        if isinstance(value.type, IntType) and value.type.raw:
            return Value(value.code, U64)
        return value
