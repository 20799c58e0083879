"""Look up the identifiers of an expression."""

from __future__ import annotations

from pytracer.errors import ProbeSpecError, UnsupportedError, suggest_near
from pytracer.lang import syntax
from pytracer.lang.arithmetic import number
from pytracer.lang.constants import constants
from pytracer.lang.scope import Comm, Operand, Scope, Value
from pytracer.lang.syntax import Node
from pytracer.lang.types import INT, S64, U32, U64, IntType, PointerType, Type, VoidType

_SPECIAL = {
    "$pid": ("(u32)(bpf_get_current_pid_tgid() >> 32)", U32),
    "$tgid": ("(u32)(bpf_get_current_pid_tgid() >> 32)", U32),
    "$tid": ("(u32)bpf_get_current_pid_tgid()", U32),
    "$uid": ("(u32)bpf_get_current_uid_gid()", U32),
    "$gid": ("(u32)(bpf_get_current_uid_gid() >> 32)", U32),
    "$cpu": ("(u32)bpf_get_smp_processor_id()", U32),
    "$ktime": ("(u64)bpf_ktime_get_ns()", U64),
}
_COMM, _TASK, _RETVAL, _LATENCY = "$comm", "$task", "$retval", "$latency"


def _holds(kind: IntType, value: int) -> bool:
    """Return whether a type has this value."""
    bits = 8 * kind.size - kind.signed
    return -(kind.signed << bits) <= value < 1 << bits


class Identifiers:
    """Looks up identifiers in a scope.

    ``traces_entry`` is true once one needs the function's entry, ``within`` if the expression itself is
    evaluated there.
    """

    def __init__(self, text: str, scope: Scope, *, within: bool) -> None:
        """``text`` is the whole probe spec, for messages."""
        self.whole = text
        self.scope = scope
        self.within = within
        self.traces_entry = False

    def fail(self, node: Node, message: str, *, hint: str = "") -> ProbeSpecError:
        """Return the error, with the position of a node."""
        return ProbeSpecError(message, self.whole, node.start, node.end, hint=hint)

    def require_types(self, name: str) -> None:
        """Raise UnsupportedError if a type is unknown since the kernel's are."""
        if reason := self.scope.types.missing_reason:
            raise UnsupportedError(
                f"{self.whole}: the type {name} is unknown: {reason}",
                hint="numbers and texts need no types of the kernel",
            )

    def name(self, node: syntax.Name) -> Operand:
        """Look up an identifier. Raises ProbeSpecError, which suggests similar ones."""
        name, scope = node.name, self.scope
        if name in scope.named:
            return scope.named[name]
        lower = name.lower()
        if lower in _SPECIAL:
            code, kind = _SPECIAL[lower]
            return Value(f"({code})", kind)
        if lower == _COMM:
            return Comm()
        if lower == _TASK:
            return Value("((u64)bpf_get_current_task())", self._task(node))
        if name == "retval" or lower == _RETVAL:
            return self._retval(node)
        if lower == _LATENCY:
            return self._latency(node)
        if name.startswith("arg") and name[3:].isdecimal():
            return self._numbered(node, int(name[3:]))
        if name == "args" and scope.record:
            raise self.fail(node, "args is all fields of the trace event", hint="as in args->NAME")
        value = scope.types.enumerator(name)
        if value is None:
            value = constants().get(name)
        if value is not None:
            kinds = (INT, U32, S64, U64)
            return number(value, next(k for k in kinds if _holds(k, value)))
        raise self._unknown(node)

    def _unknown(self, node: syntax.Name) -> ProbeSpecError:
        scope = self.scope
        name = node.name
        if name.startswith("$"):
            valid_names = {*_SPECIAL, _COMM, _TASK, _RETVAL, _LATENCY, "$entry"}
            return self.fail(
                node,
                f"no {name!r}",
                hint=suggest_near(name.lower(), valid_names) or f"there is {', '.join(valid_names)}",
            )
        noun = "field" if scope.record else "argument"
        if scope.entry is not None and name in scope.entry.named:
            return self.fail(
                node,
                f"{name!r} is an argument, and gone as {scope.what} returns",
                hint=f"$entry({name}) keeps it",
            )
        if not scope.named and scope.missing_reason:
            return self.fail(node, f"{scope.what} has no {noun} {name!r}", hint=scope.missing_reason)
        valid_names = {*scope.named, *(["retval"] if scope.returned else [])}
        hint = suggest_near(name, valid_names) or f"there are {', '.join(sorted(valid_names)[:24])}"
        if scope.missing_reason and not hint.startswith("did"):
            hint = scope.missing_reason
        return self.fail(node, f"{scope.what} has no {noun} {name!r}", hint=hint if valid_names else "")

    def _task(self, node: Node) -> Type:
        kind = self.scope.types.find("struct", "task_struct")
        if kind is None:
            self.require_types("struct task_struct")
            raise self.fail(node, "the type of tasks is unknown")
        return PointerType(kind, kernel=True)

    def _retval(self, node: Node) -> Value:
        if self.scope.returned is None:
            hint = "kr:, fr: and ur: (BCC's r:) are for that"
            raise self.fail(node, f"{self.scope.what} has no return value that can be read", hint=hint)
        if isinstance(self.scope.returned.type, VoidType):
            raise self.fail(node, f"{self.scope.what} returns {self.scope.returned.type.text}")
        return self.scope.returned

    def _latency(self, node: Node) -> Value:
        if self.within or self.scope.entry is None:
            raise self.fail(
                node, "$latency is available only where a function returns", hint="kr:, fr: or ur:"
            )
        self.traces_entry = True
        return Value("((u64)call->ns)", U64)

    def _numbered(self, node: syntax.Name, number: int) -> Operand:
        scope = self.scope
        if 0 < number <= len(scope.numbered):
            return scope.numbered[number - 1]
        if scope.entry is not None and 0 < number <= len(scope.entry.numbered):
            raise self.fail(
                node, f"{node.name} is gone as {scope.what} returns", hint=f"$entry({node.name}) keeps it"
            )
        count = len(scope.numbered)
        hint = (
            f"there is arg1 to arg{count}"
            if count > 1
            else "there is arg1"
            if count
            else scope.missing_reason
        )
        raise self.fail(node, f"{scope.what} has no {node.name}", hint=hint)
