"""Translate ``&``: the addresses of variables and of values in maps."""

from __future__ import annotations

import re

from pytracer.lang import syntax
from pytracer.lang.scope import Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.choices import Choices
from pytracer.lang.script.types import AggregateType
from pytracer.lang.types import PointerType
from pytracer.record import replace

_IN_MEMORY = re.compile(r"\(\*\([us]64 \*\)\((.*)\)\)")  # a number that lies in memory (Assignments)


class Addresses(Choices):
    """Translates addresses."""

    def map_key(self, node: script.MapAccess) -> str:
        """See MapReads."""
        raise NotImplementedError

    def _address(self, node: syntax.Unary) -> Value:
        of = node.of
        if isinstance(of, syntax.Name) and of.name in self.substitutes:
            return self.expand_parameter(of.name, lambda meant: self._address(replace(node, of=meant)))
        if isinstance(of, script.MapAccess):
            return self._map_address(self.resolve_map(of))
        if isinstance(of, syntax.Name) and of.name in self.variables:
            variable = self.variables[of.name]
            number = _IN_MEMORY.fullmatch(variable.code)
            address = number[1] if number else variable.code
            return Value(f"((u64)({address}))", PointerType(variable.type, kernel=True))
        return super()._address(node)

    def _map_address(self, node: script.MapAccess) -> Value:
        if not self.state.has_type(node.name):
            if self.state.is_final:
                raise self.fail(node, f"nothing assigns a value to {node.name}")
            self.map_key(node)
            return self.state.pending()
        known_map = self.state.map(node.name)
        if isinstance(known_map.value, AggregateType):
            raise self.fail(node, f"{node.name} has a value of its own on every CPU", hint="and no address")
        key = self.map_key(node)
        code = self.temporary("u64", f"(u64)script_lookup_{known_map.number}({key})")
        return Value(code, PointerType(known_map.value, kernel=True))
