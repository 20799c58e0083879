"""What the user names: found on this machine, and the ways to attach to it, best first.

A new kind of source is a line of ``SPELLINGS`` (spec/sources.py), one of ``WAYS`` here, a function that finds
it (bpf/find) and a kind of probe (bpf/attach).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pytracer.errors import UnreadableCodeError, UsageError
from pytracer.kernel.facts import Answer, Facts, Target, Tells
from pytracer.plan.alternatives import Chosen, Decided, choose
from pytracer.plan.named_target import IN_PROGRAMS, Make, Named
from pytracer.plan.request import Request
from pytracer.plan.sites import (
    RETURN,
    RISK,
    each,
    exits,
    is_tracked,
    needs_code,
    read_code,
    starts,
    together,
)
from pytracer.record import made, record, replace
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
    from pytracer.lang import Asked

PROBES_MAX = 500
FEWEST = (
    1024  # numbers that the C has room for: programs are compiled once for so many, or a power of two more
)


@record
class Way:
    """A way to attach to what a kind of source names. ``offsets``: it can be put within a function, too.
    ``risk``: see :class:`~pytracer.spec.Alternative`."""

    name: str
    make: Make
    offsets: bool = True
    risk: str = ""


def _each(make: Callable[[str, Named], Probe]) -> Make:
    def probes(program: str, named: Sequence[Named]) -> tuple[Probe, ...]:
        return tuple(
            replace(make(program, one), targets=(one.number,), optional=one.source.is_pattern)
            for one in named
        )

    return probes


def _kprobe(kind: type[Kprobe]) -> Make:
    def probe(program: str, one: Named) -> Probe:
        target = one.target  # of several functions by one name, which, only the address tells
        address = target.address if target.symbol else 0
        return kind(program, symbols=(target.function,), offset=one.source.offset, address=address)

    return _each(probe)


def _kprobes(kind: type[Kprobes]) -> Make:
    def probes(program: str, named: Sequence[Named]) -> tuple[Probe, ...]:
        known = ((one.target.address, one.source.offset) for one in named)
        addresses = tuple(address and address + offset for address, offset in known)
        texts = tuple(dict.fromkeys(one.source.text for one in named))
        return (
            kind(program, targets=tuple(one.number for one in named), patterns=texts, addresses=addresses),
        )

    return probes


def _typed(kind: type[Fentry]) -> Make:
    return _each(lambda program, one: kind(program, function=one.target.function))


def _event(program: str, one: Named) -> Probe:
    category, _, event = one.target.name.partition(":")
    return Tracepoint(program, category=category, event=event)


WAYS: dict[str, tuple[Way, ...]] = {
    "k": (
        Way("kprobe-multi", _kprobes(KprobeMulti), offsets=False),
        Way("kprobe", _kprobe(Kprobe)),
        Way("kprobe-events", _kprobes(KprobeEvents)),
    ),
    "kr": (
        Way("kretprobe-multi", _kprobes(KretprobeMulti), offsets=False),
        Way("kretprobe-events", _kprobe(KretprobeEvent), offsets=False),
        # Last, since it counts what it misses only from Linux 6.7 on.
        Way("kretprobe", _kprobe(Kretprobe), offsets=False),
    ),
    "f": (Way("fentry", _typed(Fentry)),),
    "fr": (Way("fexit", _typed(Fexit), offsets=False),),
    "t": (Way("tracepoint", _each(_event)),),
    "rt": (
        Way("raw-tracepoint", _each(lambda program, one: RawTracepoint(program, event=one.target.name))),
        Way("typed", _typed(TypedTracepoint)),
    ),
    "u": (Way("uprobe-multi", together(UprobeMulti)), Way("uprobe", each(Uprobe))),
    "ur": (
        Way("return-sites-multi", together(UprobeMulti, exits), offsets=False),
        Way("return-sites", each(Uprobe, exits), offsets=False),
        Way("uretprobe-multi", together(UretprobeMulti, starts), offsets=False, risk=RISK),
        Way("uretprobe", each(Uretprobe, starts), offsets=False, risk=RISK),
    ),
    "usdt": (Way("uprobe-multi", together(UprobeMulti)), Way("uprobe", each(Uprobe))),
}
"""By the kind of source, best first."""


_KINDS_MAX = 16  # a number of 64 bits has four for each


@record
class TargetPlan:
    """What became of a request's sources: ``names`` by number, and what the plan needs of it."""

    names: tuple[str, ...] = ()
    probes: tuple[Chosen, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    defines: tuple[tuple[str, str], ...] = ()
    decided: tuple[Decided, ...] = ()


@record
class AskPlan(TargetPlan):
    """What became of a request's questions. ``generated`` is C by the name of the file that it is included
    as, ``marks`` where USDT arguments are, by the number of the target."""

    asked: Asked | None = None
    generated: Mapping[str, str] = made(factory=dict)
    marks: Mapping[int, bytes] = made(factory=dict)


def granted(source: Source, target: Target, facts: Facts) -> Iterator[tuple[str, Answer]]:
    """Every way to attach to what a source names, best first, and whether this kernel has it."""
    for way in WAYS[source.kind]:
        if way.offsets or not source.offset:
            one = Named(0, source, target)
            try:
                if source.kind == RETURN and not way.risk:
                    one = replace(one, code=facts.code(target.spots[0]))
            except UnreadableCodeError as problem:
                yield way.name, Answer(False, reason=problem.message)
                continue
            yield way.name, facts.probe(way.make("", [one])[0])


def choose_targets(request: Request, facts: Facts) -> TargetPlan:
    """Find what the sources name and choose how to attach to it.

    Raises UsageError where it is too much, UnknownNameError where there is no such thing, UnsupportedError or
    PolicyError where there is no way.
    """
    wanted = request.tracer.arguments
    if not isinstance(wanted, Targets):
        return TargetPlan()
    named, warnings = _find(wanted, request, facts)
    probes, notes, decided = list[Chosen](), list[str](), list[Decided]()
    for kind, within in dict.fromkeys((one.source.kind, bool(one.source.offset)) for one in named):
        group = [one for one in named if (one.source.kind, bool(one.source.offset)) == (kind, within)]
        parts = [(wanted.begin, kind)]
        if wanted.end:
            parts.append((wanted.end, SPELLINGS[kind].end))
        for program, part in parts:
            if not part or (wanted.end and within):  # what is within a function does not return from there
                raise UsageError(
                    f"{request.tracer.name} needs what begins and returns, not {group[0].source.text}",
                    hint="functions do: "
                    + ", ".join(f"{s.kind}:{s.of.upper()}" for s in SPELLINGS.values() if s.end),
                )
            tracked = [one for one in group if is_tracked(one)] if wanted.enter else []
            for function, begun, some in ((wanted.enter, "u", tracked), (program, part, group)):
                if some:
                    chosen, note, taken = attach(function, begun, some, request, facts)
                    decided.append(taken)
                    probes += chosen
                    notes.append(note)
    defines = list(defines_of(len(named), probes))
    if wanted.kinds:
        defines.append(("PT_KINDS", _kinds_of(wanted, named)))
    if any(one.probe.program == wanted.enter for one in probes):
        defines.append(("PT_TRACKED", ""))
    return TargetPlan(
        names=tuple(one.name for one in named),
        probes=tuple(probes),
        notes=tuple(notes),
        warnings=(*warnings, *risks(decided)),
        defines=tuple(defines),
        decided=tuple(decided),
    )


def attach(
    program: str, kind: str, group: Sequence[Named], request: Request, facts: Facts
) -> tuple[Sequence[Chosen], str, Decided]:
    """The best way to put a program on these, all of one ``kind`` of source, and all or none of them within
    functions; what was not taken, and why. Raises UnsupportedError or PolicyError where there is none."""
    within = bool(group[0].source.offset)
    point = Point.OTHER if within else SPELLINGS[kind].at

    def made(way: Way) -> tuple[Probe, ...]:
        probes = way.make(program, group)
        return probes if kind in IN_PROGRAMS else tuple(replace(probe, at=point) for probe in probes)

    ways = tuple(
        Alternative(way.name, made(way), alike=not within, risk=way.risk)
        for way in WAYS[kind]
        if (way.offsets or not within) and (way.risk or kind != RETURN or group[0].code is not None)
    )
    hook = Hook(kind, SPELLINGS[kind].event, ways)
    taken, chosen, note = choose(hook, request, facts)
    return chosen, note, Decided(hook, taken.name)


def risks(decided: Iterable[Decided]) -> dict[str, None]:
    """Warnings of what may happen to what is traced, once each."""
    return {
        f"--hook {one.hook.name}={way.name}: {way.risk}": None
        for one in decided
        for way in one.hook.alternatives
        if way.risk and way.name == one.way
    }


def defines_of(count: int, probes: Iterable[Chosen]) -> Iterator[tuple[str, str]]:
    """The macros that tell the C how many targets there are, and how it gets to know which it runs for."""
    room = FEWEST << max(-(-count // FEWEST) - 1, 0).bit_length()
    yield "PT_TARGETS", str(room)
    if any(chosen.tells is Tells.ADDRESS for chosen in probes):
        yield "PT_ADDRESSES", str(2 * room)


def _find(wanted: Targets, request: Request, facts: Facts) -> tuple[list[Named], list[str]]:
    """All that the sources name, each once, and what is to be said of what they do not."""
    named = dict[tuple[object, ...], Named]()
    warnings = list[str]()
    absent: UsageError | None = None
    for source in request.sources:
        kind = source.spelling.end if wanted.end else source.kind
        try:
            source, targets = targets_of(source, kind, request, facts, warnings)
        except UsageError as problem:
            if source.text not in wanted.default:
                raise
            absent = problem
            continue
        for one in targets:
            key = source.kind, _place_of(source, one.target), source.offset
            known = named.setdefault(key, replace(one, number=len(named)))
            if known.target.name != one.target.name:
                both = quoting.either(known.target.name, one.target.name)
                target = replace(known.target, name=both, symbol=known.target.function)
                named[key] = replace(known, target=target)
    if absent and not named:
        raise absent
    check_number(request.sources, list(named.values()), request)
    return list(named.values()), warnings


def _kinds_of(wanted: Targets, named: Sequence[Named]) -> str:
    """The kinds of targets, as pt_kind reads them: four bits each, by number. Raises UsageError where one is
    of no kind, or they are too many."""
    if len(named) > _KINDS_MAX:
        raise UsageError(f"{len(named)} functions to attach to, and {_KINDS_MAX} are the most here")
    kinds = 0
    for one in named:
        names = quoting.split(quoting.split(one.target.name, ":")[-1], "|")
        kind = next((wanted.kinds.index(name) + 1 for name in names if name in wanted.kinds), 0)
        if not kind:
            raise UsageError(
                f"{one.name}: what that function does is not known",
                hint=f"known are {', '.join(wanted.kinds)}",
            )
        kinds |= kind << 4 * one.number
    return f"{kinds:#x}ULL"


def _place_of(source: Source, target: Target) -> object:
    """What is the same for all names of one function: of it a single probe is made."""
    if source.kind in ("u", "ur"):
        return tuple((spot.identity, spot.offset) for spot in target.spots)
    return target.address or target.name


def targets_of(
    source: Source, kind: str, request: Request, facts: Facts, warnings: list[str]
) -> tuple[Source, Sequence[Named]]:
    """What one source names, without numbers yet, to be seen as a ``kind`` of source; and the source with the
    process that it is meant in. What it does not name, though it matches, is said in ``warnings``."""
    if source.kind in IN_PROGRAMS:
        process = request.process or request.viewer
        command = tuple(request.command) if not process else ()
        source = replace(source, process=process, command=command)
    found = facts.find(source)
    reasons = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
    if reasons:
        warnings.append(f"{source.text}: {len(found.targets)} are seen; left out are {reasons}")
    if needs_code(kind, request):  # before all of them are read
        check_number([source], found.targets, request)
    return source, read_code(source, found.targets, request, facts, warnings, kind=kind)


def check_number(sources: Iterable[Source], named: Sequence[Named | Target], request: Request) -> None:
    """UsageError where there are more targets than may be attached to, or more places of them."""
    most = request.max_probes or PROBES_MAX
    sites = sum(len(one.code.exits) for one in named if isinstance(one, Named) and one.code is not None)
    for count, what in ((len(named), "to attach to"), (sites, "instructions at which calls end")):
        if count > most:
            texts = ", ".join(source.text for source in sources)
            raise UsageError(
                f"{texts}: {count} {what}, and --max-probes is {most}",
                hint=f"a narrower pattern, or --max-probes {count}",
            )
