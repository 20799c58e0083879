"""Resolve probe specs: find their targets, check expressions against the targets' types, generate C.

Targets of a spec for which the same C is generated share a program; others have one of their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from pytracer.errors import ProbeSpecError, PytracerError, UsageError
from pytracer.kernel.facts import KernelInfo, TargetIdSource
from pytracer.lang import (
    STARTED,
    GeneratedProgram,
    ProbeSpec,
    ProbeSpecs,
    ResultField,
    ResultSlot,
    Scope,
    generate,
    with_known_values,
)
from pytracer.lang.codegen import generate_functions
from pytracer.lang.formats import Conversion
from pytracer.plan.alternatives import ChosenProbe
from pytracer.plan.attach_targets import (
    ProbeSpecPlan,
    check_number,
    defines_of,
    risks,
    targets_of,
)
from pytracer.plan.generated_programs import attach_programs
from pytracer.plan.named_target import NumberedTarget, split_sites, usdt_arguments
from pytracer.plan.output_choice import output_of
from pytracer.plan.scopes import scope_of
from pytracer.record import replace
from pytracer.request import Request, number_of
from pytracer.spec import Column, Kprobes, ProbeSpecArguments, Source, Stream

GENERATED = "generated_specs.h"
STRING_SIZE, HISTOGRAM = "string-size", "histogram"  # options of tracers
_RESERVED = {"kind", "time", "lost", "reason", "meaning"}  # what else records have, in JSON
_ENDS = ("start", "end")
_RECORD = 1 << 15  # bytes of a record, as a value of a per-CPU map (PCPU_MIN_UNIT_SIZE in the kernel)
_SETS_MAX = 16  # of values that are shown where no format says which: each takes a program of its own
_BEFORE = 40  # bytes of trace's record before the results; argdist's has fewer

Target = tuple[NumberedTarget, Scope]
"""A target without a number yet, and what expressions can refer to there."""


def plan_probe_specs(request: Request, facts: KernelInfo) -> ProbeSpecPlan:
    """Find the targets of the probe specs, and choose how to attach to them.

    Raises ProbeSpecError, which points into the spec, if it does not fit the target, and the errors of
    :func:`~pytracer.plan.attach_targets.choose_targets`.
    """
    numbered, warnings = list[NumberedTarget](), list[str]()
    programs, programs_asking = list[GeneratedProgram](), list[int]()
    results, spec_of = list[tuple[ResultField, ...]](), list[int]()
    groups = dict[
        tuple[int, str, bool], list[NumberedTarget]
    ]()  # by program, kind of source, whether within a function
    arguments = request.tracer.arguments
    is_pair = isinstance(arguments, ProbeSpecArguments) and arguments.pair
    shows_events = isinstance(output_of(request), Stream)
    specs = list[ProbeSpec]()
    for spec, found in _resolve(request, facts, warnings, is_pair=is_pair):
        first: GeneratedProgram | None = None
        first_index, number = len(programs), len(specs)
        specs.append(spec)
        for target, scope in found:
            numbered_target = replace(target, number=len(numbered))
            source = numbered_target.source
            numbered.append(numbered_target)
            spec_of.append(number)
            program = generate(spec, scope)
            if is_pair and not shows_events:  # only what groups the pairs is needed
                program = generate(replace(spec, expressions=(), pieces=()), scope)
            first = first or program
            _check_uniform(spec, first, program, numbered_target)
            if program not in programs[first_index:]:
                programs.append(program)
                programs_asking.append(number)
            program_number = programs.index(program, first_index)
            groups.setdefault((program_number, source.kind, bool(source.offset)), []).append(numbered_target)
        assert first is not None
        results.append(
            tuple(replace(result, member=STARTED) for result in first.results)
            if is_pair and not number
            else first.results
        )
        if request.options.get(HISTOGRAM):
            _check_number(spec, first)
    check_number([spec.source for spec in request.probe_specs], numbered, request)
    attached = attach_programs(groups, lambda number: programs[number].traces_entry, request, facts)
    _check_addresses(attached.probes, numbered)
    defines = dict(defines_of(len(numbered), attached.probes))
    marks = usdt_arguments(numbered)
    resolved = _make_specs(
        request, specs, _rename_duplicates(results) if is_pair else results, spec_of, is_pair=is_pair
    )
    defines |= {
        "PT_SPEC_NUMBERS": str(resolved.numbers),
        "PT_SPEC_TEXTS": str(resolved.texts),
        "PT_SPEC_TEXT_SIZE": str(resolved.capacity),
        "PT_SPEC_PROGRAMS": str(max(len(programs), 1)),
    }
    if is_pair and shows_events:
        defines["PT_SPEC_EVENTS"] = ""
    if is_pair and specs and specs[0].key is None:
        defines["PT_PAIR_OF_THREAD"] = ""
    if marks:
        defines["PT_USDT_SITES"] = defines["PT_TARGETS"]
    if attached.tracked:
        defines["PT_SPEC_CALLS"] = ""
        defines["PT_SPEC_ENTRY_VALUES"] = str(max(1, *(len(program.entry_values) for program in programs)))
    return ProbeSpecPlan(
        names=tuple(numbered_target.name for numbered_target in numbered),
        probes=attached.probes,
        notes=attached.notes,
        warnings=(*warnings, *risks(attached.resolved_hooks)),
        defines=tuple(defines.items()),
        resolved_hooks=attached.resolved_hooks,
        specs=resolved,
        generated={GENERATED: generate_functions(programs, programs_asking, attached.tracked)},
        usdt_arguments=marks,
    )


def _resolve(
    request: Request, facts: KernelInfo, warnings: list[str], *, is_pair: bool
) -> Iterator[tuple[ProbeSpec, Sequence[Target]]]:
    """Yield each probe spec with its targets and their scopes. One without a format is yielded for each set
    of values that is known at some of its targets, with a format that shows them."""
    for spec in request.probe_specs:
        found = [
            (one, scope_of(one.source, one.target, facts, signed=bool(spec.signature)))
            for one in _iter_targets(spec, request, facts, warnings)
        ]
        known = dict[tuple[object, ...], tuple[ProbeSpec, list[Target]]]()
        for one in found if spec.is_bare else ():
            full = with_known_values(spec, one[1])
            values = tuple(part.sign if isinstance(part, Conversion) else part for part in full.pieces)
            known.setdefault(values, (full, []))[1].append(one)
        if len(known) > _SETS_MAX:
            warnings.append(
                f"{spec.source.text}: values are not shown, as the targets have {len(known)} sets of them"
            )
        if not spec.is_bare or len(known) > (1 if is_pair else _SETS_MAX):
            yield spec, found
        else:
            yield from known.values()


def _iter_targets(
    spec: ProbeSpec, request: Request, facts: KernelInfo, warnings: list[str]
) -> Iterator[NumberedTarget]:
    """Yield the targets of a probe spec; each site of a USDT probe by itself, as its arguments differ."""
    try:
        source, targets = targets_of(spec.source, spec.source.kind, request, facts, warnings)
    except UsageError as error:
        start = len(spec.text) - len(spec.text.lstrip())
        end = start + len(spec.text[start:].split("(")[0].split()[0])
        hint = _mark_of(spec.source, facts) or error.hint
        raise ProbeSpecError(error.message, spec.text, start, end, hint=hint) from None
    yield from split_sites(source.kind, targets)


def _mark_of(source: Source, facts: KernelInfo) -> str:
    """Suggest a USDT probe if a program has no such function but a probe of that name: BCC calls both u:."""
    if source.kind == "u" and source.name and not source.is_pattern:
        with contextlib.suppress(PytracerError):
            matches = facts.find(Source("usdt", source.name, f"{source.place}:*", process=source.process))
            return f"there is a USDT probe: usdt:{matches.targets[0].name}"
    return ""


def _check_uniform(
    spec: ProbeSpec, first: GeneratedProgram, program: GeneratedProgram, target: NumberedTarget
) -> None:
    """Check that each expression has the same type at all targets, as its column has one. Raises
    ProbeSpecError."""
    expressions = (*spec.expressions, *spec.by)[-len(first.results) :] if first.results else ()
    for expression, earlier, later in zip(expressions, first.results, program.results, strict=True):
        if earlier.slot is not later.slot:
            raise ProbeSpecError(
                f"this is {later.slot.value} of {target.name}, and {earlier.slot.value} of earlier matches",
                spec.text,
                expression.node.start,
                expression.node.end,
                hint="a cast makes them alike",
            )


def _check_addresses(probes: Iterable[ChosenProbe], numbered: Sequence[NumberedTarget]) -> None:
    """Check that a function which is known by its address has one probe spec only. Raises UsageError."""
    program_by_address = dict[int, int]()
    for chosen_probe in probes:
        if chosen_probe.target_id_source is TargetIdSource.ADDRESS and isinstance(
            chosen_probe.probe, Kprobes
        ):
            for address, number in zip(chosen_probe.probe.addresses, chosen_probe.probe.targets, strict=True):
                if program_by_address.setdefault(address, number) != number:
                    name = numbered[number].name
                    raise UsageError(
                        f"two probe specs about {name}, which is known by its address here",
                        hint="run pytracer once for each, or choose another alternative"
                        f" (--hook {numbered[number].source.kind}=ALTERNATIVE)",
                    )


def _check_number(spec: ProbeSpec, program: GeneratedProgram) -> None:
    """Check that a histogram is of one number. Raises ProbeSpecError."""
    if len(program.results) == 1 and program.results[0].slot is not ResultSlot.TEXT:
        return
    nodes = [expression.node for expression in spec.expressions]
    start, end = (nodes[0].start, nodes[-1].end) if nodes else (0, len(spec.text))
    raise ProbeSpecError(
        "a histogram is of one number", spec.text, start, end, hint="PROBE()::EXPRESSION, or -C"
    )


def _rename_duplicates(results: list[tuple[ResultField, ...]]) -> list[tuple[ResultField, ...]]:
    """Rename the results that both ends of a pair have, so that each has a column of its own."""
    names = [{result.name for result in some} for some in results]
    both = names[0] & names[1] if len(names) > 1 else set()
    return [
        tuple(replace(one, name=f"{end}:{one.name}") if one.name in both else one for one in some)
        for end, some in zip(_ENDS, results, strict=False)
    ]


def _make_specs(
    request: Request,
    specs: Sequence[ProbeSpec],
    results: list[tuple[ResultField, ...]],
    spec_of: list[int],
    *,
    is_pair: bool,
) -> ProbeSpecs:
    all_results = [result for spec_results in results for result in spec_results]
    numbers = [result.at + 1 for result in all_results if result.slot is not ResultSlot.TEXT]
    texts = [result.at + 1 for result in all_results if result.slot is ResultSlot.TEXT]
    maxima = max(numbers, default=1), max(texts, default=1), number_of(STRING_SIZE, request)
    _check_room(*maxima)
    return ProbeSpecs(tuple(specs), tuple(results), tuple(spec_of), *maxima, is_pair=is_pair)


def _check_room(numbers: int, texts: int, text_size: int) -> None:
    """Check that a record, with its struct pt_results, is not too large. Raises UsageError."""
    left = _RECORD - _BEFORE - 8 * numbers - 4
    if texts * text_size > left:
        raise UsageError(
            f"{texts} texts of {text_size} bytes do not fit into one record",
            hint=f"-z {left // texts} at most",
        )


def expression_columns(specs: ProbeSpecs, used_names: Iterable[str], *, is_wide: bool) -> tuple[Column, ...]:
    """Return a column for each expression, named by its text; a name in ``used_names`` gets the prefix
    ``arg:``. If ``is_wide``, tables leave it out."""
    names = set(used_names) | _RESERVED
    slots = dict[str, ResultSlot]()
    for result in (result for spec_fields in specs.fields for result in spec_fields):
        slots.setdefault(result.name, result.slot)
    return tuple(
        Column(
            f"arg:{name}" if name in names else name,
            f"what {name} was",
            field=name,
            label=name,
            decode="" if slot in (ResultSlot.SIGNED, ResultSlot.UNSIGNED, ResultSlot.BOOL) else "text",
            wide=is_wide,
            computed=True,
        )
        for name, slot in slots.items()
    )
