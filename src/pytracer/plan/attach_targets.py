"""Find the targets that the user names on this machine, and choose the best way to attach to them.

A new kind of source is a line of ``SPELLINGS`` (spec/sources.py) and of ``ALTERNATIVES`` here, a function
that finds its targets (targets/) and a kind of probe (bpf/attach).

See "Targets that the user names" in docs/internals.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pytracer.errors import UnreadableCodeError, UnsupportedError, UsageError
from pytracer.kernel.facts import KernelInfo, NamedTarget, Support, TargetIdSource
from pytracer.plan.alternatives import ChosenProbe, HookPlan, ResolvedHook, choose_alternative
from pytracer.plan.named_target import (
    IN_PROGRAMS,
    Make,
    NumberedTarget,
    encode_kinds,
    require_mapped,
    split_sites,
    usdt_arguments,
)
from pytracer.plan.sites import (
    RETURN,
    RISK,
    exits,
    is_tracked,
    needs_code,
    one_probe_each,
    one_probe_per_file,
    read_code,
    starts,
)
from pytracer.record import default_factory, record, replace
from pytracer.request import Request
from pytracer.spec import (
    SPELLINGS,
    Alternative,
    Fentry,
    Fexit,
    Hook,
    Kprobe,
    KprobeEvents,
    KprobeMulti,
    Kprobes,
    Kretprobe,
    KretprobeEvent,
    KretprobeMulti,
    Lsm,
    Point,
    Probe,
    RawTracepoint,
    Source,
    Targets,
    Tracepoint,
    TypedTracepoint,
    Uprobe,
    UprobeMulti,
    Uretprobe,
    UretprobeMulti,
    quoting,
)

if TYPE_CHECKING:
    from pytracer.lang import ProbeSpecs
    from pytracer.lang.script import CompiledScript

PROBES_MAX = 500
_LISTED = 5  # versions of a function that are named
FEWEST = (
    1024  # numbers that the C has room for: programs are compiled once for so many, or a power of two more
)


@record
class TargetAlternative:
    """A way to attach to what a kind of source names. ``offsets``: it can be put within a function, too.
    ``risk``: see :class:`~pytracer.spec.Alternative`."""

    name: str
    make: Make
    offsets: bool = True
    risk: str = ""


def _make_each(make: Callable[[str, NumberedTarget], Probe]) -> Make:
    def probes(program: str, numbered: Sequence[NumberedTarget]) -> tuple[Probe, ...]:
        return tuple(
            replace(make(program, target), targets=(target.number,), optional=target.source.is_pattern)
            for target in numbered
        )

    return probes


def _make_kprobe(kind: type[Kprobe]) -> Make:
    def probe(program: str, item: NumberedTarget) -> Probe:
        target = item.target  # of several functions by one name, which, only the address tells
        address = target.address if target.symbol else 0
        return kind(program, symbols=(target.function,), offset=item.source.offset, address=address)

    return _make_each(probe)


def _make_kprobes(kind: type[Kprobes]) -> Make:
    def probes(program: str, numbered: Sequence[NumberedTarget]) -> tuple[Probe, ...]:
        sites = ((target.target.address, target.source.offset) for target in numbered)
        addresses = tuple(address and address + offset for address, offset in sites)
        texts = tuple(dict.fromkeys(target.source.text for target in numbered))
        numbers = tuple(target.number for target in numbered)
        return (kind(program, targets=numbers, patterns=texts, addresses=addresses),)

    return probes


def _make_typed(kind: type[Fentry]) -> Make:
    return _make_each(lambda program, target: kind(program, function=target.target.function))


def _make_event(program: str, target: NumberedTarget) -> Probe:
    category, _, event = target.target.name.partition(":")
    return Tracepoint(program, category=category, event=event)


ALTERNATIVES: dict[str, tuple[TargetAlternative, ...]] = {
    "k": (
        TargetAlternative("kprobe-multi", _make_kprobes(KprobeMulti), offsets=False),
        TargetAlternative("kprobe", _make_kprobe(Kprobe)),
        TargetAlternative("kprobe-events", _make_kprobes(KprobeEvents)),
    ),
    "kr": (
        TargetAlternative("kretprobe-multi", _make_kprobes(KretprobeMulti), offsets=False),
        TargetAlternative("kretprobe-events", _make_kprobe(KretprobeEvent), offsets=False),
        # Last, since it counts what it misses only from Linux 6.7 on.
        TargetAlternative("kretprobe", _make_kprobe(Kretprobe), offsets=False),
    ),
    "f": (TargetAlternative("fentry", _make_typed(Fentry)),),
    "fr": (TargetAlternative("fexit", _make_typed(Fexit), offsets=False),),
    "lsm": (TargetAlternative("lsm", _make_typed(Lsm), offsets=False),),
    "t": (TargetAlternative("tracepoint", _make_each(_make_event)),),
    "rt": (
        TargetAlternative(
            "raw-tracepoint", _make_each(lambda program, one: RawTracepoint(program, event=one.target.name))
        ),
        TargetAlternative("typed", _make_typed(TypedTracepoint)),
    ),
    "u": (
        TargetAlternative("uprobe-multi", one_probe_per_file(UprobeMulti)),
        TargetAlternative("uprobe", one_probe_each(Uprobe)),
    ),
    "ur": (
        TargetAlternative("return-sites-multi", one_probe_per_file(UprobeMulti, exits), offsets=False),
        TargetAlternative("return-sites", one_probe_each(Uprobe, exits), offsets=False),
        TargetAlternative(
            "uretprobe-multi", one_probe_per_file(UretprobeMulti, starts), offsets=False, risk=RISK
        ),
        TargetAlternative("uretprobe", one_probe_each(Uretprobe, starts), offsets=False, risk=RISK),
    ),
    "usdt": (
        TargetAlternative("uprobe-multi", one_probe_per_file(UprobeMulti)),
        TargetAlternative("uprobe", one_probe_each(Uprobe)),
    ),
}
"""By the kind of source, best first."""


@record
class TargetPlan(HookPlan):
    """The resolved sources of a request; ``names`` are those of their targets, by number. ``usdt_arguments``
    maps target numbers to the locations of USDT arguments."""

    names: tuple[str, ...] = ()
    usdt_arguments: Mapping[int, bytes] = default_factory(factory=dict)


@record
class GeneratedPlan(TargetPlan):
    """Targets for which C is generated. ``generated`` maps names of generated include files to their C."""

    generated: Mapping[str, str] = default_factory(factory=dict)


@record
class ProbeSpecPlan(GeneratedPlan):
    """The resolved probe specs of a request."""

    specs: ProbeSpecs | None = None


@record
class ScriptPlan(GeneratedPlan):
    """The resolved script of a request."""

    script: CompiledScript | None = None


def supported_alternatives(
    source: Source, target: NamedTarget, facts: KernelInfo
) -> Iterator[tuple[str, Support]]:
    """Yield every alternative for a source's target, best first, with this kernel's support."""
    for alternative in ALTERNATIVES[source.kind]:
        if alternative.offsets or not source.offset:
            numbered_target = NumberedTarget(0, source, target)
            try:
                if source.kind == RETURN and not alternative.risk:
                    numbered_target = replace(numbered_target, code=facts.code(target.sites[0]))
            except UnreadableCodeError as problem:
                yield alternative.name, Support(False, reason=problem.message)
                continue
            yield alternative.name, facts.probe(alternative.make("", [numbered_target])[0])


def choose_targets(request: Request, facts: KernelInfo) -> TargetPlan:
    """Find the targets that the sources name and choose how to attach to them.

    Raises UsageError if there are too many, UnknownNameError if a source names nothing, UnsupportedError or
    PolicyError if no alternative is supported.
    """
    arguments = request.tracer.arguments
    if not isinstance(arguments, Targets):
        return TargetPlan()
    numbered, warnings = _find(arguments, request, facts)
    probes, notes, resolved_hooks = list[ChosenProbe](), list[str](), list[ResolvedHook]()
    groups = dict[tuple[str, bool], list[NumberedTarget]]()
    for target in numbered:
        groups.setdefault((target.source.kind, bool(target.source.offset)), []).append(target)
    for (kind, inside), group in groups.items():
        parts = [(arguments.begin, kind)]
        if arguments.mark and kind == "usdt":
            parts = [(arguments.mark, kind)]
        elif arguments.end:
            if inside or not SPELLINGS[kind].end:  # a site within a function has no return
                raise UsageError(
                    f"{request.tracer.name} needs what begins and returns, not {group[0].source.text}",
                    hint="functions do: "
                    + ", ".join(f"{s.kind}:{s.of.upper()}" for s in SPELLINGS.values() if s.end),
                )
            parts.append((arguments.end, SPELLINGS[kind].end))
        for program, part in parts:
            tracked = [target for target in group if is_tracked(target)] if arguments.enter else []
            for function, part_targets, members in ((arguments.enter, "u", tracked), (program, part, group)):
                if members:
                    chosen, note, alternative = attach(function, part_targets, members, request, facts)
                    resolved_hooks.append(alternative)
                    probes += chosen
                    notes.append(note)
    defines = list(defines_of(len(numbered), probes))
    if arguments.kinds:
        defines.append(("PT_KINDS", encode_kinds(arguments.kinds, numbered)))
    if any(chosen.probe.program == arguments.enter for chosen in probes):
        defines.append(("PT_TRACKED", ""))
    if arguments.mark:
        defines.append(("PT_USDT_SITES", dict(defines)["PT_TARGETS"]))
    return TargetPlan(
        names=tuple(target.name for target in numbered),
        probes=tuple(probes),
        notes=tuple(notes),
        warnings=(*warnings, *risks(resolved_hooks)),
        defines=tuple(defines),
        resolved_hooks=tuple(resolved_hooks),
        usdt_arguments=usdt_arguments(numbered) if arguments.mark else {},
    )


def attach(
    program: str, kind: str, group: Sequence[NumberedTarget], request: Request, facts: KernelInfo
) -> tuple[Sequence[ChosenProbe], str, ResolvedHook]:
    """Choose the best way to attach a program to targets, all of one ``kind`` of source, and either all or
    none of them inside functions. Returns the probes, a note on alternatives passed over, and the choice.
    Raises UnsupportedError or PolicyError if none is supported."""
    inside = bool(group[0].source.offset)
    point = Point.OTHER if inside else SPELLINGS[kind].at

    def default_factory(alternative: TargetAlternative) -> tuple[Probe, ...]:
        probes = alternative.make(program, group)
        return probes if kind in IN_PROGRAMS else tuple(replace(probe, at=point) for probe in probes)

    alternatives = tuple(
        Alternative(alternative.name, default_factory(alternative), uniform=not inside, risk=alternative.risk)
        for alternative in ALTERNATIVES[kind]
        if (alternative.offsets or not inside)
        and (alternative.risk or kind != RETURN or group[0].code is not None)
    )
    hook = Hook(kind, SPELLINGS[kind].event, alternatives)
    alternative, chosen, note = choose_alternative(hook, request, facts)
    return chosen, note, ResolvedHook(hook, alternative.name)


def risks(resolved_hooks: Iterable[ResolvedHook]) -> dict[str, None]:
    """Return warnings about risks to the traced programs, each once."""
    return {
        f"--hook {resolved_hook.hook.name}={alternative.name}: {alternative.risk}": None
        for resolved_hook in resolved_hooks
        for alternative in resolved_hook.hook.alternatives
        if alternative.risk and alternative.name == resolved_hook.alternative
    }


def defines_of(count: int, probes: Iterable[ChosenProbe]) -> Iterator[tuple[str, str]]:
    """Yield the macros for the number of targets, and for how a program learns its target id."""
    capacity = FEWEST << max(-(-count // FEWEST) - 1, 0).bit_length()
    yield "PT_TARGETS", str(capacity)
    if any(chosen_probe.target_id_source is TargetIdSource.ADDRESS for chosen_probe in probes):
        yield "PT_ADDRESSES", str(2 * capacity)


def _find(arguments: Targets, request: Request, facts: KernelInfo) -> tuple[list[NumberedTarget], list[str]]:
    """Find all targets of the sources, each once; also return warnings about targets left out."""
    numbered = dict[tuple[object, ...], NumberedTarget]()
    warnings = list[str]()
    absent, places = dict[str, UsageError](), set[str]()  # by place, and where there is something
    for source in request.sources:
        if arguments.wanted and source.place in absent and source.text in arguments.default:
            continue
        kind = source.spelling.end if arguments.end else source.kind
        try:
            source, targets = targets_of(source, kind, request, facts, warnings)
            if arguments.wanted and source.text in arguments.default:
                targets = require_mapped(source, targets, request, facts)
        except UsageError as problem:
            if source.text not in arguments.default:
                raise
            if arguments.wanted and source.place in places:
                warnings.append(f"{source.text}: {problem.message}; not all is seen")
            else:
                absent[source.place] = problem
            continue
        places.add(source.place)
        for candidate in split_sites(source.kind, targets) if arguments.mark else targets:
            key = source.kind, _place_of(source, candidate.target), source.offset
            known_target = numbered.setdefault(key, replace(candidate, number=len(numbered)))
            if known_target.target.name != candidate.target.name:
                joined_name = quoting.either(known_target.target.name, candidate.target.name)
                target = replace(known_target.target, name=joined_name, symbol=known_target.target.function)
                numbered[key] = replace(known_target, target=target)
    if absent and not numbered:
        last = list(absent.values())[-1]
        if arguments.wanted:
            raise UnsupportedError(f"nothing to trace: {last.message}", hint=arguments.wanted)
        raise last
    check_number(request.sources, list(numbered.values()), request)
    return list(numbered.values()), warnings


def _place_of(source: Source, target: NamedTarget) -> object:
    """Return a key that all names of one function share, so that it gets a single probe."""
    if source.kind in ("u", "ur") or len(target.sites) == 1:
        return tuple((site.identity, site.offset) for site in target.sites)
    return target.address or target.name


def targets_of(
    source: Source, kind: str, request: Request, facts: KernelInfo, warnings: list[str]
) -> tuple[Source, Sequence[NumberedTarget]]:
    """Find the targets of one source, without numbers yet, as targets of a ``kind`` of source; also return
    the source with the process that it is resolved in. Matches that are left out are reported in
    ``warnings``."""
    if source.kind in IN_PROGRAMS:
        process = request.process or request.viewer
        command = tuple(request.command) if not process else ()
        source = replace(source, process=process, command=command)
    matches = facts.find(source)
    reasons = ", ".join(f"{count} {reason}" for reason, count in matches.left_out.items())
    if reasons:
        warnings.append(f"{source.text}: {len(matches.targets)} are seen; left out are {reasons}")
    if matches.versions:
        names = ", ".join(matches.versions[:_LISTED])
        warnings.append(f"{source.text}: the compiler made versions of it that are not seen: {names}")
    if needs_code(kind, request):  # before all of them are read
        check_number([source], matches.targets, request)
    return source, read_code(source, matches.targets, request, facts, warnings, kind=kind)


def check_number(
    sources: Iterable[Source], numbered: Sequence[NumberedTarget | NamedTarget], request: Request
) -> None:
    """Raise UsageError if there are more targets, or more sites of them, than may be attached to."""
    limit = request.max_probes or PROBES_MAX
    sites = sum(
        len(target.code.exits)
        for target in numbered
        if isinstance(target, NumberedTarget) and target.code is not None
    )
    for count, purpose in ((len(numbered), "to attach to"), (sites, "instructions at which calls end")):
        if count > limit:
            texts = ", ".join(source.text for source in sources)
            raise UsageError(
                f"{texts}: {count} {purpose}, and --max-probes is {limit}",
                hint=f"a narrower pattern, or --max-probes {count}",
            )
