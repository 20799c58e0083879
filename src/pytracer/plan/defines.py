"""Decide the macros of a tracer's C: the options that change the program, and so its image."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from pytracer.errors import UnsupportedError, UsageError
from pytracer.features.table.changes import ITERATOR_PATHS
from pytracer.features.table.helpers import (
    CURRENT_TASK_BTF,
    FIND_VMA,
    FOR_EACH_MAP_ELEM,
    LOOP,
    PROBE_READ_USER,
    TASK_PT_REGS,
)
from pytracer.features.table.map_types import RINGBUF
from pytracer.features.table.uses import ProgramUses
from pytracer.kernel.facts import KernelInfo
from pytracer.model.schema import Schema
from pytracer.plan.alternatives import ChosenProbe, reads_kernel_memory
from pytracer.plan.output_choice import group_keys
from pytracer.request import NameSetValue, Request, number_of
from pytracer.spec import Filter, Flag, NameSet, Number, SeccompProfile
from pytracer.spec.common import UNWIND

if TYPE_CHECKING:
    from pytracer.lang.script import CompiledScript

FAMILY_MAX = 65536
_HELPERS = {
    "PT_HAS_PROBE_READ_KERNEL": PROBE_READ_USER,  # they came together; lockdown does not withhold this one
    "PT_HAS_TASK_BTF": CURRENT_TASK_BTF,
    "PT_HAS_TASK_PT_REGS": TASK_PT_REGS,
    "PT_HAS_BPF_LOOP": LOOP,
    "PT_HAS_FIND_VMA": FIND_VMA,
}

Define = tuple[str, str]
"""A macro and its value, "" if it has none."""


def of_request(
    request: Request, slots: Iterable[str], *, rows: int, filters_cgroups: bool
) -> Iterator[Define]:
    """Yield the macros for filters, options and capacities.

    ``slots`` are the names of the values that change from run to run, ``rows`` is the map capacity;
    ``filters_cgroups``: tasks are filtered by cgroup.
    """
    for task_filter, keys in request.filters.items():
        if task_filter is not Filter.CGROUP:
            yield task_filter.define, ""
        elif filters_cgroups:
            yield task_filter.define, str(len(keys))
    yield from _iter_option_defines(request)
    names = list(slots)
    for slot, name in enumerate(names):
        yield f"PT_CFG_{name}", str(slot)
    if names:
        yield "PT_CFG_SLOTS", str(len(names))
    for key in request.tracer.group_by.keys if request.tracer.group_by else ():
        if key.name in group_keys(request):
            yield key.define, ""
    if request.follows:
        yield "PT_FOLLOW", str(FAMILY_MAX)
    yield "PT_ROWS_MAX", str(rows)


def _iter_option_defines(request: Request) -> Iterator[Define]:
    for option in request.tracer.options:
        value = request.options.get(option.name)
        if isinstance(option, Flag) and value and option.define:
            yield option.define, ""
        elif isinstance(option, Number) and option.define:
            yield option.define, str(number_of(option.name, request))
        elif isinstance(option, NameSet) and isinstance(value, NameSetValue):
            yield option.define, ""
            if value.exclude:
                yield option.define + "_EXCEPT", ""
        elif isinstance(option, SeccompProfile) and value:
            yield option.define, ""


def of_stacks(
    request: Request, facts: KernelInfo, defines: Collection[str], script: CompiledScript | None = None
) -> Iterator[Define]:
    """Yield the macro for user stacks that are walked by tables, if that is wanted and this kernel can.

    ``defines`` are the macros so far. Raises UnsupportedError for ``--unwind table`` if it cannot, and
    UsageError for ``--unwind fp`` if a ``script`` has dw_ustack().
    """
    unwind = request.options.get(UNWIND.name)
    if unwind is None or request.options.get("kernel-only") or (script and not script.takes_user_stacks):
        return
    is_required = unwind == "table" or (script is not None and script.needs_tables)
    if unwind == "fp":
        if is_required:
            raise UsageError("--unwind fp cannot be combined with dw_ustack()", hint="ustack()")
        return
    if facts.architecture == "x86_64" and {"PT_HAS_BPF_LOOP", "PT_HAS_TASK_PT_REGS"}.issubset(defines):
        yield "PT_UNWIND", ""
    elif is_required:
        raise UnsupportedError(
            f"stacks by tables need x86-64 and bpf_loop() (Linux {LOOP.since})",
            hint="--unwind fp walks them by frame pointers" + ", as ustack() does" * (unwind != "table"),
        )


def of_fault(request: Request, facts: KernelInfo) -> Iterator[Define]:
    """Yield the macro by which fault injection counts, if the kernel has what that needs."""
    if request.fault and facts.has_atomic_fetch:
        yield "PT_HAS_ATOMIC_FETCH", ""


def of_kernel(
    facts: KernelInfo, schema: Schema, probes: Iterable[ChosenProbe], *, buffer: int, needs_paths: bool
) -> Iterator[Define]:
    """Yield the macros for features of this kernel, and for helpers that the programs of all ``probes`` may
    call.

    ``buffer`` is the size of the ring in bytes.

    Raises UnsupportedError if a list ``needs_paths`` and the kernel makes none for iterators.
    """
    if schema.is_stream and facts.has_map_type(RINGBUF.number):
        yield "PT_HAS_RINGBUF", ""
        yield "PT_RING_PAGES", str(buffer // os.sysconf("SC_PAGE_SIZE"))
    if facts.runs_compat:
        yield "PT_COMPAT", ""
    kinds = {chosen_probe.probe.kind: chosen_probe.probe for chosen_probe in probes}.values()
    for define, helper in _HELPERS.items():
        uses = ProgramUses((helper.number,))
        if facts.has_helper(helper.number) and not any(
            facts.describe_lack(chosen_probe, uses) for chosen_probe in kinds
        ):
            yield define, ""
    if not reads_kernel_memory(facts):
        yield "PT_TYPED_ARGUMENTS", ""
    if facts.has_loops:
        yield "PT_HAS_LOOPS", ""
    if not schema.is_listing:
        return
    if facts.has_helper(FOR_EACH_MAP_ELEM.number):
        yield "PT_HAS_D_PATH", ""
    elif needs_paths:
        raise UnsupportedError(
            f"this kernel makes no paths for iterators (Linux {ITERATOR_PATHS.since}): --path needs them"
        )
