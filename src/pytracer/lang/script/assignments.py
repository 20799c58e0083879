"""Assignments of scripts: to variables, to maps, by the functions that fill a map, ``++`` and ``--``."""

from __future__ import annotations

from pytracer.lang import syntax
from pytracer.lang.arithmetic import convert, size_of
from pytracer.lang.scope import Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.functions import Functions
from pytracer.lang.script.types import (
    AGGREGATES,
    WORD,
    AggregateType,
    in_memory,
    stored,
    stored_size,
    unify,
)
from pytracer.lang.script.values import Variable, wide
from pytracer.lang.syntax import Node
from pytracer.lang.types import S64, U64, IntType, PointerType, Type
from pytracer.record import replace

_HIST_BITS_MAX = 5
_LHIST_BUCKETS = 1000


class Assignments(Functions):
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
            self._assign_map(node, self.actual_map(target))
        else:
            raise self.fail(target, "only a variable or a map can be assigned to")

    def _assign_argument(self, node: script.Assignment, name: str) -> None:
        """Assign to the variable that a macro's parameter stands for; the value has the macro's names."""
        assert node.value is not None
        value = self.value(self._operated(node, node.target))
        kind = value.type
        kept = self.temporary(wide(kind), value.code) if not in_memory(kind) else value.code

        def assign_to(meant: Node) -> None:
            if isinstance(meant, syntax.Name) and meant.name in self.substitutes:
                self.in_place_of(meant.name, assign_to)
                return
            if not isinstance(meant, syntax.Name) or not meant.name.startswith("$"):
                raise self.fail(node.target, f"{name} is no variable here")
            self._set_variable(node, meant.name, Value(kept, kind))

        self.in_place_of(name, assign_to)

    def _operated(self, node: script.Assignment, target: Node) -> Node:
        assert node.value is not None
        if node.operator == "=":
            return node.value
        at = target.end
        return syntax.Binary(node.start, node.end, node.operator[:-1], target, node.value, at)

    def _assign_variable(self, node: script.Assignment, target: syntax.Name) -> None:
        name = target.name
        declared = self._storable(node.type) if node.type is not None else None
        if node.value is None:
            known = declared or self.state.variable_types.get((self.block_id, name))
            if known is not None:
                self._new_variable(name, known, None)
            else:
                self.undefined.add(name)
            return
        if name in self.undefined and name not in self.variables:
            self.state.widen_variable(self.block_id, name, self.type_of_value(node.value))
        value = self.value(self._operated(node, target))
        if node.declares or name not in self.variables:
            self._new_variable(name, declared or self._variable_type(name, value.type), value)
        else:
            self._set_variable(node, name, value)

    def _storable(self, name: syntax.TypeName) -> Type:
        kind = self.type_of(name)
        return stored(kind)

    def _variable_type(self, name: str, kind: Type) -> Type:
        """Return the type of a variable: what it was found to need in the whole block."""
        known = self.state.variable_types.get((self.block_id, name))
        both = unify(known, stored(kind)) if known is not None else None
        return both if both is not None else stored(kind)

    def _set_variable(self, node: Node, name: str, value: Value) -> None:
        known = self.variables.get(name)
        if known is None:
            self._new_variable(name, stored(value.type), value)
            return
        both = unify(known.type, stored(value.type))
        if both is None:
            raise self.fail(node, f"{name} is a {known.type.text}, and this is {value.type.text}")
        if both != known.type:
            self.state.widen_variable(self.block_id, name, both)
            if in_memory(both):
                return  # until it has the room, in the next pass
        if in_memory(both):
            self.copy(value, known.code, both)
            return
        if both != known.type:
            self.variables[name] = Variable(known.code, both)
        self.line(f"{known.code} = ({wide(both)})({value.code});")

    def _new_variable(self, name: str, kind: Type, value: Value | None) -> None:
        if in_memory(kind):
            place = self.memory(max(stored_size(kind), WORD), fixed=True)
            if value is None:
                self.line(f"script_zero({place}, {stored_size(kind)});")
            else:
                self.copy(value, place, kind)
            self.variables[name] = Variable(place, kind)
            return
        code = "0" if value is None else f"({wide(kind)})({value.code})"
        if self.keeps_variables:  # a loop's body is a function of its own, and sees memory only
            place = self.memory(WORD, fixed=True)
            self.line(f"*(u64 *)({place}) = {code};")
            self.variables[name] = Variable(f"(*({wide(kind)} *)({place}))", kind)
            return
        self.variables[name] = Variable(self.temporary(wide(kind), code), kind)

    def _assign_map(self, node: script.Assignment, target: script.MapAccess) -> None:
        value = node.value
        if isinstance(value, script.Call) and value.name in AGGREGATES and node.operator == "=":
            self._aggregate(target, value)
            return
        value_node = self._operated(node, target)
        kind = self.type_of_value(value_node)
        keys = self.key_types(target)
        if self.state.knows(target.name) and isinstance(self.state.map(target.name).value, AggregateType):
            raise self.fail(node, f"{target.name} is filled by a function", hint="clear() empties it")
        self.state.learn(node, target.name, keys, kind)
        if not self.state.knows(target.name):
            return  # until what is assigned has a type
        known = self.state.map(target.name)
        key = self.map_key(target)
        place = self.memory(stored_size(known.value))
        self.store(value_node, place, known.value)
        self.line(f"script_set_{known.number}({key}, {place});")

    def step(self, node: script.Step) -> Value:
        """See ScriptExpressions."""
        target = node.of
        if isinstance(target, syntax.Name) and target.name in self.substitutes:
            return self.in_place_of(target.name, lambda meant: self.step(replace(node, of=meant)))
        if isinstance(target, syntax.Name) and target.name.startswith("$"):
            known = self.variables.get(target.name)
            if known is None:
                raise self.fail(target, f"{target.name} has no value yet")
            before = self.temporary(wide(known.type), known.code)
            size = size_of(known.type.to) if isinstance(known.type, PointerType) else 1
            self.line(f"{known.code} += {node.by * (size or 1)};")
            return Value(known.code if node.before else before, known.type)
        if not isinstance(target, script.MapAccess):
            raise self.fail(target, "only a variable or a map can be counted up or down")
        target = self.actual_map(target)
        self.state.learn(node, target.name, self.key_types(target), S64 if node.by < 0 else U64)
        if not self.state.knows(target.name):
            return self.state.pending()
        known_map = self.state.map(target.name)
        key = self.map_key(target)
        kind, by = known_map.value, node.by
        if isinstance(kind, PointerType):
            by *= size_of(kind.to) or 1
        before = self.temporary("s64", f"script_add_{known_map.number}({key}, {by})")
        return Value(f"(({wide(kind)})({before} + {by if node.before else 0}))", kind)

    # Aggregates

    def _aggregate(self, target: script.MapAccess, call: script.Call) -> None:
        name, arguments = call.name, call.arguments
        wanted = {"count": (0, 0), "hist": (1, 2), "lhist": (4, 4)}.get(name, (1, 1))
        if not wanted[0] <= len(arguments) <= wanted[1]:
            raise self.fail(call, f"{name}() takes {wanted[1]} arguments, and has {len(arguments)}")
        parameters = tuple(self.constant(one) for one in arguments[1:])
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
        signed = False
        value = Value("1", U64)
        if arguments:
            value = self.number(arguments[0])
            signed = isinstance(value.type, IntType) and value.type.signed
        kind = AggregateType(name, signed or name in ("hist", "lhist"), parameters)
        self.state.learn(call, target.name, self.key_types(target), kind)
        if not self.state.knows(target.name):
            return
        known = self.state.map(target.name)
        key = self.map_key(target)
        code = convert(value, S64 if signed else U64).code if arguments else "1"
        self.line(f"script_{name}_{known.number}({key}, (s64)({code}));")
