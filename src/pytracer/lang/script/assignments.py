"""Translate assignments to variables and maps, aggregate functions, ``++`` and ``--``."""

from __future__ import annotations

from collections.abc import Callable

from pytracer.lang import syntax
from pytracer.lang.arithmetic import convert, size_of
from pytracer.lang.scope import Operand, Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.types import (
    AGGREGATES,
    SERIES,
    WORD,
    AggregateType,
    in_memory,
    stored,
    stored_size,
    unify,
)
from pytracer.lang.script.value_functions import ValueFunctions
from pytracer.lang.script.value_types import value_type
from pytracer.lang.script.values import Variable, wide
from pytracer.lang.syntax import Node
from pytracer.lang.types import S64, U64, IntType, PointerType, Type
from pytracer.record import replace

_ARGUMENT_COUNTS = {"count": (0, 0), "hist": (1, 2), "lhist": (4, 4), "tseries": (3, 4)}
_HIST_BITS_MAX = 5
_LHIST_BUCKETS = 1000
_SERIES_INTERVALS = 1_000_000


class Assignments(ValueFunctions):
    """Translates assignments. ``block_id`` is the number of the block in the script."""

    block_id = 0

    def assign(self, node: script.Assignment) -> None:
        """Translate an assignment."""
        target = node.target
        if isinstance(target, syntax.Name) and target.name in self.substitutes:
            self._assign_argument(node, target.name)
        elif isinstance(target, syntax.Name) and target.name == "_":
            self.value(node.value or target)
        elif isinstance(target, syntax.Name) and target.name.startswith("$"):
            self._assign_variable(node, target)
        elif isinstance(target, script.MapAccess):
            self._assign_map(node, self.resolve_map(target))
        else:
            raise self.fail(target, "only a variable or a map can be assigned to")

    def _assign_argument(self, node: script.Assignment, name: str) -> None:
        """Assign to the variable that the caller of a macro passed; the value is evaluated in the macro."""
        assert node.value is not None
        value = self.value(self._with_operator(node, node.target))
        kind = value.type
        code = self.temporary(wide(kind), value.code) if not in_memory(kind) else value.code

        def assign_to(argument: Node) -> None:
            if isinstance(argument, syntax.Name) and argument.name in self.substitutes:
                self.expand_parameter(argument.name, assign_to)
                return
            if not isinstance(argument, syntax.Name) or not argument.name.startswith("$"):
                raise self.fail(node.target, f"{name} is no variable here")
            self._set_variable(node, argument.name, Value(code, kind))

        self.expand_parameter(name, assign_to)

    def _with_operator(self, node: script.Assignment, target: Node) -> Node:
        assert node.value is not None
        if node.operator == "=":
            return node.value
        at = target.end
        return syntax.Binary(node.start, node.end, node.operator[:-1], target, node.value, at)

    def _assign_variable(self, node: script.Assignment, target: syntax.Name) -> None:
        name = target.name
        declared = self._declared_type(node.type) if node.type is not None else None
        if node.value is None:
            known_type = declared or self.state.variable_types.get((self.block_id, name))
            if known_type is not None:
                self._new_variable(name, known_type, None)
            else:
                self.undefined.add(name)
            return
        if name in self.undefined and name not in self.variables:
            self.state.widen_variable(self.block_id, name, self.type_of_value(node.value))
        value = self.value(self._with_operator(node, target))
        if node.declares or name not in self.variables:
            self._new_variable(name, declared or self._variable_type(name, value.type), value)
        else:
            self._set_variable(node, name, value)

    def _declared_type(self, name: syntax.TypeName) -> Type:
        kind = self.type_of(name)
        return stored(value_type(kind, self.scope.types) or kind)

    def _variable_type(self, name: str, kind: Type) -> Type:
        """Return the type that holds all values that the block assigns to a variable."""
        known_type = self.state.variable_types.get((self.block_id, name))
        common = unify(known_type, stored(kind)) if known_type is not None else None
        return common if common is not None else stored(kind)

    def _set_variable(self, node: Node, name: str, value: Value) -> None:
        variable = self.variables.get(name)
        if variable is None:
            self._new_variable(name, stored(value.type), value)
            return
        common = unify(variable.type, stored(value.type))
        if common is None:
            raise self.fail(node, f"{name} is a {variable.type.text}, and this is {value.type.text}")
        if common != variable.type:
            self.state.widen_variable(self.block_id, name, common)
            if in_memory(common):
                return  # until it has the room, in the next pass
        if in_memory(common):
            self.copy(value, variable.code, common)
            return
        if common != variable.type:
            self.variables[name] = Variable(variable.code, common)
        self.line(f"{variable.code} = ({wide(common)})({value.code});")

    def _new_variable(self, name: str, kind: Type, value: Value | None) -> None:
        if in_memory(kind):
            address = self.memory(max(stored_size(kind), WORD), fixed=True)
            if value is None:
                self.line(f"script_zero({address}, {stored_size(kind)});")
            else:
                self.copy(value, address, kind)
            self.variables[name] = Variable(address, kind)
            return
        code = "0" if value is None else f"({wide(kind)})({value.code})"
        if self.variables_in_memory:  # a loop's body is a function of its own, and sees memory only
            address = self.memory(WORD, fixed=True)
            self.line(f"*(u64 *)({address}) = {code};")
            self.variables[name] = Variable(f"(*({wide(kind)} *)({address}))", kind)
            return
        self.variables[name] = Variable(self.temporary(wide(kind), code), kind)

    def _assign_map(self, node: script.Assignment, target: script.MapAccess) -> None:
        value = node.value
        if isinstance(value, script.Call) and value.name in AGGREGATES and node.operator == "=":
            self._aggregate(target, value)
            return
        if isinstance(value, script.BlockExpression) and node.operator == "=" and _ends_in_aggregate(value):
            self.in_block(value, lambda last: self._assign_map(replace(node, value=last), target))
            return
        value_node = self._with_operator(node, target)
        kind = self.type_of_value(value_node)
        keys = self.key_types(target)
        if self.state.has_type(target.name) and isinstance(self.state.map(target.name).value, AggregateType):
            raise self.fail(node, f"{target.name} is filled by a function", hint="clear() empties it")
        self.state.record_types(node, target.name, keys, kind)
        if not self.state.has_type(target.name):
            return  # until what is assigned has a type
        known_map = self.state.map(target.name)
        key = self.map_key(target)
        address = self.memory(stored_size(known_map.value))
        self.store(value_node, address, known_map.value)
        self.line(f"script_set_{known_map.number}({key}, {address});")

    def in_block(
        self, node: script.BlockExpression, translate: Callable[[Node], Operand | None]
    ) -> Operand | None:
        """Translate the statements of a block in braces, then its last expression, as ``translate`` does."""
        raise NotImplementedError

    def step(self, node: script.Step) -> Value:
        """See ScriptExpressions."""
        target = node.of
        if isinstance(target, syntax.Name) and target.name in self.substitutes:
            return self.expand_parameter(target.name, lambda argument: self.step(replace(node, of=argument)))
        if isinstance(target, syntax.Name) and target.name.startswith("$"):
            variable = self.variables.get(target.name)
            if variable is None:
                raise self.fail(target, f"{target.name} has no value yet")
            before = self.temporary(wide(variable.type), variable.code)
            size = size_of(variable.type.to) if isinstance(variable.type, PointerType) else 1
            self.line(f"{variable.code} += {node.by * (size or 1)};")
            return Value(variable.code if node.before else before, variable.type)
        if not isinstance(target, script.MapAccess):
            raise self.fail(target, "only a variable or a map can be counted up or down")
        target = self.resolve_map(target)
        self.state.record_types(node, target.name, self.key_types(target), S64 if node.by < 0 else U64)
        if not self.state.has_type(target.name):
            return self.state.pending()
        known_map = self.state.map(target.name)
        key = self.map_key(target)
        kind, by = known_map.value, node.by
        if isinstance(kind, PointerType):
            by *= size_of(kind.to) or 1
        before = self.temporary("s64", f"script_add_{known_map.number}({key}, {by})")
        return Value(f"(({wide(kind)})({before} + {by if node.before else 0}))", kind)

    # Aggregates

    def _series(self, call: script.Call, length: int, number: int) -> int:
        """Return how the values of an interval of a time series become one, as an index in SERIES."""
        if self.state.config["unstable_tseries"] == "error":
            raise self.fail(
                call, "the script's settings allow no tseries()", hint="unstable_tseries = enable"
            )
        if length < 1 or not 1 <= number <= _SERIES_INTERVALS:
            message = f"tseries() keeps 1 to {_SERIES_INTERVALS} intervals of at least 1ns"
            raise self.fail(call, message, hint="tseries(n, length, number)")
        aggregation = self.constant_text(call.arguments[3]) if len(call.arguments) > 3 else SERIES[0]
        if aggregation not in SERIES or (len(call.arguments) > 3 and aggregation == SERIES[0]):
            raise self.fail(call.arguments[3], f"a time series is of {', '.join(SERIES[1:])}")
        return SERIES.index(aggregation)

    def _aggregate(self, target: script.MapAccess, call: script.Call) -> None:
        name, arguments = call.name, call.arguments
        argument_counts = {"count": (0, 0), "hist": (1, 2), "lhist": (4, 4), "tseries": (3, 4)}.get(
            name, (1, 1)
        )
        if not argument_counts[0] <= len(arguments) <= argument_counts[1]:
            raise self.fail(call, f"{name}() takes {argument_counts[1]} arguments, and has {len(arguments)}")
        numbers = arguments[1:3] if name == "tseries" else arguments[1:]
        parameters = tuple(self.constant(argument) for argument in numbers)
        if name == "hist":
            parameters = parameters or (0,)
            if not 0 <= parameters[0] <= _HIST_BITS_MAX:
                raise self.fail(call, f"the bits of hist() are 0 to {_HIST_BITS_MAX}")
        if name == "lhist":
            low, high, step = parameters
            if step <= 0 or high <= low or (high - low) // step > _LHIST_BUCKETS:
                raise self.fail(
                    call, f"lhist() has 1 to {_LHIST_BUCKETS} buckets: lhist(n, first, last, step)"
                )
        if name == "tseries":
            parameters = (*parameters, self._series(call, *parameters))
        signed = False
        value = Value("1", U64)
        if arguments:
            value = self.number(arguments[0])
            signed = isinstance(value.type, IntType) and value.type.signed
        kind = AggregateType(name, signed or name in ("hist", "lhist"), parameters)
        self.state.record_types(call, target.name, self.key_types(target), kind)
        if not self.state.has_type(target.name):
            return
        known_map = self.state.map(target.name)
        key = self.map_key(target)
        code = convert(value, S64 if signed else U64).code if arguments else "1"
        clock = f", {self._series_clock(call)}" if name == "tseries" else ""
        self.line(f"script_{name}_{known_map.number}({key}, (s64)({code}){clock});")

    def _series_clock(self, call: script.Call) -> str:
        """Return C for the time of a value of a time series, in ns."""
        name = self.state.config["dummy_ts_map"]
        if not name:
            return "script_wall_ns()"
        return f"(u64)({self.number(script.MapAccess(call.start, call.end, name)).code})"


def _ends_in_aggregate(node: Node) -> bool:
    """Return whether the value of a block in braces is that of a function that fills a map."""
    while isinstance(node, script.BlockExpression):
        node = node.last
    return isinstance(node, script.Call) and node.name in AGGREGATES
