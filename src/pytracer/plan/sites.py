"""Probe sites in programs: where functions begin and return, and the probes on them.

The kernel's return probe overwrites return addresses, which breaks programs that look at their own stack. So
a function's return is a probe on each instruction at which its calls end (:mod:`pytracer.spec.code`).

See "Return probes without uretprobes" in docs/internals.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from pytracer.errors import UnreadableCodeError
from pytracer.kernel.facts import KernelInfo, NamedTarget
from pytracer.plan.named_target import Make, NumberedTarget
from pytracer.record import record, replace
from pytracer.request import Request
from pytracer.spec import SPELLINGS, ExitKind, Point, ProbeSite, Source, UserProbe

RETURN = "ur"
SITES = "return-sites"
"""The family of ways that need a function's code: all others leave it alone."""
RISK = (
    "the kernel's return probe overwrites return addresses: Go programs crash, and C++ programs, when an "
    "exception passes a traced function"
)
_HINT = f"--hook {RETURN}=uretprobe takes the kernel's return probe: it overwrites return addresses"
_POINTS = {
    ExitKind.RETURN: Point.OTHER,
    ExitKind.TAIL_RETURN: Point.TAIL,
    ExitKind.INDIRECT: Point.LOST,
}


@record
class ProbeAt:
    """A probe site in a file, for one target, with the point at which the program runs there."""

    target: NumberedTarget
    site: ProbeSite
    at: Point


def entries(target: NumberedTarget) -> Iterator[ProbeAt]:
    """Yield the entry of a function, or the sites of a USDT probe."""
    if target.source.offset:
        point = Point.OTHER
    elif target.source.kind == RETURN:
        point = SPELLINGS["u"].at
    else:
        point = SPELLINGS[target.source.kind].at
    if target.code is not None:
        point |= Point.SITE
        point |= Point.GOROUTINE if target.code.goroutine else 0
        point |= Point.REENTERS if target.code.restarts else 0
    for site in target.target.sites:
        yield ProbeAt(target, site if target.entry is None else replace(site, offset=target.entry), point)


def exits(target: NumberedTarget) -> Iterator[ProbeAt]:
    """Yield the sites at which calls of a function end."""
    assert target.code is not None, "the code of what returns was asked for"
    point = SPELLINGS[RETURN].at | Point.SITE | (Point.GOROUTINE if target.code.goroutine else 0)
    for end in target.code.exits:
        yield ProbeAt(target, end.site, point | _POINTS[end.kind])


def starts(target: NumberedTarget) -> Iterator[ProbeAt]:
    """Yield the start of a function by its symbol, for the kernel's own return probe."""
    for site in target.target.sites:
        yield ProbeAt(target, site, SPELLINGS[RETURN].at)


Places = Callable[[NumberedTarget], Iterable[ProbeAt]]


def one_probe_each(kind: type[UserProbe], places: Places = entries) -> Make:
    """Make a probe for each target, or for each of its files and points if its sites are in several."""

    def probes(program: str, numbered: Sequence[NumberedTarget]) -> tuple[UserProbe, ...]:
        return tuple(
            replace(
                _probe(kind, program, sites),
                optional=target.source.is_pattern and places is not exits,
                symbol=target.target.name,
            )
            for target in numbered
            for sites in _group_sites(places(target))
        )

    return probes


def one_probe_per_file(kind: type[UserProbe], places: Places = entries) -> Make:
    """Make a probe for each file and point, of all targets in it."""

    def probes(program: str, numbered: Sequence[NumberedTarget]) -> tuple[UserProbe, ...]:
        return tuple(
            _probe(kind, program, sites)
            for sites in _group_sites(probe_at for target in numbered for probe_at in places(target))
        )

    return probes


def _probe(kind: type[UserProbe], program: str, sites: Sequence[ProbeAt]) -> UserProbe:
    names = tuple(dict.fromkeys(probe_at.site.name for probe_at in sites))
    first = sites[0]
    return kind(
        program,
        targets=tuple(probe_at.target.number for probe_at in sites),
        at=first.at,
        file=first.site.file,
        symbol=",".join(names[:3]) + (",..." if len(names) > 3 else ""),
        process=first.target.process,
        sites=tuple(probe_at.site for probe_at in sites),
        g_offset=_find_g_offset(first),
    )


def _group_sites(sites: Iterable[ProbeAt]) -> Iterable[tuple[ProbeAt, ...]]:
    """Group the sites that one probe can cover."""
    groups = dict[tuple[object, ...], list[ProbeAt]]()
    for probe_at in sites:
        key = probe_at.target.process, probe_at.site.identity, probe_at.at, _find_g_offset(probe_at)
        groups.setdefault(key, []).append(probe_at)
    return map(tuple, groups.values())


def _find_g_offset(probe_at: ProbeAt) -> int:
    code = probe_at.target.code
    return code.g_offset if code is not None and probe_at.at & Point.GOROUTINE else 0


def is_tracked(target: NumberedTarget) -> bool:
    """Return whether calls must be tracked, to distinguish returns from those of functions that it jumps
    to."""
    return target.code is not None and any(end.kind is not ExitKind.RETURN for end in target.code.exits)


def needs_code(kind: str, request: Request) -> bool:
    """Return whether returns of this kind of source are found from a function's machine code."""
    forced = request.hooks.get(RETURN, SITES)
    return kind == RETURN and forced.startswith(SITES)


def read_code(
    source: Source,
    targets: Sequence[NamedTarget],
    request: Request,
    facts: KernelInfo,
    warnings: list[str],
    *,
    kind: str,
) -> list[NumberedTarget]:
    """Read the code of functions of programs: for the exits of calls if ``kind`` attaches to those, else for
    the entries alone, which in Go stand behind the stack check.

    A match of a pattern that cannot be analyzed is left out, and ``warnings`` say so. Raises
    UnreadableCodeError for what was named, and if nothing is left. Numbers are not given yet.
    """
    numbered = list[NumberedTarget]()
    problems = dict[str, UnreadableCodeError]()
    for target in targets:
        numbered_target = NumberedTarget(0, source, target, request.process)
        try:
            if source.kind in ("u", RETURN) and not source.offset:
                numbered_target = _read(numbered_target, facts, returns=needs_code(kind, request))
            numbered.append(numbered_target)
        except UnreadableCodeError as error:
            problems[target.name] = error
    if problems:
        name, problem = next(iter(problems.items()))
        if not numbered:
            raise UnreadableCodeError(f"{name}: {problem.message}", hint=problem.hint or _HINT)
        names = ", ".join(list(problems)[:3]) + (", ..." if len(problems) > 3 else "")
        warnings.append(
            f"{source.text}: {len(numbered)} are seen; left out are {len(problems)} whose code does not tell "
            f"where they return: {names} ({problem.message})"
        )
    return numbered


def _read(target: NumberedTarget, facts: KernelInfo, *, returns: bool) -> NumberedTarget:
    [site] = target.target.sites
    if returns:
        code = facts.code(site)
        return replace(target, entry=code.entry, code=code)
    return replace(target, entry=facts.entry(site))
