"""Find the registers that hold a function's arguments at its entry, as DWARF has them.

Usually they follow the calling convention. But a compiler may ignore it for a function without outside
callers, and a large result adds a hidden argument before all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from elftools.dwarf.locationlists import LocationParser

from pytracer.kernel.facts import NOT_IN_REGISTER
from pytracer.symbols.dwarf_entries import DebugEntries, constant

# Of e_machine: the numbers that DWARF has for the registers of arguments, in their order.
_PASSING = {62: (5, 4, 1, 2, 8, 9), 183: tuple(range(8))}  # x86-64 psABI; AAPCS64
_REGISTERS = range(0x50, 0x70)  # DW_OP_reg0 to DW_OP_reg31
_NORMAL = 1  # DW_CC_normal


def at_entry(
    info: Any, entries: DebugEntries, function: Any, parameters: Iterable[Any], address: int, machine: int
) -> Iterator[int | None]:
    """Yield for each parameter the number of its register among the argument registers, from 0.

    NOT_IN_REGISTER if it is in none, or the location is unknown; None if the calling convention determines
    it.
    """
    parser = LocationParser(info.location_lists())
    base = constant(function.cu.get_top_DIE(), "DW_AT_low_pc") or 0
    numbers = {number: register for register, number in enumerate(_PASSING.get(machine, ()))}
    has_normal_convention = constant(function, "DW_AT_calling_convention") in (None, _NORMAL)
    # LLVM drops arguments that are not used from functions that nobody else calls, and moves up the others.
    is_llvm = _is_llvm(function.cu)
    for parameter in parameters:
        attribute = parameter.attributes.get("DW_AT_location")
        if attribute is None:
            yield None if has_normal_convention and not is_llvm else NOT_IN_REGISTER
            continue
        location = parser.parse_from_attribute(attribute, function.cu["version"], parameter)
        register = _find_expression(location, entries, address, base)
        if register is None:  # it has none at first, or only one that is computed: it was not passed, or is
            yield NOT_IN_REGISTER
        elif len(register) == 1 and register[0] in _REGISTERS:
            yield numbers.get(register[0] - _REGISTERS.start, NOT_IN_REGISTER)
        else:  # in memory, once the function has put it there (-O0)
            yield None if has_normal_convention else NOT_IN_REGISTER


def _find_expression(location: Any, entries: DebugEntries, address: int, base: int) -> Any:
    """Return the location expression that holds when code at an address begins; None if there is none.

    ``base`` is what places in a list count from, if that says nothing else.
    """
    if hasattr(location, "loc_expr"):
        return location.loc_expr
    entries.skim(len(location))
    for piece in location:
        if hasattr(piece, "base_address"):
            base = piece.base_address
        elif hasattr(piece, "loc_expr"):
            begin = piece.begin_offset + (0 if piece.is_absolute else base)
            if begin == address and piece.end_offset != piece.begin_offset:
                return piece.loc_expr
    return None


def _is_llvm(unit: Any) -> bool:
    producer = unit.get_top_DIE().attributes.get("DW_AT_producer")
    return producer is None or not producer.value.startswith(b"GNU ")
