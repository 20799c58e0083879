"""Translate the expressions of scripts to C: those of probe specs, variables, strings, tuples, records."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pytracer.errors import suggest_near
from pytracer.lang import syntax
from pytracer.lang.arithmetic import number, size_of
from pytracer.lang.constants import constants
from pytracer.lang.scope import Comm, Lvalue, Operand, Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.comparisons import BOOL
from pytracer.lang.script.operators import Operators
from pytracer.lang.script.types import (
    WORD,
    ArrayValueType,
    IntArrayType,
    RecordType,
    StringType,
    TupleType,
    c_size,
    literal_type,
    stored,
    stored_size,
)
from pytracer.lang.syntax import Node
from pytracer.lang.types import (
    S64,
    U64,
    ArrayType,
    IntType,
    PointerType,
    StructType,
    Type,
)
from pytracer.record import replace

_T = TypeVar("_T")


_OUT_OF_BOUNDS = "Array access out of bounds. This can lead to unexpected results."


class ScriptExpressions(Operators):
    """Translates expressions."""

    # Resolving

    def _resolve(self, node: Node) -> Operand:
        return self._resolve_into(node, "", 0)

    def _resolve_into(self, node: Node, dst: str, capacity: int) -> Operand:
        match node:
            case syntax.TextLiteral():
                return self.literal(node, dst, capacity)
            case syntax.Name() if node.name in self.substitutes:
                return self.expand_parameter(
                    node.name, lambda argument: self._resolve_into(argument, dst, capacity)
                )
            case syntax.Name() if node.name.startswith("$"):
                return self._variable(node)
            case script.MapAccess():
                return self._map_value(self.resolve_map(node))
            case script.TupleLiteral() | script.RecordLiteral():
                return self._tuple(node)
            case script.BlockExpression():
                return self.block_value(node)
            case script.Comptime():
                value = self.value(node.of)
                if value.constant is None:
                    raise self.fail(node.of, "this is not known before the script runs")
                return value
            case syntax.TypeName():
                raise self.fail(node, "this is a type, and no value")
            case syntax.NumberLiteral():
                return number(node.value, literal_type(node.value))
            case syntax.Index():
                return self._index_into(node)
            case script.Step():
                return self.step(node)
            case script.SizeOf():
                return self._size(node)
            case script.Call():
                return self.call(node, dst, capacity)
        return super()._resolve(node)

    def name(self, node: syntax.Name) -> Operand:
        """Look up a builtin, an enumerator or a constant. Raises ProbeSpecError."""
        macro = self.state.macros.get((node.name, 0))
        if macro is not None:
            return self.expand(node, macro, ())
        if node.name in ("true", "false"):
            return number(int(node.name == "true"), BOOL)
        if node.name in self.state.constants:
            constant = self.state.constants[node.name]
            return number(constant, literal_type(constant))
        operand = self.builtin(node)
        if operand is not None:
            return operand
        call = script.Call(node.start, node.end, node.name.removeprefix("__builtin_"), ())
        if self.takes_no_argument(call):
            return self.call(call, "", 0)
        value = self.scope.types.enumerator(node.name)
        if value is not None:
            return number(value, IntType(8, value < 0, enum=self.scope.types.enum_of(node.name)))
        value = constants().get(node.name)
        if value is None and node.name.startswith(("__NR_", "SYS_")):
            value = self.state.syscall_number(node.name.removeprefix("__NR_").removeprefix("SYS_"))
        if value is None:
            raise self.fail(node, f"no builtin or constant {node.name!r}", hint=self.suggest(node.name))
        return number(value, literal_type(value))

    def expand_parameter(self, name: str, translate: Callable[[Node], _T]) -> _T:
        """Translate the argument of a macro's parameter, with the names in scope at the macro's call."""
        substitute = self.substitutes[name]
        inner = self.variables, self.substitutes
        self.variables, self.substitutes = substitute.variables, substitute.substitutes
        try:
            return translate(substitute.node)
        finally:
            self.variables, self.substitutes = inner

    def resolve_map(self, node: script.MapAccess) -> script.MapAccess:
        """Return the map that a macro's parameter names; any other map unchanged."""
        substitutes = self.substitutes
        while node.name in substitutes:
            substitute = substitutes[node.name]
            if not isinstance(substitute.node, script.MapAccess):
                raise self.fail(node, f"{node.name} is no map here")
            node = replace(node, name=substitute.node.name, keys=node.keys or substitute.node.keys)
            substitutes = substitute.substitutes
        return node

    def expand(self, node: Node, macro: script.Macro, arguments: tuple[Node, ...]) -> Value:
        """Translate a macro's call by its body."""
        raise NotImplementedError

    def block_value(self, node: script.BlockExpression) -> Operand:
        """Translate a block in braces that has a value."""
        raise NotImplementedError

    statement_functions: tuple[str, ...] = ()
    """The functions that have no value."""

    def translate_statement(self, node: Node) -> None:
        """Translate an expression whose value is not used, or a call of a function without a value."""
        raise NotImplementedError

    def builtin(self, node: syntax.Name) -> Operand | None:
        """Return the value of a builtin; None if there is none of that name."""
        raise NotImplementedError

    def suggest(self, name: str) -> str:
        """Return a hint with the names that are similar to ``name``."""
        raise NotImplementedError

    def call(self, node: script.Call, dst: str, capacity: int) -> Value:
        """Translate a call of a function that has a value."""
        raise NotImplementedError

    def is_type(self, node: Node) -> bool:
        """Return whether a node names a type: itself, or as the argument of a macro."""
        raise NotImplementedError

    def type_of_argument(self, node: Node) -> Type:
        """Return the type that a type's name or an expression has."""
        raise NotImplementedError

    def takes_no_argument(self, call: script.Call) -> bool:
        """Return whether a function can be called without arguments, and so without parentheses."""
        raise NotImplementedError

    def _variable(self, node: syntax.Name) -> Value:
        name = node.name
        if name == "$#":
            return number(len(self.state.parameters), S64)
        if name[1:].isdecimal():
            return self._parameter(node, int(name[1:]))
        variable = self.variables.get(name)
        if variable is None and name in self.undefined and not self.state.is_final:
            return self.state.pending()
        if variable is None:
            raise self.fail(node, f"{name} has no value yet", hint=f"{name} = ... before it")
        return Value(variable.code, variable.type)

    def parameter(self, index: int) -> str:
        """Return the text of a positional parameter, from 1 on; "" if it was not given."""
        parameters = self.state.parameters
        return parameters[index - 1] if 0 < index <= len(parameters) else ""

    def _parameter(self, node: Node, index: int) -> Value:
        text = self.parameter(index)
        if not text:
            return number(0, S64)
        try:
            value = int(text, 8 if text.isdecimal() and text.startswith("0") else 0)
        except ValueError:
            return self.literal(syntax.TextLiteral(node.start, node.end, text))
        return number(value, literal_type(value))

    def _tuple(self, node: script.TupleLiteral | script.RecordLiteral) -> Value:
        kind = self.type_of_tuple(node)
        dst = self.memory(max(kind.size, WORD))
        self.store(node, dst, kind)
        return Value(dst, kind)

    def type_of_tuple(self, node: script.TupleLiteral | script.RecordLiteral) -> TupleType | RecordType:
        """Return the type of a tuple or record."""
        items = tuple(self.type_of_value(item) for item in node.items)
        return RecordType(node.names, items) if isinstance(node, script.RecordLiteral) else TupleType(items)

    def type_of_value(self, node: Node) -> Type:
        """Return the type of an expression as it is stored, without adding code."""
        if isinstance(node, (script.TupleLiteral, script.RecordLiteral)):
            return self.type_of_tuple(node)
        lines, used_words, fixed_words, variables = self.lines, self._used, self._fixed, dict(self.variables)
        functions = len(self.functions)
        self.lines = []
        try:
            return stored(self.value(node).type)
        finally:
            self.lines, self._used, self._fixed, self.variables = lines, used_words, fixed_words, variables
            del self.functions[functions:]

    def _size(self, node: script.SizeOf) -> Value:
        of = node.of
        if self.is_type(of) or (isinstance(of, syntax.Index) and self.is_type(of.of)):
            kind = self.type_of_argument(of)
            return number(self._offset(node, kind) if node.members else size_of(kind), U64)
        if isinstance(node.of, (syntax.TextLiteral,)):
            return number(len(node.of.value.encode()) + 1, U64)
        kind = self.type_of_value(node.of)
        return number(self._offset(node, kind) if node.members else c_size(kind), U64)

    def _offset(self, node: script.SizeOf, kind: Type) -> int:
        """Return the bytes before a member: ``a.b`` counts from the struct that ``a`` is in."""
        offset = 0
        for name in node.members:
            if not isinstance(kind, StructType):
                raise self.fail(node, f"{kind.text} has no members")
            field = self.scope.types.members(kind).get(name)
            if field is None:
                raise self.fail(node, f"{kind.name} has no member {name!r}")
            offset += field.offset
            kind = field.type
        return offset // 8

    # Members of what only scripts have

    def _member(self, node: syntax.Member) -> Operand:
        of = node.of
        is_name = isinstance(of, syntax.Name)
        is_call = is_name or (isinstance(of, script.Call) and not of.arguments)
        builtin = getattr(of, "name", "").removeprefix("__builtin_")
        if is_call and builtin == "config":
            return self._setting(node)
        if is_name and builtin == ("ctx" if self.scope.what.startswith("iter:") else "args"):
            field = self.scope.named.get(node.name)
            if field is None and self.scope.entry is not None:
                field = self.scope.entry.named.get(node.name)
            if field is None:
                known_names = ", ".join(sorted(self.scope.named)[:24])
                hint = f"there are {known_names}" if known_names else self.scope.missing_reason
                raise self.fail(node, f"{self.scope.what} has no argument {node.name!r}", hint=hint)
            return field
        if node.name.isdecimal():
            value = self.value(node.of)
            if not isinstance(value.type, TupleType):
                raise self.fail(node.of, f"this is no tuple ({value.type.text})")
            index = int(node.name)
            if index >= len(value.type.items):
                raise self.fail(node, f"the tuple has {len(value.type.items)} items: .0 is the first")
            return self.load(f"{value.code} + {value.type.offset(index)}", value.type.items[index])
        operand = self._resolve(node.of)
        if isinstance(operand, Comm):
            raise self.fail(node.of, "this is a string, which has no members")
        if isinstance(operand, Value) and isinstance(operand.type, RecordType):
            if node.name not in operand.type.names:
                raise self.fail(
                    node, f"the record has no {node.name!r}", hint=suggest_near(node.name, operand.type.names)
                )
            index = operand.type.names.index(node.name)
            return self.load(f"{operand.code} + {operand.type.offset(index)}", operand.type.items[index])
        if isinstance(operand.type, PointerType):
            lvalue = self._dereference(node.of, self.operand_value(node.of, operand))
            return self._member_at(replace(node, arrow=True), lvalue)
        if isinstance(operand, Lvalue):
            return self._member_at(replace(node, arrow=False), operand)
        self._read(node.of, operand)  # which may have a reason of its own
        raise self.fail(node.of, "this is not a struct")

    def _setting(self, node: syntax.Member) -> Value:
        """Translate ``config.NAME``."""
        text = self.state.config.get(node.name)
        if text is None:
            raise self.fail(
                node, f"no setting {node.name!r}", hint=suggest_near(node.name, self.state.config)
            )
        if text.isdecimal():
            return number(int(text), literal_type(int(text)))
        return self.literal(syntax.TextLiteral(node.start, node.end, text))

    def _index_into(self, node: syntax.Index) -> Operand:
        """Translate ``of[index]``: of an array, a tuple, or an address."""
        operand = self._resolve(node.of)
        kind = None if isinstance(operand, Comm) else operand.type
        length = kind.length if isinstance(kind, (ArrayType, IntArrayType)) else 0
        if length and isinstance(node.index, syntax.Name):
            index = self.number(node.index)
            if index.constant is None:
                self.warn_at_run(node, f"(u64)({index.code}) >= {length}", _OUT_OF_BOUNDS)
        if isinstance(operand, Value) and isinstance(kind, ArrayValueType):
            return self._item(node, operand, kind)
        if isinstance(operand, Value) and isinstance(kind, TupleType):
            position = self.value(node.index).constant
            if position is None or not 0 <= position < len(kind.items):
                raise self.fail(node.index, f"the tuple has items 0 to {len(kind.items) - 1}")
            return self.load(f"{operand.code} + {kind.offset(position)}", kind.items[position])
        if isinstance(operand, Value) and isinstance(kind, StringType):
            kind = IntArrayType(IntType(1, True, char=True), kind.capacity)
        if isinstance(operand, Value) and isinstance(kind, IntArrayType):
            index = self.number(node.index)
            if index.constant is not None:
                self._check_index(node, index.constant, kind.length)
            if index.constant is None:
                index = Value(self.temporary("u64", index.code), U64)
                element = f"*({kind.of.c} *)({operand.code} + {index.code} * {kind.of.size})"
                code = f"({index.code} < {kind.length} ? {element} : 0)"
            else:
                code = f"*({kind.of.c} *)({operand.code} + {index.constant * kind.of.size})"
            return Value(f"(({kind.of.c}){code})", kind.of)
        assert not isinstance(operand, Comm)
        return self._index_at(node, operand)

    def _item(self, node: syntax.Index, array: Value, kind: ArrayValueType) -> Value:
        """Translate an item of an array of arrays, addresses, strings or structs."""
        index, length = self.number(node.index), len(kind.items)
        if index.constant is not None:
            self._check_index(node, index.constant, length)
        at = self.temporary("u64", f"script_index({index.code}, {length})")
        return self.load(f"({array.code} + {at} * {stored_size(kind.items[0])})", kind.items[0])

    def _check_index(self, node: syntax.Index, index: int, length: int) -> None:
        if not 0 <= index < length:
            raise self.fail(node.index, f"the index {index} is out of bounds for array of size {length}")

    def step(self, node: script.Step) -> Value:
        """Translate ``++`` or ``--``."""
        raise NotImplementedError

    def _map_value(self, node: script.MapAccess) -> Operand:
        """Translate the read of a map."""
        raise NotImplementedError
