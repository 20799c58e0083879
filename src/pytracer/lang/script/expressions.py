"""Translate the expressions of scripts to C: the checker's, and variables, strings, tuples, records."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pytracer.errors import near
from pytracer.lang import syntax
from pytracer.lang.arithmetic import COMPARISONS, as_type, binary, convert, logical, number, size_of
from pytracer.lang.constants import constants
from pytracer.lang.scope import Comm, Found, Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.types import (
    WORD,
    IntArrayType,
    RecordType,
    StringType,
    TupleType,
    c_size,
    in_memory,
    literal_type,
    stored,
    stored_size,
    unify,
)
from pytracer.lang.script.values import ValueWriter
from pytracer.lang.syntax import Node
from pytracer.lang.types import (
    INT,
    S64,
    U64,
    IntType,
    PointerType,
    StoredType,
    StructType,
    Type,
    is_text,
)
from pytracer.record import replace

_T = TypeVar("_T")


class ScriptExpressions(ValueWriter):
    """Translates expressions."""

    # Resolving

    def _resolve(self, node: Node) -> Found:
        return self._resolve_into(node, "", 0)

    def _resolve_into(self, node: Node, to: str, room: int) -> Found:
        match node:
            case syntax.TextLiteral():
                return self.literal(node, to, room)
            case syntax.Name() if node.name in self.substitutes:
                return self.in_place_of(node.name, lambda meant: self._resolve_into(meant, to, room))
            case syntax.Name() if node.name.startswith("$"):
                return self._variable(node)
            case script.MapAccess():
                return self._map_value(self.actual_map(node))
            case script.TupleLiteral() | script.RecordLiteral():
                return self._tuple(node)
            case script.BlockExpression():
                return self.block_value(node)
            case syntax.NumberLiteral():
                return number(node.value, literal_type(node.value))
            case syntax.Index():
                return self._index_into(node)
            case script.Step():
                return self.step(node)
            case script.SizeOf():
                return self._size(node)
            case script.Call():
                return self.call(node, to, room)
        return super()._resolve(node)

    def name(self, node: syntax.Name) -> Found:
        """Look up a builtin, an enumerator or a constant. Raises ProbeSpecError."""
        macro = self.state.macros.get((node.name, 0))
        if macro is not None:
            return self.expand(node, macro, ())
        if node.name in ("true", "false"):
            return number(int(node.name == "true"), IntType(1, False, boolean=True))
        if node.name in self.state.constants:
            known = self.state.constants[node.name]
            return number(known, literal_type(known))
        found = self.builtin(node)
        if found is not None:
            return found
        value = self.scope.types.enumerator(node.name)
        if value is None:
            value = constants().get(node.name)
        if value is None:
            raise self.fail(node, f"no builtin or constant {node.name!r}", hint=self.suggest(node.name))
        return number(value, literal_type(value))

    def in_place_of(self, name: str, translate: Callable[[Node], _T]) -> _T:
        """Translate what a macro's parameter stands for, with the names of where the macro is used."""
        meant = self.substitutes[name]
        inner = self.variables, self.substitutes
        self.variables, self.substitutes = meant.variables, meant.substitutes
        try:
            return translate(meant.node)
        finally:
            self.variables, self.substitutes = inner

    def actual_map(self, node: script.MapAccess) -> script.MapAccess:
        """Return the map that is meant, where a macro's parameter names it."""
        substitutes = self.substitutes
        while node.name in substitutes:
            meant = substitutes[node.name]
            if not isinstance(meant.node, script.MapAccess):
                raise self.fail(node, f"{node.name} is no map here")
            node = replace(node, name=meant.node.name, keys=node.keys or meant.node.keys)
            substitutes = meant.substitutes
        return node

    def expand(self, node: Node, macro: script.Macro, arguments: tuple[Node, ...]) -> Value:
        """Put a macro's body in place of its call."""
        raise NotImplementedError

    def block_value(self, node: script.BlockExpression) -> Found:
        """Translate a block in braces that has a value."""
        raise NotImplementedError

    statement_functions: tuple[str, ...] = ()
    """The functions that have no value."""

    def statement_or_value(self, node: Node) -> None:
        """Translate an expression whose value is not used, or a call of a function without one."""
        raise NotImplementedError

    def builtin(self, node: syntax.Name) -> Found | None:
        """Return the value of a builtin; None if there is none of that name."""
        raise NotImplementedError

    def suggest(self, name: str) -> str:
        """Return a hint that names what is like ``name``."""
        raise NotImplementedError

    def call(self, node: script.Call, to: str, room: int) -> Value:
        """Translate a function that has a value."""
        raise NotImplementedError

    def _variable(self, node: syntax.Name) -> Value:
        name = node.name
        if name == "$#":
            return number(len(self.state.parameters), S64)
        if name[1:].isdecimal():
            return self._parameter(node, int(name[1:]))
        known = self.variables.get(name)
        if known is None and name in self.undefined and not self.state.is_final:
            return self.state.pending()
        if known is None:
            raise self.fail(node, f"{name} has no value yet", hint=f"{name} = ... before it")
        return Value(known.code, known.type)

    def parameter(self, which: int) -> str:
        """Return the text of a positional parameter, from 1 on; "" if it was not given."""
        given = self.state.parameters
        return given[which - 1] if 0 < which <= len(given) else ""

    def _parameter(self, node: Node, which: int) -> Value:
        text = self.parameter(which)
        if not text:
            return number(0, S64)
        try:
            value = int(text, 8 if text.isdecimal() and text.startswith("0") else 0)
        except ValueError:
            return self.literal(syntax.TextLiteral(node.start, node.end, text))
        return number(value, literal_type(value))

    def _tuple(self, node: script.TupleLiteral | script.RecordLiteral) -> Value:
        kind = self.type_of_tuple(node)
        to = self.memory(max(kind.size, WORD))
        self.store(node, to, kind)
        return Value(to, kind)

    def type_of_tuple(self, node: script.TupleLiteral | script.RecordLiteral) -> TupleType | RecordType:
        """Return the type of a tuple or record."""
        items = tuple(self.type_of_value(item) for item in node.items)
        return RecordType(node.names, items) if isinstance(node, script.RecordLiteral) else TupleType(items)

    def type_of_value(self, node: Node) -> Type:
        """Return the type of an expression as it is stored, and add no code."""
        if isinstance(node, (script.TupleLiteral, script.RecordLiteral)):
            return self.type_of_tuple(node)
        lines, used, fixed, variables = self.lines, self._used, self._fixed, dict(self.variables)
        functions = len(self.functions)
        self.lines = []
        try:
            return stored(self.value(node).type)
        finally:
            self.lines, self._used, self._fixed, self.variables = lines, used, fixed, variables
            del self.functions[functions:]

    def _size(self, node: script.SizeOf) -> Value:
        if isinstance(node.of, syntax.TypeName):
            kind = self.type_of(node.of)
            if node.member and isinstance(kind, StructType):
                field = self.scope.types.members(kind).get(node.member)
                if field is None:
                    raise self.fail(node, f"{kind.name} has no member {node.member!r}")
                return number(field.offset // 8, U64)
            return number(size_of(kind), U64)
        if isinstance(node.of, (syntax.TextLiteral,)):
            return number(len(node.of.value.encode()) + 1, U64)
        return number(c_size(self.type_of_value(node.of)), U64)

    # Members of what only scripts have

    def _member(self, node: syntax.Member) -> Found:
        if isinstance(node.of, syntax.Name) and node.of.name == "args":
            field = self.scope.named.get(node.name)
            if field is None and self.scope.entry is not None:
                field = self.scope.entry.named.get(node.name)
            if field is None:
                known = ", ".join(sorted(self.scope.named)[:24])
                hint = f"there are {known}" if known else self.scope.missing_reason
                raise self.fail(node, f"{self.scope.what} has no argument {node.name!r}", hint=hint)
            return field
        if node.name.isdecimal():
            value = self.value(node.of)
            if not isinstance(value.type, TupleType):
                raise self.fail(node.of, f"this is no tuple ({value.type.text})")
            which = int(node.name)
            if which >= len(value.type.items):
                raise self.fail(node, f"the tuple has {len(value.type.items)} items: .0 is the first")
            return self.load(f"{value.code} + {value.type.offset(which)}", value.type.items[which])
        found = self._resolve(node.of)
        if isinstance(found, Comm):
            raise self.fail(node.of, "this is a string, which has no members")
        if isinstance(found, Value) and isinstance(found.type, RecordType):
            if node.name not in found.type.names:
                raise self.fail(
                    node, f"the record has no {node.name!r}", hint=near(node.name, found.type.names)
                )
            which = found.type.names.index(node.name)
            return self.load(f"{found.code} + {found.type.offset(which)}", found.type.items[which])
        return super()._member(replace(node, arrow=isinstance(found.type, PointerType)))

    def _index_into(self, node: syntax.Index) -> Found:
        """Translate ``of[index]``: of an array, a tuple, or an address."""
        found = self._resolve(node.of)
        kind = None if isinstance(found, Comm) else found.type
        if isinstance(found, Value) and isinstance(kind, TupleType):
            which = self.value(node.index).constant
            if which is None or not 0 <= which < len(kind.items):
                raise self.fail(node.index, f"the tuple has items 0 to {len(kind.items) - 1}")
            return self.load(f"{found.code} + {kind.offset(which)}", kind.items[which])
        if isinstance(found, Value) and isinstance(kind, StringType):
            kind = IntArrayType(IntType(1, True, char=True), kind.room)
        if isinstance(found, Value) and isinstance(kind, IntArrayType):
            index = self.number(node.index)
            if index.constant is not None and not 0 <= index.constant < kind.length:
                raise self.fail(node.index, f"there are {kind.length} of them: 0 to {kind.length - 1}")
            if index.constant is None:
                index = Value(self.temporary("u64", index.code), U64)
                place = f"*({kind.of.c} *)({found.code} + {index.code} * {kind.of.size})"
                code = f"({index.code} < {kind.length} ? {place} : 0)"
            else:
                code = f"*({kind.of.c} *)({found.code} + {index.constant * kind.of.size})"
            return Value(f"(({kind.of.c}){code})", kind.of)
        return super()._index(node)

    # Operators

    def _binary(self, node: syntax.Binary) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        if node.sign in ("&&", "||"):
            for part, value in ((node.left, left), (node.right, right)):
                self.check_number(part, value)
            return logical(node.sign, left, right)
        if isinstance(left.type, StringType) or isinstance(right.type, StringType):
            return self._compare_strings(node, left, right)
        for part, value in ((node.left, left), (node.right, right)):
            self.check_number(part, value)
        if isinstance(left.type, IntType) and isinstance(right.type, IntType):
            left, right = _as_wide(left, right)
        elif node.sign in COMPARISONS or not isinstance(left.type, PointerType):
            left, right = convert(left, U64), convert(right, U64)
        if node.sign in ("/", "%") and right.constant == 0:
            return number(0, S64)
        made = binary(node, left, right, self.fail, check_signs=False)
        if node.sign in COMPARISONS:
            return Value(made.code, IntType(1, False, boolean=True), made.constant)
        if node.sign == "-" and isinstance(made.type, IntType):
            return convert(made, S64)
        return made

    def check_number(self, node: Node, value: Value) -> None:
        """Check that a value is a number or an address. Raises ProbeSpecError."""
        if isinstance(value.type, StoredType):
            raise self.fail(node, f"a number is expected here, and this is a {value.type.text}")

    def _compare_strings(self, node: syntax.Binary, left: Value, right: Value) -> Value:
        if node.sign not in ("==", "!="):
            raise self.fail(node, f"{node.sign!r} makes no sense of strings", hint="== and != do")
        parts = []
        for part, value in ((node.left, left), (node.right, right)):
            if isinstance(value.type, PointerType) and is_text(value.type):
                value = self.read_string(value.code, self.state.string_room, self._memory(value.type))
            if not isinstance(value.type, StringType):
                raise self.fail(part, f"this is no string ({value.type.text})")
            parts.append(value)
        one, other = parts
        same = self.equal(one, other)
        return same if node.sign == "==" else Value(f"((s32)!{same.code})", INT)

    def equal(self, one: Value, other: Value, limit: int = 0) -> Value:
        """Return whether two strings are the same, or their first ``limit`` bytes."""
        assert isinstance(one.type, StringType)
        assert isinstance(other.type, StringType)
        if one.type.room > other.type.room:
            one, other = other, one
        assert isinstance(one.type, StringType)
        size = min(one.type.room, limit) if limit else one.type.room
        code = f"script_equal({one.code}, {other.code}, {size}, {int(bool(limit))})"
        return Value(self.temporary("s32", code), INT)

    def _conditional(self, node: syntax.Conditional) -> Value:
        condition = self.number(node.condition)
        calls = [part for part in (node.yes, node.no) if isinstance(part, script.Call)]
        if any(call.name in self.statement_functions for call in calls):
            self.line(f"if ({condition.code}) {{")
            self.statement_or_value(node.yes)
            self.line("} else {")
            self.statement_or_value(node.no)
            self.line("}")
            return number(0, S64)
        yes, no = self.value(node.yes), self.value(node.no)
        if not (in_memory(yes.type) or in_memory(no.type)):
            if isinstance(yes.type, IntType) and isinstance(no.type, IntType) and yes.type != no.type:
                yes, no = _as_wide(yes, no)
            kind = yes.type if isinstance(yes.type, PointerType) else no.type
            pick = f"({condition.code}) ? {convert(yes, kind).code} : {convert(no, kind).code}"
            return Value(f"(({as_type(kind)})({pick}))", kind)
        both = self.both_types(node, yes.type, no.type)
        to = self.memory(stored_size(both))
        self.line(f"if ({condition.code}) {{")
        self.copy(yes, to, both)
        self.line("} else {")
        self.copy(no, to, both)
        self.line("}")
        return Value(to, both)

    def both_types(self, node: Node, one: Type, other: Type) -> Type:
        """Return a type that holds both. Raises ProbeSpecError if there is none."""
        both = unify(stored(one), stored(other))
        if both is None:
            raise self.fail(node, f"the one is {one.text}, the other {other.text}")
        return both

    def step(self, node: script.Step) -> Value:
        """Translate ``++`` or ``--``."""
        raise NotImplementedError

    def _map_value(self, node: script.MapAccess) -> Found:
        """Translate the read of a map."""
        raise NotImplementedError


def _as_wide(left: Value, right: Value) -> tuple[Value, Value]:
    """Return both numbers with 64 bits: signed if one of them is, unless that is a literal that is not
    negative."""

    def is_signed(value: Value) -> bool:
        assert isinstance(value.type, IntType)
        return value.type.signed and not (value.constant is not None and value.constant >= 0)

    both_literals = left.constant is not None and right.constant is not None
    signed = is_signed(left) or is_signed(right) or both_literals
    kind = S64 if signed else U64
    return convert(left, kind), convert(right, kind)
