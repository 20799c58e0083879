"""Find the names that a probe spec's expressions can refer to, by the kind of source: arguments, locations,
types.

A new kind of source is a line of ``SCOPES``, and a function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pytracer.kernel.facts import NOT_IN_REGISTER, KernelInfo, NamedTarget
from pytracer.kernel.policy import LSM_PREFIX
from pytracer.lang.scope import EITHER, KERNEL, USER, Lvalue, Operand, Scope, Value
from pytracer.lang.signature import retype
from pytracer.lang.types import RAW, ArrayType, IntType, PointerType, StructType, Type, VoidType, basic
from pytracer.plan.btf_types import BtfTypes, NoTypes, ProgramTypes, Prototype
from pytracer.plan.calling_convention import REGISTERS, first_registers
from pytracer.record import replace
from pytracer.spec import Source

_GO = "Go passes arguments in registers of its own, which are not read"
_WITHIN = "within a function, registers hold anything"
_FIELD = re.compile(
    r"^\tfield:(?P<type>[^;]*?)(?P<name>\w+)(?P<array>\[[^;]*\])?;"
    r"\toffset:(?P<offset>\d+);\tsize:(?P<size>\d+);\tsigned:(?P<signed>[01]);",
    re.M,
)
_SYSTEM_CALLS = "syscalls"


def scope_of(source: Source, target: NamedTarget, facts: KernelInfo, *, signed: bool = False) -> Scope:
    """Return the scope at a target. ``signed``: the user's own signature names and types the arguments.

    Raises HeadersError if types are damaged, and the errors of tracefs.
    """
    types = facts.types
    type_provider = NoTypes() if types is None else BtfTypes(types)
    scope = SCOPES[source.kind](source, target, type_provider, facts)
    if signed and source.kind in ("u", "ur") and not source.offset:
        raw = _make_raw_registers(facts)
        begin = scope if scope.entry is None else scope.entry
        if begin.missing_reason == _GO:
            return scope
        begin = replace(begin, named={}, numbered=raw)
        return begin if scope.entry is None else replace(scope, entry=begin)
    return scope


def _describe_target(source: Source, target: NamedTarget) -> str:
    return replace(source, place="", name=target.name).text


def _make_arguments(
    code_of: Callable[[int], str], prototype: Prototype, places: Sequence[int]
) -> tuple[Value, ...]:
    """Return the arguments, by the first of the registers (or words) that each is in."""
    return tuple(
        Value("0", VoidType("value that is in no register as the function begins"))
        if register == NOT_IN_REGISTER and isinstance(kind, (IntType, PointerType))
        else retype(code_of(max(register, 0)), kind)
        for (_, kind), register in zip(prototype.arguments, places, strict=True)
    )


def _word_indexes(prototype: Prototype) -> list[int]:
    """Return the index of the first word of each argument of a trampoline, which passes them in sequence."""
    places, following = list[int](), 0
    for _, kind in prototype.arguments:
        places.append(following)
        following += _count_registers(kind)
    return places


def _find_registers(prototype: Prototype, types: NoTypes, facts: KernelInfo) -> list[int]:
    return first_registers(prototype, [None] * len(prototype.arguments), types, facts.architecture)


def _register(number: int) -> str:
    return f"pt_spec_argument(ctx, {number})"


def _read_context_word(number: int) -> str:
    return f"pt_spec_context_word(ctx, {number})"


def _make_kprobe_scope(source: Source, target: NamedTarget, types: NoTypes, facts: KernelInfo) -> Scope:
    description, register_count = _describe_target(source, target), REGISTERS.get(facts.architecture, 0)
    if source.offset:
        return Scope(description, types, missing_reason=_WITHIN)
    prototype = types.function(target.function)
    if prototype is None:
        raw = tuple(Value(f"((u64){_register(number)})", RAW) for number in range(register_count))
        names = f"arg1 to arg{register_count}"
        hint = f"it is not in BTF, so there is {names}, or a signature: NAME(int number, char *text)"
        return Scope(description, types, numbered=raw, missing_reason=hint)
    values = _make_arguments(_register, prototype, _find_registers(prototype, types, facts))
    return _add_arguments(prototype, Scope(description, types), values[:register_count])


def _add_arguments(prototype: Prototype, scope: Scope, values: Sequence[Value]) -> Scope:
    operands: dict[str, Operand] = {
        name: value for (name, _), value in zip(prototype.arguments, values, strict=False) if name
    }
    has_more_arguments = len(prototype.arguments) > len(values)
    absent = f"only the first {len(values)} arguments are in registers" if has_more_arguments else ""
    absent = absent if values else "it has no arguments"
    return replace(scope, named=operands, numbered=tuple(values), missing_reason=absent)


def _make_kretprobe_scope(source: Source, target: NamedTarget, types: NoTypes, facts: KernelInfo) -> Scope:
    prototype = types.function(target.function)
    code = "pt_spec_return_value(ctx)"
    returned = Value(f"((u64){code})", RAW)
    if prototype is not None:
        returned = _make_return_value(code, prototype.returned)
    entry = _make_kprobe_scope(replace(source, kind="k"), target, types, facts)
    return Scope(
        _describe_target(source, target),
        types,
        returned=returned,
        entry=entry,
        missing_reason="it has returned",
    )


def _make_return_value(code: str, kind: Type) -> Value:
    if isinstance(kind, (IntType, PointerType)):
        return retype(code, kind)
    text = f"a {kind.text}" if isinstance(kind, VoidType) else f"a whole {kind.text}"
    return Value("0", VoidType("nothing" if text == "a void" else text))


def _make_fentry_scope(source: Source, target: NamedTarget, types: NoTypes, facts: KernelInfo) -> Scope:  # noqa: ARG001
    description = _describe_target(source, target)
    prototype = types.function(target.function)
    if prototype is None:
        return Scope(description, types, missing_reason="it is not in BTF")
    return _add_arguments(
        prototype,
        Scope(description, types),
        _make_arguments(_read_context_word, prototype, _word_indexes(prototype)),
    )


def _make_lsm_scope(source: Source, target: NamedTarget, types: NoTypes, facts: KernelInfo) -> Scope:
    function = replace(target, symbol=LSM_PREFIX + target.name)  # to which programs are attached
    return _make_fentry_scope(source, function, types, facts)


def _make_fexit_scope(source: Source, target: NamedTarget, types: NoTypes, facts: KernelInfo) -> Scope:
    scope = _make_fentry_scope(source, target, types, facts)
    entry = _make_fentry_scope(replace(source, kind="f"), target, types, facts)
    prototype = types.function(target.function)
    if prototype is None:
        return replace(scope, entry=entry)
    places = sum(_count_registers(kind) for _, kind in prototype.arguments)
    return replace(
        scope, returned=_make_return_value(_read_context_word(places), prototype.returned), entry=entry
    )


def _count_registers(kind: Type) -> int:
    """Return the number of registers that an argument takes."""
    return max(-(-kind.size // 8), 1) if isinstance(kind, StructType) else 1


def _make_raw_tp_scope(source: Source, target: NamedTarget, types: NoTypes, facts: KernelInfo) -> Scope:  # noqa: ARG001
    description = _describe_target(source, target)
    prototype = types.tracepoint(target.name)
    if prototype is None:
        return Scope(description, types, missing_reason="BTF does not say what it passes")
    return _add_arguments(
        prototype,
        Scope(description, types),
        _make_arguments(_read_context_word, prototype, _word_indexes(prototype)),
    )


def _make_raw_registers(facts: KernelInfo, first: int = 0) -> tuple[Value, ...]:
    count = REGISTERS.get(facts.architecture, 0)
    return tuple(Value(f"((u64){_register(number)})", RAW) for number in range(first, count))


def _make_uprobe_scope(source: Source, target: NamedTarget, types: NoTypes, facts: KernelInfo) -> Scope:
    description = _describe_target(source, target)
    if source.offset:
        return Scope(description, types, missing_reason=_WITHIN, memory=USER)
    [site] = target.sites
    if facts.is_go(site):
        return Scope(description, types, missing_reason=_GO, memory=USER)
    raw = _make_raw_registers(facts)
    types, prototype, registers = _find_debug_info(target, types, facts)
    if prototype is not None:
        values = _make_arguments(
            _register, prototype, first_registers(prototype, registers, types, facts.architecture)
        )
        variadic_registers = raw[len(values) :] if prototype.variadic else ()
        scope = _add_arguments(prototype, Scope(description, types, memory=USER), values)
        return replace(scope, numbered=(*values, *variadic_registers))
    instead = f"arg1 to arg{len(raw)}, or a signature, as in {description}(int number, char *text)"
    hint = f"no debug information that can be read describes it: use {instead}"
    return Scope(description, types, numbered=raw, missing_reason=hint, memory=USER)


def _find_debug_info(
    target: NamedTarget, types: NoTypes, facts: KernelInfo
) -> tuple[NoTypes, Prototype | None, tuple[int | None, ...]]:
    """Return the types from debug information if there is any, the prototype, and the registers of
    arguments. It does not describe the compiler's clones of a function (``name.part.0``), which may have
    other arguments."""
    [site] = target.sites
    debug_types = None if "." in site.name else facts.function_types(site)
    if debug_types is None:
        return types, None, ()
    all_types = ProgramTypes(debug_types.types, types)
    return all_types, all_types.function(site.name), debug_types.registers


def _make_uretprobe_scope(source: Source, target: NamedTarget, types: NoTypes, facts: KernelInfo) -> Scope:
    entry = _make_uprobe_scope(replace(source, kind="u"), target, types, facts)
    types, prototype, _ = _find_debug_info(target, types, facts)
    code = "pt_spec_return_value(ctx)"
    returned = (
        Value(f"((u64){code})", RAW) if prototype is None else _make_return_value(code, prototype.returned)
    )
    description = _describe_target(source, target)
    return Scope(
        description, types, returned=returned, entry=entry, missing_reason="it has returned", memory=USER
    )


def _mark(source: Source, target: NamedTarget, types: NoTypes, facts: KernelInfo) -> Scope:  # noqa: ARG001
    [site] = target.sites
    values = list[Operand]()
    for number, argument in enumerate(site.arguments):
        kind: Type = IntType(abs(argument.size), argument.size < 0, raw=abs(argument.size) == 8)
        if argument.problem:
            kind = VoidType(f"value that nobody can read: {argument.problem}")
        assert isinstance(kind, (IntType, VoidType))
        code = f"pt_spec_usdt_argument(ctx, target, {number}, &bad)"
        values.append(Value(f"(({kind.c}){code})", kind) if isinstance(kind, IntType) else Value("0", kind))
    return Scope(
        _describe_target(source, target),
        types,
        numbered=tuple(values),
        missing_reason="arguments of USDT probes have no names: arg1, arg2, ..."
        if values
        else "it has no arguments",
        memory=USER,
    )


def _make_event_scope(source: Source, target: NamedTarget, types: NoTypes, facts: KernelInfo) -> Scope:
    of_call = target.name.partition(":")[0] == _SYSTEM_CALLS
    operands = dict[str, Operand]()
    for match in _FIELD.finditer(facts.event_format(target.name)):
        # Programs get the arguments of a system call, but not the copies of strings that such events have in
        # Linux 7 (perf_call_bpf_enter): there is other memory at their offsets.
        if not (of_call and match["type"].strip().startswith("__data_loc")):
            operands[match["name"]] = _parse_field(match, types, of_call=of_call)
    return Scope(
        _describe_target(source, target),
        types,
        named=operands,
        missing_reason="fields go by their names",
        record=True,
    )


def _parse_field(match: re.Match[str], types: NoTypes, *, of_call: bool) -> Lvalue:
    """Return a field as the format of its event declares it. Those of system calls are 8 bytes each, of which
    the type's size counts."""
    declared, array = match["type"].strip(), match["array"] or ""
    offset, size, signed = int(match["offset"]), int(match["size"]), match["signed"] == "1"
    for word, base in (("__data_loc", "0"), ("__rel_loc", str(offset + size))):
        if declared.startswith(word):  # where it is in the record, and above 16 bits how long
            address = f"((u64)ctx + {base} + (*(volatile u32 *)(ctx + {offset}) & 0xffff))"
            element = _parse_element(declared[len(word) :].removesuffix("[]").strip(), types, signed=signed)
            return Lvalue(address, 0, ArrayType(element, 0), KERNEL)
    kind: Type
    if array:
        length = int(array[1:-1]) if array[1:-1].isdecimal() else 0
        element = _parse_element(declared, types, size // length if length else 0, signed=signed)
        kind = ArrayType(element, length or size // element.size)
    elif declared.endswith("*"):
        user = of_call or "__user" in declared
        kind = PointerType(_parse_pointed_type(declared, types), user=user)
    else:
        scalar = _parse_number_type(declared, types)
        if of_call and scalar is not None and scalar.size <= size:
            kind = replace(scalar, char=False)
        elif scalar is not None and scalar.size == size:
            kind = replace(scalar, signed=signed)
        elif size in (1, 2, 4, 8):
            kind = IntType(size, signed)
        else:
            kind = VoidType(declared)
    return Lvalue("ctx", offset, kind, EITHER if isinstance(kind, PointerType) else KERNEL, direct=True)


def _parse_element(declared: str, types: NoTypes, size: int = 0, *, signed: bool) -> IntType:
    """Return the element type of an array of ``declared``; ``size`` is 0 if the format does not say it."""
    kind = _parse_number_type(declared, types)
    if kind is not None and size in (0, kind.size):
        return replace(kind, signed=signed)
    return IntType(size if size in (1, 2, 4, 8) else 1, signed)


def _parse_number_type(declared: str, types: NoTypes) -> IntType | None:
    """Return a number's type, by C's names or the kernel's (``key_serial_t``, ``enum NAME``)."""
    words = tuple(word for word in declared.split() if word not in ("const", "volatile"))
    kind = basic(words)
    if kind is None and len(words) == 1:
        kind = types.find("typedef", words[0])
    elif kind is None and len(words) == 2 and words[0] == "enum":
        kind = types.find(*words)
    return kind if isinstance(kind, IntType) else None


def _parse_pointed_type(declared: str, types: NoTypes) -> Type:
    """Return the type that a field of this C type points at."""
    words = [word for word in re.findall(r"\w+", declared) if word not in ("const", "volatile", "__user")]
    if declared.count("*") > 1 or not words:
        return PointerType(VoidType()) if words else VoidType()
    kind = basic(tuple(words))
    if kind is None and len(words) == 2:
        kind = types.find(words[0], words[1]) if words[0] in ("struct", "union") else None
    return kind or VoidType()


SCOPES: dict[str, Callable[[Source, NamedTarget, NoTypes, KernelInfo], Scope]] = {
    "k": _make_kprobe_scope,
    "kr": _make_kretprobe_scope,
    "f": _make_fentry_scope,
    "fr": _make_fexit_scope,
    "lsm": _make_lsm_scope,
    "t": _make_event_scope,
    "rt": _make_raw_tp_scope,
    "u": _make_uprobe_scope,
    "ur": _make_uretprobe_scope,
    "usdt": _mark,
}
