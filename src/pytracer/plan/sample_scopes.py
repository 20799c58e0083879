"""Scopes of the blocks of iterators, watchpoints and timers, and the tasks that they watch."""

from __future__ import annotations

import sys

from pytracer.lang.arithmetic import as_type
from pytracer.lang.scope import KERNEL, Operand, Scope, TypeProvider, Value
from pytracer.lang.types import IntType, PointerType, StructType
from pytracer.record import replace
from pytracer.request import Request
from pytracer.spec import Filter, Iterator, Probe, Watchpoint

_META = "meta"  # of the output, and not of the object


def scope_of_sample(probe: Probe, name: str, types: TypeProvider) -> Scope:
    """Return the scope of a probe that has no source: of an iterator, the members of its context."""
    if not isinstance(probe, Iterator):
        return Scope(name, types)
    context = types.find("struct", f"bpf_iter__{probe.of}")
    operands = dict[str, Operand]()
    for member, field in types.members(context).items() if isinstance(context, StructType) else ():
        if member != _META and isinstance(field.type, (IntType, PointerType)):
            word = f"pt_spec_context_word(ctx, {field.offset // 64})"
            operands[member] = Value(f"(({as_type(field.type)}){word})", field.type)
    missing = f"the kernel has no iterator over {probe.of}"
    return Scope(name, types, named=operands, missing_reason="" if operands else missing, memory=KERNEL)


def bind_tasks(probe: Probe, request: Request) -> Probe:
    """Return a watchpoint with the tasks whose memory it watches; any other probe unchanged."""
    if not isinstance(probe, Watchpoint):
        return probe
    processes = tuple(int.from_bytes(key, sys.byteorder) for key in request.filters.get(Filter.PID, ()))
    return replace(probe, processes=processes, command=bool(request.command))
