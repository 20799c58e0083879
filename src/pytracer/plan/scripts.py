"""Resolve a script: find the targets of its probes, compile each block for them, choose how to attach.

Targets of a probe for which the same C is generated share a program; others have one of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytracer.errors import ProbeSpecError, UnsupportedError, UsageError
from pytracer.features.table.helpers import FOR_EACH_MAP_ELEM, LOOP
from pytracer.kernel.cpus import possible_cpus
from pytracer.kernel.facts import KernelInfo
from pytracer.kernel.functions import address_of
from pytracer.lang.scope import Scope
from pytracer.lang.script import (
    BlockCompiler,
    CompiledBlock,
    CompiledScript,
    Script,
    ScriptState,
    generate_script,
)
from pytracer.lang.script.syntax import AttachPoint, ProbeBlock
from pytracer.plan.alternatives import ChosenProbe
from pytracer.plan.attach_targets import (
    ScriptPlan,
    check_number,
    defines_of,
    risks,
    targets_of,
    usdt_arguments,
)
from pytracer.plan.btf_types import BtfTypes, NoTypes
from pytracer.plan.generated_programs import attach_programs, split_sites
from pytracer.plan.named_target import NumberedTarget
from pytracer.plan.scopes import scope_of
from pytracer.plan.script_probes import Sampled, source_or_sample
from pytracer.record import record, replace
from pytracer.request import Request, ScriptRequest
from pytracer.spec import RunOnce

GENERATED = "generated_script.h"
_PASSES = 12  # over the blocks, until the types of maps are known


@record
class _Place:
    """A block at a target, or (``sampled``) at what is no target. ``block`` is its number in the script."""

    block: int
    scope: Scope
    number: int
    target: NumberedTarget | None = None
    sampled: Sampled | None = None


def plan_script(request: Request, facts: KernelInfo) -> ScriptPlan:
    """Find the targets of a script's probes and compile its blocks.

    Raises ProbeSpecError, which points into the script, and the errors of
    :func:`~pytracer.plan.attach_targets.attach`.
    """
    wanted = request.script
    assert wanted is not None
    script, warnings = wanted.script, list[str]()
    names = list[tuple[str, str]]()
    places = list(_places(script, request, facts, names, warnings))
    named = [place.target for place in places if place.target is not None]
    check_number([one.source for one in named], named, request)
    state = _state(wanted, facts)
    compiled = _compile(script, state, places)
    blocks, ends = list[CompiledBlock](), set[int]()
    groups = dict[tuple[int, str, bool], list[NumberedTarget]]()
    probes, moments = list[ChosenProbe](), list[ChosenProbe]()
    for place, block in zip(places, compiled, strict=True):
        if block not in blocks or place.target is None:
            blocks.append(block)
            number = len(blocks) - 1
        else:
            number = blocks.index(block)
        if place.target is not None:
            source = place.target.source
            groups.setdefault((number, source.kind, bool(source.offset)), []).append(place.target)
            continue
        assert place.sampled is not None
        probe = replace(place.sampled.probe, program=f"spec_{number}")
        chosen = ChosenProbe(probe, place.sampled.name, place.sampled.rate)
        if isinstance(probe, RunOnce):
            moments.append(chosen)
            ends |= {number} if probe.at_end else set()
        else:
            probes.append(replace(chosen, name=getattr(probe, "event", chosen.name)))
    attached = attach_programs(groups, lambda _: False, request, facts)
    probes += attached.probes
    # The last is attached first: what happens at the begin precedes all else, and what at the end follows it.
    moments.sort(key=lambda one: isinstance(one.probe, RunOnce) and one.probe.at_end)
    probes += moments
    _check_loops(blocks, facts)
    defines = dict(defines_of(len(names), probes))
    defines["SCRIPT_EVENT_WORDS"] = str(max(block.event_words for block in blocks))
    defines["PT_RECORDS"] = str(len(blocks))
    if attached.tracked:
        defines["PT_SPEC_CALLS"] = ""
    arguments = usdt_arguments(named)
    if arguments:
        defines["PT_USDT_SITES"] = defines["PT_TARGETS"]
    return ScriptPlan(
        names=tuple(one.name for one in named),
        probes=tuple(probes),
        notes=attached.notes,
        warnings=(*warnings, *risks(attached.resolved_hooks)),
        defines=tuple(defines.items()),
        resolved_hooks=attached.resolved_hooks,
        script=CompiledScript(
            state.maps(),
            state.actions(),
            state.config,
            tuple(names),
            ends_at_once=all(
                isinstance(place.sampled, Sampled) and isinstance(place.sampled.probe, RunOnce)
                for place in places
            ),
            end_programs=frozenset(ends),
            attached=len(places),
        ),
        generated={GENERATED: generate_script(blocks, state.maps())},
        usdt_arguments=arguments,
    )


def _check_loops(blocks: Sequence[CompiledBlock], facts: KernelInfo) -> None:
    """Check that the kernel can walk through a map for a program. Raises UnsupportedError."""
    walks = any(kind == "script_walk" for block in blocks for kind, *_ in block.functions)
    if walks and not facts.has_helper(FOR_EACH_MAP_ELEM.number):
        helper = f"bpf_{FOR_EACH_MAP_ELEM.name} (Linux {FOR_EACH_MAP_ELEM.since})"
        raise UnsupportedError(f"this kernel has no {helper}, which loops over maps and len(@map) take")


def _state(wanted: ScriptRequest, facts: KernelInfo) -> ScriptState:
    return ScriptState(
        wanted.script,
        parameters=wanted.parameters,
        settings=wanted.settings,
        unsafe=wanted.unsafe,
        cpus=possible_cpus(),
        named=wanted.named,
        has_loop_helper=facts.has_helper(LOOP.number),
        kernel_address=address_of,
    )


def _places(
    script: Script,
    request: Request,
    facts: KernelInfo,
    names: list[tuple[str, str]],
    warnings: list[str],
) -> Iterator[_Place]:
    """Yield each block at each of its targets; ``names`` gets what ``probe`` and ``func`` are there."""
    types = facts.types
    known = NoTypes() if types is None else BtfTypes(types)
    for number, block in enumerate(script.probes):
        for point in block.points:
            source = source_or_sample(script.text, point, "")
            if isinstance(source, Sampled):
                names.append((source.name, ""))
                yield _Place(number, Scope(source.name, known), len(names) - 1, sampled=source)
                continue
            try:
                resolved, targets = targets_of(source, source.kind, request, facts, warnings)
            except UsageError as error:
                if script.config.get("missing_probes") in ("warn", "ignore"):
                    warnings.append(f"{point.text}: {error.message}")
                    continue
                raise ProbeSpecError(
                    error.message, script.text, point.start, point.end, hint=error.hint
                ) from None
            for one in split_sites(resolved.kind, targets):
                made = replace(one, number=len(names))
                scope = scope_of(made.source, made.target, facts)
                names.append(_names(point, made))
                yield _Place(number, scope, made.number, made)


def _names(point: AttachPoint, one: NumberedTarget) -> tuple[str, str]:
    """Return the values of ``probe`` and ``func``."""
    function = one.target.name.rpartition(":")[2]
    return ":".join((*point.parts[:-1], function)), function


def _compile(script: Script, state: ScriptState, places: Sequence[_Place]) -> list[CompiledBlock]:
    """Compile all blocks, until the types of maps are the same before and after."""
    for _ in range(_PASSES):
        state.begin_pass()
        compiled = [_compile_one(script.probes[place.block], state, place) for place in places]
        if not state.changed and (state.is_final or not state.has_pending):
            return compiled
        state.is_final = not state.changed
    text = script.text
    raise ProbeSpecError("the types of the maps depend on each other without an end", text, 0, len(text))


def _compile_one(block: ProbeBlock, state: ScriptState, place: _Place) -> CompiledBlock:
    compiler = BlockCompiler(state, place.scope)
    compiler.block_id = place.block
    made = compiler.compile(block)
    if place.sampled is None:
        return made
    return replace(made, filters=place.sampled.filters, target=place.number)
