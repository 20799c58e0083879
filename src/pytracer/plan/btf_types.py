"""The types of a kernel's BTF, as questions ask for them (:class:`pytracer.lang.scope.TypeProvider`)."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from pytracer.features.table.changes import KERNEL_BTF
from pytracer.features.table.feature import BTF
from pytracer.kernel.btf import COMPOSITES, ENUMS, Btf, BtfKind
from pytracer.lang.scope import RecordField
from pytracer.lang.types import ArrayType, IntType, PointerType, StructType, Type, VoidType
from pytracer.record import record

_KINDS = {
    "struct": (BtfKind.STRUCT,),
    "union": (BtfKind.UNION,),
    "enum": ENUMS,
    "typedef": (BtfKind.TYPEDEF,),
}
_PROGRAMS = 1 << 32  # numbers of programs' structs; BTF has fewer
_CHARS = ("char", "signed char")
_DEEP = 32  # types within each other
_USER = "user"  # the tag of pointers into programs' memory (Linux 5.18, 7472d5a642c9; kernels built by clang)


@record
class Prototype:
    """The prototype of a function: arguments by name, return type, and whether it is variadic."""

    arguments: tuple[tuple[str, Type], ...]
    returned: Type
    variadic: bool = False


class NoTypes:
    """The types of a kernel without BTF."""

    missing_reason = f"this kernel has no BTF (CONFIG_{BTF}, Linux {KERNEL_BTF.since})"

    def members(self, struct: StructType) -> Mapping[str, RecordField]:  # noqa: ARG002 - see lang.scope.TypeProvider
        """Return {}."""
        return {}

    def find(self, kind: str, name: str) -> Type | None:  # noqa: ARG002
        """Return None."""
        return None

    def names(self, kind: str) -> set[str]:  # noqa: ARG002
        """Return nothing."""
        return set()

    def enumerator(self, name: str) -> int | None:  # noqa: ARG002
        """Return None."""
        return None

    def enum_of(self, enumerator: str) -> str:  # noqa: ARG002
        """Return ""."""
        return ""

    def enum_names(self, enum: str) -> Mapping[int, str]:  # noqa: ARG002
        """Return nothing."""
        return {}

    def function(self, name: str) -> Prototype | None:  # noqa: ARG002
        """Return None."""
        return None

    def tracepoint(self, name: str) -> Prototype | None:  # noqa: ARG002
        """Return None."""
        return None


class BtfTypes(NoTypes):
    """The types in ``btf``. Damaged BTF raises HeadersError.

    A program's types are numbered above the kernel's, so that struct numbers are unique.
    """

    missing_reason = ""

    def __init__(self, btf: Btf, *, base_count: int = 0) -> None:
        self._btf = btf
        self._base_count = base_count
        self._members = dict[int, dict[str, RecordField]]()

    def members(self, struct: StructType) -> Mapping[str, RecordField]:
        """See :class:`pytracer.lang.scope.TypeProvider`."""
        number = struct.number - self._base_count
        if self._btf.kind(number) is BtfKind.FWD:
            if self._base_count:  # in C++, another of that name may be another
                return {}
            number = self._btf.find(COMPOSITES, struct.name.partition(" ")[2]) or 0
        if not number:
            return {}
        if number not in self._members:
            self._members[number] = {
                name: RecordField(self.type(kind), offset, bits)
                for name, kind, offset, bits in self._btf.walk(number)
            }
        return self._members[number]

    def find(self, kind: str, name: str) -> Type | None:
        """See :class:`pytracer.lang.scope.TypeProvider`."""
        type_id = self._btf.find(_KINDS[kind], name)
        return None if type_id is None else self.type(type_id)

    def names(self, kind: str) -> set[str]:
        """See :class:`pytracer.lang.scope.TypeProvider`."""
        return self._btf.names(*_KINDS[kind])

    def enumerator(self, name: str) -> int | None:
        """See :class:`pytracer.lang.scope.TypeProvider`; None where enums differ about it."""
        values = self.enumerators(name)
        return values.pop() if len(values) == 1 else None

    def enum_of(self, enumerator: str) -> str:
        """See :class:`pytracer.lang.scope.TypeProvider`."""
        enums = self._btf.enumerators_named([enumerator]).get(enumerator, ())
        return next((self._btf.name(number) for number, _ in enums), "")

    def enum_names(self, enum: str) -> Mapping[int, str]:
        """See :class:`pytracer.lang.scope.TypeProvider`."""
        number = self._btf.find(ENUMS, enum)
        return {} if number is None else {value: name for name, value in self._btf.enumerators(number)}

    def enumerators(self, name: str) -> set[int]:
        """Return the values of an enumerator's name over all enums."""
        return {value for _, value in self._btf.enumerators_named([name]).get(name, ())}

    def function(self, name: str) -> Prototype | None:
        """Return a function of the kernel; None if BTF does not have it, or has several."""
        type_ids = self._btf.find_all(BtfKind.FUNC, name)
        return self._prototype(type_ids[0]) if len(type_ids) == 1 else None

    def tracepoint(self, name: str) -> Prototype | None:
        """Return the prototype of a tracepoint; None if there is none."""
        declared = self._btf.find(BtfKind.TYPEDEF, f"btf_trace_{name}")
        if declared is None:
            return None
        # A pointer to a function that gets the probe's own data before the arguments; it does not name them.
        # The one that calls all probes does (Linux 5.10, d25e37d89dd2).
        prototype = self._prototype(self._btf.target(self._btf.target(declared)))
        caller = self.function(f"__traceiter_{name}")
        arguments = prototype.arguments if caller is None else caller.arguments
        return Prototype(arguments[1:], prototype.returned)

    @functools.cached_property
    def _says_char_signs(self) -> bool:
        """Return whether the BTF records which chars are signed: then a plain char without a sign is
        unsigned, as in kernels since 6.2 (3bc753c06dd0). Older pahole marks neither "signed char" nor
        "char"."""
        number = self._btf.find((BtfKind.INT,), "signed char")
        return number is not None and self._btf.integer(number).signed

    def _prototype(self, number: int) -> Prototype:
        proto = self._btf.func_proto(number)
        return Prototype(
            tuple((name, self.type(kind)) for name, kind in proto.params),
            self.type(proto.returns),
            proto.variadic,
        )

    def type(self, number: int, depth: int = 0) -> Type:
        """Return the type with this BTF id."""
        btf = self._btf
        number = btf.resolve(number)
        kind = btf.kind(number)
        if depth > _DEEP:
            return VoidType("a type within itself")
        if kind is BtfKind.INT:
            info = btf.integer(number)
            name = btf.name(number)
            if info.size not in (1, 2, 4, 8):
                return VoidType(name)
            char = info.size == 1 and (info.char or name == "char")
            signed = info.signed or (name in _CHARS and not self._base_count and not self._says_char_signs)
            return IntType(info.size, signed, char=char, boolean=info.boolean)
        if kind in ENUMS:
            name = "" if self._base_count else btf.name(number)  # user space finds the names of the kernel's
            return IntType(btf.size_of(number), btf.enum_signed(number), enum=name)
        if kind in COMPOSITES:
            tag = "union" if kind is BtfKind.UNION else "struct"
            return StructType(
                number + self._base_count,
                f"{tag} {btf.name(number) or '(without a name)'}",
                btf.size_of(number),
            )
        if kind is BtfKind.FWD:
            tag = "union" if btf.fwd_is_union(number) else "struct"
            return StructType(number + self._base_count, f"{tag} {btf.name(number)}", 0)
        if kind is BtfKind.ARRAY:
            element_id, length = btf.array(number)
            return ArrayType(self.type(element_id, depth + 1), length)
        if kind is BtfKind.PTR:
            target_id = btf.target(number)
            return PointerType(self._pointed(target_id, depth), user=self._is_user(target_id))
        return VoidType(btf.name(number) or kind.name.lower().replace("func_proto", "function"))

    def _pointed(self, number: int, depth: int) -> Type:
        """Return the type that a pointer refers to; a struct's members are read only on demand."""
        if not number or self._btf.kind(self._btf.resolve(number)) in (BtfKind.FUNC_PROTO, BtfKind.FUNC):
            return VoidType("function") if number else VoidType()
        return self.type(number, depth + 1)

    def _is_user(self, number: int) -> bool:
        btf = self._btf
        for _ in range(_DEEP):
            if btf.kind(number) is BtfKind.TYPE_TAG and btf.name(number) == _USER:
                return True
            if btf.kind(number) not in (BtfKind.TYPE_TAG, BtfKind.CONST, BtfKind.VOLATILE, BtfKind.RESTRICT):
                break
            number = btf.target(number)
        return False


class ProgramTypes(NoTypes):
    """A program's types, by its debug information, and behind them those of the kernel."""

    def __init__(self, program_btf: Btf, kernel: NoTypes) -> None:
        self._own = BtfTypes(program_btf, base_count=_PROGRAMS)
        self._kernel = kernel
        self.missing_reason = kernel.missing_reason

    def members(self, struct: StructType) -> Mapping[str, RecordField]:
        """See :class:`pytracer.lang.scope.TypeProvider`."""
        return (self._own if struct.number >= _PROGRAMS else self._kernel).members(struct)

    def find(self, kind: str, name: str) -> Type | None:
        """See :class:`pytracer.lang.scope.TypeProvider`."""
        return self._own.find(kind, name) or self._kernel.find(kind, name)

    def names(self, kind: str) -> set[str]:
        """See :class:`pytracer.lang.scope.TypeProvider`."""
        return self._own.names(kind) | self._kernel.names(kind)

    def enumerator(self, name: str) -> int | None:
        """See :class:`pytracer.lang.scope.TypeProvider`."""
        value = self._own.enumerators(name)
        return self._own.enumerator(name) if value else self._kernel.enumerator(name)

    def function(self, name: str) -> Prototype | None:
        """Return a function of the program."""
        return self._own.function(name)
