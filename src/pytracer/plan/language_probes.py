"""Attach a tracer's programs to the USDT probes of the runtimes that are traced.

Each site is a target of its own, since its arguments are elsewhere. They are put into the order that the C
knows (:mod:`pytracer.spec.languages`); what a probe does not say is a constant, or missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pytracer.errors import UnsupportedError, UsageError
from pytracer.kernel.facts import KernelInfo
from pytracer.plan.alternatives import ChosenProbe, ResolvedHook
from pytracer.plan.attach_targets import (
    TargetPlan,
    attach,
    check_number,
    defines_of,
    risks,
    targets_of,
)
from pytracer.plan.named_target import NumberedTarget, split_sites, usdt_arguments
from pytracer.plan.runtime_starts import check_start, explain_absence, narrow_sources
from pytracer.record import replace
from pytracer.request import Request
from pytracer.spec import LanguageProbes, ProbeSite, SiteArgument
from pytracer.spec.languages import (
    ARGUMENTS,
    ENABLES,
    LANGUAGES,
    Language,
    RuntimeProbe,
    label_of,
    language_of,
)
from pytracer.symbols.usdt_args import UsdtArgument

_NOP = {"x86_64": 1, "aarch64": 4}  # bytes of the instruction that is a probe's site
_MISSING = SiteArgument(0, UsdtArgument(problem="the probe does not have it").pack())


def plan_language_probes(request: Request, facts: KernelInfo) -> TargetPlan:
    """Find the probes of runtimes for the events that the tracer needs, and choose how to attach to them.

    Raises UsageError or UnsupportedError, with what would help, if a runtime that is traced has none or was
    started without them, and the errors of :func:`~pytracer.plan.attach_targets.choose_targets`.
    """
    arguments = request.tracer.arguments
    assert isinstance(arguments, LanguageProbes)
    groups = dict[str, list[NumberedTarget]]()
    numbered, warnings = list[NumberedTarget](), list[str]()
    for event, target in _find(arguments, request, facts, warnings):
        target = replace(target, number=len(numbered))
        numbered.append(target)
        groups.setdefault(arguments.programs[event], []).append(target)
    check_number(request.sources, numbered, request)
    probes, notes, resolved_hooks = list[ChosenProbe](), list[str](), list[ResolvedHook]()
    for program, group in groups.items():
        chosen, note, hook = attach(program, "usdt", group, request, facts)
        probes += chosen
        notes.append(note)
        resolved_hooks.append(hook)
    defines = dict(defines_of(len(numbered), probes))
    return TargetPlan(
        names=tuple(target.name for target in numbered),
        probes=tuple(probes),
        notes=tuple(dict.fromkeys(notes)),
        warnings=(*warnings, *risks(resolved_hooks)),
        defines=(*defines.items(), ("PT_USDT_SITES", defines["PT_TARGETS"])),
        resolved_hooks=tuple(resolved_hooks),
        usdt_arguments=usdt_arguments(numbered),
    )


def _find(
    arguments: LanguageProbes, request: Request, facts: KernelInfo, warnings: list[str]
) -> Iterator[tuple[str, NumberedTarget]]:
    """Yield each site of the probes of all sources with its event, and its arguments in the C's order."""
    absent: UsageError | None = None
    lacking, any_found = dict[str, str](), False
    events = [
        event
        for event in arguments.programs
        if not (flags := arguments.needed_by.get(event)) or any(map(request.options.get, flags))
    ]
    for source in narrow_sources(request, facts):
        language = language_of(source)
        wanted = {probe.name: probe for probe in language.probes_of(events)}
        try:
            source, targets = targets_of(source, source.kind, request, facts, warnings)
        except UsageError as problem:
            absent = problem
            continue
        missing = wanted.keys() - set(map(_name_of, targets))
        if missing:
            listed = ", ".join(sorted(missing))
            hints = [wanted[name].lacking for name in missing if wanted[name].lacking]
            lacking[f"this build of {language.runtime} lacks the probes {listed}"] = hints[0] if hints else ""
            wanted = {name: probe for name, probe in wanted.items() if name not in missing}
            if not arguments.partial or not wanted:
                continue
        any_found = True
        wanted = _check_starts(language, wanted, request, facts, warnings, is_partial=arguments.partial)
        warnings += dict.fromkeys(probe.caveat for probe in wanted.values() if probe.caveat)
        sites = list(split_sites(source.kind, targets))
        for target in sites:
            probe = wanted.get(_name_of(target))
            if probe is not None:
                [site] = target.target.sites
                yield probe.event, _at(target, replace(site, arguments=_order(language, probe, site)))
        if ENABLES in events:
            step = _NOP[facts.architecture]
            yield from ((ENABLES, target) for target in _enabling(wanted.values(), sites, step))
    for message, hint in lacking.items():
        if not any_found:
            raise UnsupportedError(message, hint=hint)
        warnings.append(message)
    if request.sources and not any_found:
        reason = explain_absence(arguments, request, facts)
        raise reason or absent or UnsupportedError("no runtime of a language is traced")


def _check_starts(
    language: Language,
    wanted: Mapping[str, RuntimeProbe],
    request: Request,
    facts: KernelInfo,
    warnings: list[str],
    *,
    is_partial: bool,
) -> dict[str, RuntimeProbe]:
    """Return the probes that are raised in what is traced, as far as its start shows; if ``is_partial``,
    ``warnings`` get the others. Raises UnsupportedError."""
    raised = dict[str, RuntimeProbe]()
    for name, probe in wanted.items():
        try:
            warnings += check_start(language, [probe], request, facts)
        except UnsupportedError as error:
            if not is_partial:
                raise
            warnings.append(error.message)
            continue
        raised[name] = probe
    return raised


def _enabling(
    probes: Iterable[RuntimeProbe], sites: Sequence[NumberedTarget], step: int
) -> Iterator[NumberedTarget]:
    """Yield a target in each file in which probes are raised only while another probe is wanted. It has the
    semaphore of that probe, and is behind a third one, which is passed rarely: nothing runs at the other."""
    names = {
        (probe.enabled_by, probe.enabled_beside, probe.enabled_in) for probe in probes if probe.enabled_by
    }
    for enabled_by, beside, files in names:
        semaphores = {
            site.identity: site.semaphore
            for target in sites
            for site in target.target.sites
            if _name_of(target) == enabled_by and re.fullmatch(files, site.file.rpartition("/")[2])
        }
        for target in sites:
            [site] = target.target.sites
            semaphore = semaphores.get(site.identity)
            if _name_of(target) == beside and semaphore:
                moved = replace(site, offset=site.offset + step, semaphore=semaphore, arguments=())
                yield _at(target, moved)


def _at(target: NumberedTarget, site: ProbeSite) -> NumberedTarget:
    return replace(target, target=replace(target.target, sites=(site,)))


def _name_of(target: NumberedTarget) -> str:
    return target.target.name.rpartition(":")[2]


def _order(language: Language, probe: RuntimeProbe, site: ProbeSite) -> tuple[SiteArgument, ...]:
    """Return the arguments in the order of ARGUMENTS."""
    constants = {
        "language": LANGUAGES.index(language),
        "label": label_of(language, probe),
        "labels": len(probe.labels),
    }
    return tuple(_argument(name, constants, probe, site.arguments) for name in ARGUMENTS)


def _argument(
    name: str, constants: Mapping[str, int], probe: RuntimeProbe, arguments: Iterable[SiteArgument]
) -> SiteArgument:
    if name in constants:
        return SiteArgument(8, UsdtArgument(add=constants[name]).pack())
    index = probe.arguments.get(name)
    located = tuple(arguments)
    return _MISSING if index is None or index >= len(located) else located[index]
