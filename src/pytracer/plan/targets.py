"""What the user names: found on this machine, and the ways to attach to it, best first.

A new kind of source is a line of ``SPELLINGS`` (spec/sources.py), one of ``WAYS`` here, a function that finds
it (bpf/find) and a kind of probe (bpf/attach).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pytracer.errors import UsageError
from pytracer.kernel.facts import Answer, Facts, Target, Tells
from pytracer.plan.choose import Chosen, Decided, choose
from pytracer.plan.request import Request
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
    Spot,
    Targets,
    Tracepoint,
    TypedTracepoint,
    Uprobe,
    UprobeMulti,
    Uretprobe,
    UretprobeMulti,
    UserProbe,
    quoting,
)

if TYPE_CHECKING:
    from pytracer.ask import Asked

PROBES_MAX = 500
IN_PROGRAMS = ("u", "ur", "usdt")
FEWEST = (
    1024  # numbers that the C has room for: programs are compiled once for so many, or a power of two more
)


@record
class Named:
    """One target, the number that the C knows it by, and the source that named it. ``process`` is the only
    one in which it matters, where it is in programs (0: all)."""

    number: int
    source: Source
    target: Target
    process: int = 0

    @property
    def name(self) -> str:
        """As a user would write just this one."""
        return name_of(self.source, self.target)


def name_of(source: Source, target: Target) -> str:
    """How a user would write just this one of what a source names."""
    return replace(source, place="", name=target.name).text


Make = Callable[[str, Sequence[Named]], tuple[Probe, ...]]
"""From a program and what it is to be put on, to probes: one for each, or one for all."""


@record
class Way:
    """A way to attach to what a kind of source names. ``offsets``: it can be put within a function, too."""

    name: str
    make: Make
    offsets: bool = True


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


def _spots(kind: type[UserProbe]) -> Make:
    """A probe for each target; for each file where its places are in several."""

    def probes(program: str, named: Sequence[Named]) -> tuple[Probe, ...]:
        return tuple(
            kind(
                program,
                targets=(one.number,) * len(spots),
                optional=one.source.is_pattern,
                file=spots[0].file,
                symbol=one.target.name,
                process=one.process,
                spots=spots,
            )
            for one in named
            for spots in _by_file(one.target.spots)
        )

    return probes


def _all_spots(kind: type[UserProbe]) -> Make:
    """A probe for each file, of all targets in it."""

    def probes(program: str, named: Sequence[Named]) -> tuple[Probe, ...]:
        number_of = {(one.process, spot): one.number for one in named for spot in one.target.spots}
        made = list[Probe]()
        for process in dict.fromkeys(process for process, _ in number_of):
            for spots in _by_file(spot for of, spot in number_of if of == process):
                numbers = tuple(number_of[process, spot] for spot in spots)
                names = tuple(dict.fromkeys(spot.name for spot in spots))
                text = ",".join(names[:3]) + (",..." if len(names) > 3 else "")
                made.append(
                    kind(
                        program,
                        targets=numbers,
                        file=spots[0].file,
                        symbol=text,
                        process=process,
                        spots=spots,
                    )
                )
        return tuple(made)

    return probes


def _by_file(spots: Iterable[Spot]) -> Iterable[tuple[Spot, ...]]:
    files = dict[tuple[int, int], list[Spot]]()
    for spot in spots:
        files.setdefault(spot.identity, []).append(spot)
    return map(tuple, files.values())


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
    "u": (Way("uprobe-multi", _all_spots(UprobeMulti)), Way("uprobe", _spots(Uprobe))),
    "ur": (
        Way("uretprobe-multi", _all_spots(UretprobeMulti), offsets=False),
        Way("uretprobe", _spots(Uretprobe), offsets=False),
    ),
    "usdt": (Way("uprobe-multi", _all_spots(UprobeMulti)), Way("uprobe", _spots(Uprobe))),
}
"""By the kind of source, best first."""


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
            [probe] = way.make("", [Named(0, source, target)])
            yield way.name, facts.probe(probe)


def choose_targets(request: Request, facts: Facts) -> TargetPlan:
    """Find what the sources name and choose how to attach to it.

    Raises UsageError where it is too much, UnknownNameError where there is no such thing, UnsupportedError or
    PolicyError where there is no way.
    """
    wanted = request.tracer.arguments
    if not isinstance(wanted, Targets):
        return TargetPlan()
    named, warnings = _find(request, facts)
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
            chosen, note, taken = attach(program, part, group, request, facts)
            decided.append(taken)
            probes += chosen
            notes.append(note)
    return TargetPlan(
        names=tuple(one.name for one in named),
        probes=tuple(probes),
        notes=tuple(notes),
        warnings=tuple(warnings),
        defines=tuple(defines_of(len(named), probes)),
        decided=tuple(decided),
    )


def attach(
    program: str, kind: str, group: Sequence[Named], request: Request, facts: Facts
) -> tuple[Sequence[Chosen], str, Decided]:
    """The best way to put a program on these, all of one ``kind`` of source, and all or none of them within
    functions; what was not taken, and why. Raises UnsupportedError or PolicyError where there is none."""
    within = bool(group[0].source.offset)
    point = Point.OTHER if within else SPELLINGS[kind].at
    ways = tuple(
        Alternative(
            way.name, tuple(replace(probe, at=point) for probe in way.make(program, group)), alike=not within
        )
        for way in WAYS[kind]
        if way.offsets or not within
    )
    hook = Hook(kind, SPELLINGS[kind].event, ways)
    taken, chosen, note = choose(hook, request, facts)
    return chosen, note, Decided(hook, taken.name)


def defines_of(count: int, probes: Iterable[Chosen]) -> Iterator[tuple[str, str]]:
    """The macros that tell the C how many targets there are, and how it gets to know which it runs for."""
    room = FEWEST << max(-(-count // FEWEST) - 1, 0).bit_length()
    yield "PT_TARGETS", str(room)
    if any(chosen.tells is Tells.ADDRESS for chosen in probes):
        yield "PT_ADDRESSES", str(2 * room)


def _find(request: Request, facts: Facts) -> tuple[list[Named], list[str]]:
    """All that the sources name, each once, and what is to be said of what they do not."""
    named = dict[tuple[object, ...], Named]()
    warnings = list[str]()
    for source in request.sources:
        source, targets = targets_of(source, request, facts, warnings)
        for target in targets:
            key = source.kind, _place_of(source, target), source.offset
            known = named.setdefault(key, Named(len(named), source, target, request.process))
            if known.target.name != target.name:
                both = quoting.either(known.target.name, target.name)
                target = replace(known.target, name=both, symbol=known.target.function)
                named[key] = replace(known, target=target)
    check_number(request.sources, len(named), request)
    return list(named.values()), warnings


def _place_of(source: Source, target: Target) -> object:
    """What is the same for all names of one function: of it a single probe is made."""
    if source.kind in ("u", "ur"):
        return tuple((spot.identity, spot.offset) for spot in target.spots)
    return target.address or target.name


def targets_of(
    source: Source, request: Request, facts: Facts, warnings: list[str]
) -> tuple[Source, tuple[Target, ...]]:
    """What one source names, and the source with the process that it is meant in; what it does not name,
    though it matches, is said in ``warnings``."""
    if source.kind in IN_PROGRAMS:
        source = replace(source, process=request.process or request.viewer)
    found = facts.find(source)
    reasons = ", ".join(f"{count} {reason}" for reason, count in found.skipped.items())
    if reasons:
        warnings.append(f"{source.text}: {len(found.targets)} are seen; left out are {reasons}")
    return source, found.targets


def check_number(sources: Iterable[Source], count: int, request: Request) -> None:
    """UsageError where there are more targets than may be attached to."""
    most = request.max_probes or PROBES_MAX
    if count > most:
        texts = ", ".join(source.text for source in sources)
        raise UsageError(
            f"{texts}: {count} to attach to, and --max-probes is {most}",
            hint=f"a narrower pattern, or --max-probes {count}",
        )
