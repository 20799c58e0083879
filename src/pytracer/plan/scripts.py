"""Resolve a script: find the targets of its probes, compile each block for them, choose how to attach.

Targets of a probe for which the same C is generated share a program; others have one of their own.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pytracer.errors import NoProbesError, ProbeSpecError, UnprobeableError, UnsupportedError, UsageError
from pytracer.features.table.helpers import FOR_EACH_MAP_ELEM, LOOP, MAP_LOOKUP_PERCPU_ELEM, OVERRIDE_RETURN
from pytracer.kernel import syscalls
from pytracer.kernel.cpus import possible_cpus
from pytracer.kernel.facts import KernelInfo
from pytracer.kernel.functions import address_of
from pytracer.lang.scope import Scope, Value
from pytracer.lang.script import (
    BlockCompiler,
    CompiledBlock,
    CompiledScript,
    Script,
    ScriptState,
    generate_script,
)
from pytracer.lang.script.positions import warning_at, with_positions
from pytracer.lang.script.syntax import AttachPoint, ProbeBlock
from pytracer.lang.script.types import enums_within
from pytracer.plan import pid_namespace
from pytracer.plan.alternatives import ChosenProbe
from pytracer.plan.attach_targets import (
    ScriptPlan,
    check_number,
    defines_of,
    risks,
    targets_of,
)
from pytracer.plan.btf_types import BtfTypes, NoTypes
from pytracer.plan.generated_programs import attach_programs
from pytracer.plan.named_target import NumberedTarget, split_sites, usdt_arguments
from pytracer.plan.raw_events import find_raw_scopes, to_raw
from pytracer.plan.sample_scopes import bind_tasks, scope_of_sample
from pytracer.plan.scopes import scope_of
from pytracer.plan.script_files import UnresolvedAddressError, missing_module, with_files
from pytracer.plan.script_missing import (
    PROVIDER_NAMES,
    TOLERANT,
    no_matches,
    report_missing,
    report_removed,
    traceable_among,
)
from pytracer.plan.script_probes import SOURCES, SampledProbe, parse_attach_point, with_parameters
from pytracer.record import record, replace
from pytracer.request import Request, ScriptRequest
from pytracer.spec import Iterator, RunOnce

GENERATED = "generated_script.h"
_PASSES = 12  # over the blocks, until the types of maps are known


@record
class _BlockTarget:
    """A block at a target, or at a probe without one (``sampled``). ``block`` is its number in the script.
    ``raw``: its trace event's raw tracepoint serves it."""

    block: int
    scope: Scope
    number: int
    target: NumberedTarget | None = None
    sampled: SampledProbe | None = None
    raw: bool = False


def plan_script(request: Request, facts: KernelInfo) -> ScriptPlan:
    """Find the targets of a script's probes and compile its blocks.

    Raises ProbeSpecError, which points into the script, and the errors of
    :func:`~pytracer.plan.attach_targets.attach`.
    """
    script_request, warnings = request.script, list[str]()
    assert script_request is not None
    try:
        with with_positions(script_request.script.files):
            return _plan(script_request, request, facts, warnings)
    except ProbeSpecError as error:
        error.warnings = tuple(warnings)
        raise


def _plan(
    script_request: ScriptRequest, request: Request, facts: KernelInfo, warnings: list[str]
) -> ScriptPlan:
    script = script_request.script
    names = list[tuple[str, str]]()
    places = list(_iter_block_targets(script, request, facts, names, warnings))
    places = _prefer_raw(places, script, request, facts)
    _check_probes(script, places)
    numbered = [attach_target.target for attach_target in places if attach_target.target is not None]
    check_number([target.source for target in numbered], numbered, request)
    state = _make_state(script_request, facts)
    compiled = _compile(script, state, places, names)
    _check_options(state)
    blocks, end_programs = list[CompiledBlock](), set[int]()
    groups = dict[tuple[int, str, bool], list[NumberedTarget]]()
    probes, begin_probes, end_probes = list[ChosenProbe](), list[ChosenProbe](), list[ChosenProbe]()
    for attach_target, block in zip(places, compiled, strict=True):
        if block not in blocks or attach_target.target is None:
            blocks.append(block)
            number = len(blocks) - 1
        else:
            number = blocks.index(block)
        if attach_target.target is not None:
            target = to_raw(attach_target.target) if attach_target.raw else attach_target.target
            key = number, target.source.kind, bool(target.source.offset)
            groups.setdefault(key, []).append(target)
            continue
        assert attach_target.sampled is not None
        probe = replace(attach_target.sampled.probe, program=f"spec_{number}")
        chosen_probe = ChosenProbe(probe, attach_target.sampled.name, attach_target.sampled.rate)
        if isinstance(probe, RunOnce) and probe.times == 1:
            (end_probes if probe.at_end else begin_probes).append(chosen_probe)
            end_programs |= {number} if probe.at_end else set()
        else:
            probes.append(replace(chosen_probe, name=getattr(probe, "event", chosen_probe.name)))
            end_programs |= {number} if isinstance(probe, Iterator) else set()
    # The last is attached first. The kernel runs the programs of an event, and timers, in the order in which
    # they were attached, but at functions the last attached runs first. The first declared is to run first.
    events = {key: targets for key, targets in reversed(groups.items()) if key[1] in ("t", "rt")}
    attached = attach_programs(events | groups, lambda _: False, request, facts)
    probes = [*reversed(probes), *attached.probes]
    # What happens at the begin precedes all else, and what at the end follows it.
    # Of several, the first declared runs first: ends run as they are detached, in the other order.
    probes += [*reversed(begin_probes), *end_probes]
    _check_loops(blocks, facts)
    defines = dict(defines_of(len(names), probes))
    defines["SCRIPT_EVENT_WORDS"] = str(max(block.event_words for block in blocks))
    defines["PT_RECORDS"] = str(len(blocks))
    if attached.tracked:
        defines["PT_SPEC_CALLS"] = ""
    defines |= pid_namespace.defines()
    arguments = usdt_arguments(numbered)
    if arguments:
        defines["PT_USDT_SITES"] = defines["PT_TARGETS"]
    return ScriptPlan(
        names=tuple(target.name for target in numbered),
        probes=tuple(probes),
        notes=attached.notes,
        warnings=(
            *warnings,
            *state.warnings,
            *_warn_unused_maps(script, state),
            *risks(attached.resolved_hooks),
        ),
        defines=tuple(defines.items()),
        resolved_hooks=attached.resolved_hooks,
        script=CompiledScript(
            state.maps(),
            state.actions(),
            state.config,
            tuple(names),
            ends_at_once=all(
                attach_target.sampled is not None
                and isinstance(attach_target.sampled.probe, (RunOnce, Iterator))
                for attach_target in places
            ),
            end_programs=frozenset(end_programs),
            attached=len(set(names)),
            enums=_read_enum_names(state, facts),
            takes_user_stacks=state.takes_user_stacks,
            needs_tables=state.needs_tables,
        ),
        generated={GENERATED: generate_script(blocks, state.maps())},
        usdt_arguments=arguments,
    )


def _prefer_raw(
    places: list[_BlockTarget], script: Script, request: Request, facts: KernelInfo
) -> list[_BlockTarget]:
    """Return the blocks; those that raw tracepoints serve in the scope that they have there."""
    at_events = [
        (script.probes[place.block], place.target, place.scope)
        for place in places
        if place.target is not None and place.target.source.kind == "t"
    ]
    scopes = find_raw_scopes(at_events, script.macros.values(), request, facts)
    return [
        replace(place, scope=scopes[place.target.target.name], raw=True)
        if place.target is not None and place.target.target.name in scopes
        else place
        for place in places
    ]


def _check_options(state: ScriptState) -> None:
    """Check that the script has the named parameters that are given. Raises UsageError."""
    unknown = [f"--{name}" for name in state.named_parameters if name not in state.options]
    if unknown:
        option_texts = [f"--{name}{f': {text}' if text else ''}" for name, text in state.options.items()]
        separator = " " if len(option_texts) == 1 else "\n"
        hint = separator.join(("expected program options:", *option_texts))
        message = f"unexpected program command line options: {', '.join(unknown)}"
        raise UsageError(message, hint=hint if option_texts else "")


def _warn_unused_maps(script: Script, state: ScriptState) -> list[str]:
    """Return a warning for each map that is declared and never used."""
    unused = [one for one in script.maps if not state.has_type(one.name)]
    return [
        warning_at(script.text, script.files, one.start, one.end, f"Unused map: {one.name}") for one in unused
    ]


def _check_probes(script: Script, places: Sequence[_BlockTarget]) -> None:
    """Check that there are probes, and the script's own limit of them. Raises UsageError."""
    if not places:
        points = [point for block in script.probes for point in block.points]
        raise NoProbesError(script.text, points[0].start, points[-1].end)
    limit = script.config.get("max_probes")
    if limit is not None and len(places) > int(limit):
        raise UsageError(f"the script has {len(places)} probes, and max_probes is {limit}")


def _read_enum_names(state: ScriptState, facts: KernelInfo) -> dict[str, Mapping[int, str]]:
    """Return the names of values for each enum of which the script stores values."""
    types = state.with_structs(NoTypes() if facts.types is None else BtfTypes(facts.types))
    stored_types = [kind for script_map in state.maps() for kind in (*script_map.keys, script_map.value)]
    stored_types += [kind for action in state.actions() for kind in action.fields]
    return {name: types.enum_names(name) for kind in stored_types for name in enums_within(kind)}


def _check_loops(blocks: Sequence[CompiledBlock], facts: KernelInfo) -> None:
    """Check that the kernel can walk through a map for a program. Raises UnsupportedError."""
    walks = any(kind == "script_walk" for block in blocks for kind, *_ in block.functions)
    if walks and not facts.has_helper(FOR_EACH_MAP_ELEM.number):
        helper = f"bpf_{FOR_EACH_MAP_ELEM.name} (Linux {FOR_EACH_MAP_ELEM.since})"
        raise UnsupportedError(f"this kernel has no {helper}, which loops over maps and len(@map) take")


def _make_state(request: ScriptRequest, facts: KernelInfo) -> ScriptState:
    return ScriptState(
        request.script,
        parameters=request.parameters,
        settings=request.settings,
        unsafe=request.unsafe,
        cpus=possible_cpus(),
        named_parameters=request.named,
        has_loop_helper=facts.has_helper(LOOP.number),
        has_percpu_lookup=facts.has_helper(MAP_LOOKUP_PERCPU_ELEM.number),
        checks=request.checks,
        has_iterator_paths=facts.has_helper(FOR_EACH_MAP_ELEM.number),  # of Linux 5.13; the paths are of 5.12
        has_override=facts.has_helper(OVERRIDE_RETURN.number),
        kernel_address=address_of,
        cgroup_id=lambda path: Path(path).stat().st_ino,  # the number of a folder of cgroup2 (Linux 5.5)
        syscall_number=lambda name: syscalls.number_of(os.uname().machine, name),
    )


def _iter_block_targets(
    script: Script,
    request: Request,
    facts: KernelInfo,
    names: list[tuple[str, str]],
    warnings: list[str],
) -> Iterable[_BlockTarget]:
    """Yield each block at each of its targets; append its values of ``probe`` and ``func`` to ``names``."""
    types = facts.types
    is_unsafe = request.script is not None and request.script.unsafe
    type_provider = NoTypes() if types is None else BtfTypes(types)
    for number, block in enumerate(script.probes):
        before = len(names)
        for point, is_one_of_several in attach_points(script, block, request):
            source = parse_attach_point(script.text, point, "")
            if isinstance(source, SampledProbe):
                names.append((source.name, ""))
                source = replace(source, probe=bind_tasks(source.probe, request))
                scope = scope_of_sample(source.probe, source.name, type_provider)
                yield _BlockTarget(number, scope, len(names) - 1, sampled=source)
                continue
            try:
                resolved_source, targets = targets_of(source, source.kind, request, facts, warnings)
                targets = traceable_among(targets, request, point, warnings)
            except (UsageError, UnprobeableError) as error:
                if is_one_of_several:
                    continue
                if "*" in point.text and len(block.points) > 1:  # as in f, f.constprop.*
                    warnings.append(f"{point.text}: {error.message}")
                    continue
                missing = report_missing(script, point, error, warnings, unsafe=is_unsafe)
                if missing is None:
                    continue
                raise missing from None
            for target in split_sites(resolved_source.kind, targets):
                numbered = replace(target, number=len(names))
                scope = scope_of(numbered.source, numbered.target, facts)
                if numbered.source.kind in ("u", "usdt"):
                    [site] = numbered.target.sites
                    scope = replace(scope, variable=functools.partial(facts.variable, site))
                names.append(_describe_probe(point, numbered))
                yield _BlockTarget(number, scope, numbered.number, numbered)
        if len(names) == before:
            report_removed(script, block, warnings)


def attach_points(script: Script, block: ProbeBlock, request: Request) -> Iterable[tuple[AttachPoint, bool]]:
    """Yield the attach points of a block, with parameters and files in them; and whether it is one of several
    files, not all of which need to have the function."""
    parameters = request.script.parameters if request.script is not None else ()
    for point in block.points:
        point = with_parameters(script.text, point, parameters)
        if (module := missing_module(point)) and script.config.get("missing_probes") not in TOLERANT:
            message = f"specified module {module} in probe {point.text} is not loaded."
            if SOURCES[point.parts[0]] == "rt":
                message = no_matches(point)
            raise ProbeSpecError(message, script.text, point.start, point.end, hint="lsmod lists them")
        try:
            points = with_files(point, request.process)
        except UnresolvedAddressError:  # which bpftrace reports without a place
            raise
        except UsageError as error:
            raise ProbeSpecError(
                error.message, script.text, point.start, point.end, hint=error.hint
            ) from None
        for attach_point in points:
            yield attach_point, len(points) > 1


def _describe_probe(point: AttachPoint, target: NumberedTarget) -> tuple[str, str]:
    """Return the values of ``probe`` and ``func``."""
    function = target.target.name.rpartition(":")[2]
    provider, *middle, _ = point.parts
    provider = PROVIDER_NAMES[SOURCES[provider]]
    if target.source.kind == "usdt":
        [site] = target.target.sites
        return f"{provider}:{site.file}:{site.name}", function
    return ":".join((provider, *middle, function)) if function else point.text, function


def _compile(
    script: Script, state: ScriptState, places: Sequence[_BlockTarget], names: Sequence[tuple[str, str]]
) -> list[CompiledBlock]:
    """Compile all blocks again until the types of the maps stay the same."""
    for _ in range(_PASSES):
        state.begin_pass()
        compiled = [
            _compile_one(script.probes[block_target.block], state, block_target, names)
            for block_target in places
        ]
        if not state.changed and (state.is_final or not state.has_pending):
            if not any(action.kind == "exit" for action in state.actions()):
                return compiled
            return [
                block if _runs_after_exit(place) else replace(block, stops=True)
                for place, block in zip(places, compiled, strict=True)
            ]
        state.is_final = not state.changed
    text = script.text
    raise ProbeSpecError("the types of the maps depend on each other without an end", text, 0, len(text))


def _runs_after_exit(place: _BlockTarget) -> bool:
    """Return whether a probe runs although exit() was called: at the end, and for the other objects."""
    probe = place.sampled.probe if place.sampled is not None else None
    return isinstance(probe, Iterator) or (isinstance(probe, RunOnce) and probe.at_end)


def _compile_one(
    block: ProbeBlock, state: ScriptState, block_target: _BlockTarget, names: Sequence[tuple[str, str]]
) -> CompiledBlock:
    compiler = BlockCompiler(state, block_target.scope)
    compiler.block_id = block_target.block
    compiler.probe_name = names[block_target.number][0]
    compiled = compiler.compile(block)
    if block_target.sampled is None:
        return compiled
    if isinstance(block_target.sampled.probe, Iterator):
        # Behind the last object, the program runs once more, without one.
        last = max(
            (value.code for value in block_target.scope.named.values() if isinstance(value, Value)),
            default="1",
        )
        compiled = replace(compiled, lines=(f"    if (!({last}))", "        return;", *compiled.lines))
    return replace(compiled, filters=block_target.sampled.filters, target=block_target.number)
