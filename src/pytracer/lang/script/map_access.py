"""Translate reads of maps, and the keys of maps."""

from __future__ import annotations

from pytracer.lang.scope import Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.casts import Casts
from pytracer.lang.script.program import ScriptMap
from pytracer.lang.script.types import (
    WORD,
    AggregateType,
    TupleType,
    in_memory,
    stored_size,
    words_for,
)
from pytracer.lang.script.values import wide
from pytracer.lang.syntax import Node
from pytracer.lang.types import S64, U64, IntType, Type

_SHARED = ("count", "sum", "avg")  # those that all CPUs can count in one value, by atomic additions
_READ = (*_SHARED, "min", "max")


class MapReads(Casts):
    """Translates accesses to maps."""

    def map_key(self, node: script.MapAccess) -> str:
        """Add code that writes the key of a map access, and return C for its address."""
        kinds = self.key_types(node)
        self.state.record_key_types(node, node.name, kinds)
        if self.state.has_type(node.name):
            known_map = self.state.map(node.name)
            kinds, words = list(known_map.keys), known_map.key_words
        else:
            words = sum(words_for(stored_size(kind)) for kind in kinds) + 1
        start = self.memory(WORD * max(words, 1))
        keys, at = node.keys, 0
        if len(keys) == 1 and isinstance(keys[0], script.TupleLiteral):
            keys = keys[0].items
        if len(keys) == 1 and len(kinds) != 1:  # a tuple that is a value
            self.copy(self.value(keys[0]), start, TupleType(tuple(kinds)))
            return start
        for key, kind in zip(keys, kinds, strict=True):
            self.store(key, f"{start} + {at}", kind)
            at += stored_size(kind)
        if not keys:
            self.line(f"*(u64 *)({start}) = 0;")
        return start

    def key_types(self, node: script.MapAccess) -> list[Type]:
        """Return the types of a key's parts; each item of a tuple is a part."""
        if len(node.keys) == 1:
            kind = self.type_of_value(node.keys[0])
            return list(kind.items) if isinstance(kind, TupleType) else [kind]
        return [self.type_of_value(key) for key in node.keys]

    def _map_value(self, node: script.MapAccess) -> Value:
        if not self.state.has_type(node.name):
            if self.state.is_final:
                names = ", ".join(self.state.map_names) or "none"
                raise self.fail(node, f"nothing assigns a value to {node.name}", hint=f"maps are {names}")
            self.map_key(node)
            return self.state.pending()
        known_map = self.state.map(node.name)
        key = self.map_key(node)
        kind = known_map.value
        if isinstance(kind, AggregateType):
            return self.aggregate_value(node, known_map, kind, key)
        pointer = self.temporary("u64 *", f"script_lookup_{known_map.number}({key})")
        if self.state.checks:
            self.report_failure(node, f"!{pointer}", "map_lookup_elem", 0)
        if in_memory(kind):
            dst = self.memory(stored_size(kind))
            self.line(f"script_zero({dst}, {stored_size(kind)});")
            self.line(f"if ({pointer})")
            self.line(f"    script_copy({dst}, {stored_size(kind)}, (u64){pointer});")
            return Value(dst, kind)
        number_type = wide(kind)
        return Value(self.temporary(number_type, f"({number_type})({pointer} ? *{pointer} : 0)"), kind)

    def report_failure(self, node: Node, condition: str, helper: str, code: int) -> None:
        """Add code that reports the failure of a helper where a condition of C holds."""
        raise NotImplementedError

    def aggregate_value(self, node: Node, known_map: ScriptMap, kind: AggregateType, key: str) -> Value:
        """Add code that reads what a function of AGGREGATES has made of a key, over all CPUs."""
        if kind.kind not in _READ:
            raise self.fail(node, f"a program cannot read a map of {kind.kind}()", hint="print() shows it")
        result = aggregate_number(kind)
        if kind.kind not in _SHARED:
            if not self.state.has_percpu_lookup:
                helper = "bpf_map_lookup_percpu_elem (Linux 5.19)"
                raise self.fail(node, f"this kernel has no {helper}, which reading {kind.kind}() takes")
            self.state.read_all_cpus(known_map.name)
            code = f"({result.c})script_read_{known_map.number}({key})"
            return Value(self.temporary(result.c, code), result)
        self.state.share(known_map.name)
        pointer = self.temporary("u64 *", f"script_lookup_{known_map.number}({key})")
        value_code = f"({pointer} ? {pointer}[0] : 0)"
        if kind.kind == "avg":
            value_code = f"script_average({pointer}, {int(result.signed)})"
        return Value(self.temporary(result.c, value_code), result)


def aggregate_number(kind: AggregateType) -> IntType:
    """Return the type of the number that a program reads from an aggregate."""
    return S64 if kind.signed or kind.kind == "count" else U64
