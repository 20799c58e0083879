"""Find which scripts' blocks at the trace events of all system calls their raw tracepoints can serve.

A program on a raw tracepoint costs less than one on the trace event, for which the kernel first fills a
record. It cannot serve a block that reads the six arguments of a call: those of 32-bit calls are in other
registers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytracer.kernel.facts import KernelInfo
from pytracer.lang.scope import KERNEL, Scope, Value
from pytracer.lang.script.syntax import Call, Macro, ProbeBlock, children
from pytracer.lang.syntax import Member, Name, Node
from pytracer.lang.types import S64, StructType
from pytracer.plan.named_target import NumberedTarget
from pytracer.record import replace
from pytracer.request import Request
from pytracer.spec import RawTracepoint

_ENTRY, _EXIT = "raw_syscalls:sys_enter", "raw_syscalls:sys_exit"
_CALL_NUMBERS = ("orig_ax", "syscallno")
"""The members of struct pt_regs that hold the number of a call: on x86-64, on arm64."""
_DIFFERENT = frozenset({"args", "ctx", "kstack", "reg"})
"""Names whose values differ at the raw tracepoint: it has fewer fields, another context, and is reached by
other functions of the kernel."""
_FIELD = "args."


def to_raw(target: NumberedTarget) -> NumberedTarget:
    """Return the raw tracepoint of a trace event that :func:`find_raw_scopes` has found."""
    name = target.target.name.rpartition(":")[2]
    return replace(target, source=replace(target.source, kind="rt"), target=replace(target.target, name=name))


def find_raw_scopes(
    places: Iterable[tuple[ProbeBlock, NumberedTarget, Scope]],
    macros: Iterable[Macro],
    request: Request,
    facts: KernelInfo,
) -> dict[str, Scope]:
    """Return the scopes at the raw tracepoints that serve all blocks at their trace event, by its name.

    ``places`` are the blocks at trace events, with the target and the scope there. Blocks of one event are
    not divided: it would run them in another order than the script's.
    """
    if "t" in request.hooks or request.pack:  # which may be loaded where the trace event loses less
        return {}
    scopes, names = dict[str, Scope](), dict[str, set[str]]()
    for block, target, scope in places:
        if target.target.name in (_ENTRY, _EXIT):
            scopes[target.target.name] = scope
            names.setdefault(target.target.name, set()).update(_iter_names(block))
    of_macros = {name for macro in macros for name in _iter_names(macro)} if scopes else set()
    return {
        event: raw_scope
        for event, scope in scopes.items()
        if (raw_scope := _make_scope(event, scope, names[event] | of_macros)) and _is_as_good(event, facts)
    }


def _make_scope(event: str, scope: Scope, names: set[str]) -> Scope | None:
    """Return the scope at a raw tracepoint; None if it lacks one of the names."""
    fields = {name.removeprefix(_FIELD) for name in names if name.startswith(_FIELD)}
    if names & _DIFFERENT:
        return None
    first = Value("((s64)pt_spec_context_word(ctx, 1))", S64)  # behind the registers
    named = {"id" if event == _ENTRY else "ret": first}
    if event == _EXIT and "id" in fields and (number := _find_call_number(scope)):
        named["id"] = number
    return replace(scope, named=named) if fields <= named.keys() else None


def _find_call_number(scope: Scope) -> Value | None:
    """Return the number of the call that ends; None if the place of it is not known."""
    registers = scope.types.find("struct", "pt_regs")
    members = scope.types.members(registers) if isinstance(registers, StructType) else {}
    for name in _CALL_NUMBERS:
        if name in members:
            address = f"(pt_spec_context_word(ctx, 0) + {members[name].offset // 8}ULL)"
            return Value(f"((s64)(s32)pt_spec_load({address}, 4, {KERNEL}, &bad))", S64)
    return None


def _is_as_good(event: str, facts: KernelInfo) -> bool:
    answer = facts.probe(RawTracepoint("", event=event.rpartition(":")[2]))
    return answer.is_supported and not answer.caveat


def _iter_names(node: Node) -> Iterator[str]:
    """Yield the names of builtins, functions and variables in a block; "args.id" for a field."""
    if isinstance(node, Member) and isinstance(node.of, Name) and _builtin(node.of.name) == "args":
        yield f"{_FIELD}{node.name}"
        return
    if isinstance(node, (Name, Call)):
        yield _builtin(node.name)
    for child in children(node):
        yield from _iter_names(child)


def _builtin(name: str) -> str:
    return name.removeprefix("__builtin_")
