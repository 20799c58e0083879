"""Attach a tracer's programs to the USDT probes of the runtimes that are traced.

Each site is a target of its own, since its arguments are elsewhere. They are put into the order that the C
knows (:mod:`pytracer.spec.languages`); what a probe does not say is a constant, or missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pytracer.errors import UnsupportedError, UsageError
from pytracer.kernel.facts import KernelInfo
from pytracer.plan.alternatives import ChosenProbe, ResolvedHook
from pytracer.plan.attach_targets import (
    GeneratedPlan,
    attach,
    check_number,
    defines_of,
    risks,
    targets_of,
    usdt_arguments,
)
from pytracer.plan.generated_programs import split_sites
from pytracer.plan.named_target import NumberedTarget
from pytracer.plan.runtime_starts import check_start, explain_absence, narrow_sources
from pytracer.record import replace
from pytracer.request import Request
from pytracer.spec import LanguageProbes, ProbeSite, SiteArgument
from pytracer.spec.languages import ARGUMENTS, LANGUAGES, Language, RuntimeProbe, label_of, language_of
from pytracer.symbols.usdt_args import UsdtArgument

_MISSING = SiteArgument(0, UsdtArgument(problem="the probe does not have it").pack())


def plan_language_probes(request: Request, facts: KernelInfo) -> GeneratedPlan:
    """Find the probes of runtimes for the events that the tracer needs, and choose how to attach to them.

    Raises UsageError or UnsupportedError, with what would help, if a runtime that is traced has none or was
    started without them, and the errors of :func:`~pytracer.plan.attach_targets.choose_targets`.
    """
    arguments = request.tracer.arguments
    assert isinstance(arguments, LanguageProbes)
    groups = dict[str, list[NumberedTarget]]()
    numbered, warnings = list[NumberedTarget](), list[str]()
    for probe, target in _find(arguments, request, facts, warnings):
        target = replace(target, number=len(numbered))
        numbered.append(target)
        groups.setdefault(arguments.programs[probe.event], []).append(target)
    check_number(request.sources, numbered, request)
    probes, notes, resolved_hooks = list[ChosenProbe](), list[str](), list[ResolvedHook]()
    for program, group in groups.items():
        chosen, note, hook = attach(program, "usdt", group, request, facts)
        probes += chosen
        notes.append(note)
        resolved_hooks.append(hook)
    defines = dict(defines_of(len(numbered), probes))
    return GeneratedPlan(
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
) -> Iterator[tuple[RuntimeProbe, NumberedTarget]]:
    """Yield each site of the probes of all sources, with its arguments in the C's order."""
    absent: UsageError | None = None
    lacking, any_found = dict[str, list[str]](), False
    for source in narrow_sources(request, facts):
        language = language_of(source)
        wanted = {probe.name: probe for probe in language.probes_of(arguments.programs)}
        try:
            source, targets = targets_of(source, source.kind, request, facts, warnings)
        except UsageError as problem:
            absent = problem
            continue
        found = [target for target in targets if _name_of(target) in wanted]
        missing = wanted.keys() - set(map(_name_of, found))
        if missing:
            lacking[language.runtime] = sorted(missing)
            continue
        any_found = True
        warnings += check_start(language, wanted.values(), request, facts)
        for target in split_sites(source.kind, found):
            probe = wanted[_name_of(target)]
            [site] = target.target.sites
            located = replace(site, arguments=_order(language, probe, site))
            yield probe, replace(target, target=replace(target.target, sites=(located,)))
    if request.sources and not any_found:
        for runtime, names in lacking.items():
            listed = ", ".join(names)
            raise UnsupportedError(f"this build of {runtime} lacks the probes {listed}")
        raise (
            explain_absence(arguments, request, facts) or absent or UnsupportedError("no runtime has probes")
        )


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
