"""Choose the first alternative of a hook that this kernel supports.

See "Choosing alternatives" in docs/internals.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytracer.errors import PolicyError, UnknownNameError, UnsupportedError
from pytracer.features.table.helpers import PROBE_READ, PROBE_READ_KERNEL
from pytracer.features.table.uses import uses_of
from pytracer.kernel.facts import KernelInfo, Support, TargetIdSource
from pytracer.plan.call_probes import expand, is_of_events, names_few
from pytracer.plan.sampling import rate_of, resolve_tasks
from pytracer.record import record, replace
from pytracer.request import Request, choice_of, number_of
from pytracer.spec import (
    NO_RATE,
    Alternative,
    Flag,
    Hook,
    PacketFanout,
    PerfSample,
    Probe,
    Rate,
    RawTracepoint,
    SyscallFilter,
    TypedTracepoint,
    UserProbe,
)
from pytracer.spec.calls import CallProbe

_PROBE_READ = (PROBE_READ.number, PROBE_READ_KERNEL.number)


@record
class ChosenProbe:
    """One attachment to make: ``name`` is the target's name on this kernel.

    ``rate`` is the sampling rate of probes that sample; ``tells`` how the program learns the target id, if
    it is attached to targets that the user named; ``choice`` the chosen value of the option that the probe
    names; ``members`` the size of its group.
    """

    probe: Probe
    name: str
    rate: Rate = NO_RATE
    target_id_source: TargetIdSource = TargetIdSource.PROGRAM
    choice: str = ""
    members: int = 0

    @property
    def target(self) -> str:
        """The attach target as text, for plans and messages."""
        rate = str(self.rate)
        rate_text = f" ({rate})" if rate else ""
        choice_text = f" ({self.choice})" if self.choice else ""
        group_text = f" ({self.members} in a group)" if self.members else ""
        return f"{self.probe.kind} {self.name}{rate_text}{choice_text}{group_text}"


@record
class ResolvedHook:
    """A hook, and the name of the chosen alternative."""

    hook: Hook
    alternative: str


@record
class HookPlan:
    """The part of a plan that attaches programs.

    ``notes`` say for each hook which alternative was chosen, which were not, and why; ``defines`` are macros
    of the C that follow from the choices; ``warnings`` are for the user.
    """

    probes: tuple[ChosenProbe, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    defines: tuple[tuple[str, str], ...] = ()
    resolved_hooks: tuple[ResolvedHook, ...] = ()


@record
class AlternativeReport:
    """An alternative of a hook on this kernel: whether it was chosen, whether the kernel supports it, and
    why (not). ``probes`` are its attach targets as text."""

    name: str
    is_chosen: bool
    is_supported: bool
    reason: str
    probes: tuple[str, ...]


def report_alternatives(
    resolved_hook: ResolvedHook, request: Request, facts: KernelInfo
) -> Iterator[AlternativeReport]:
    """Report all alternatives of a hook, best first, also those ranked below the chosen one. Each is
    tried."""
    behind = False
    for alternative in resolved_hook.hook.alternatives:
        is_chosen = alternative.name == resolved_hook.alternative
        probes, answer = _probe_all(resolved_hook.hook, alternative, request, facts)
        reason = answer.caveat or answer.reason
        if not reason and not is_chosen and alternative.risk:
            reason = f"granted here; used only if asked for (--hook): {alternative.risk}"
        if not reason and not is_chosen:
            reason = "granted here, too: not needed" if behind else "granted here, and not asked for (--hook)"
        if not reason:
            forced = resolved_hook.hook.name in request.hooks
            reason = "asked for by --hook" if forced else "the best that this kernel grants"
        targets = tuple(dict.fromkeys(chosen_probe.target for chosen_probe in probes))
        yield AlternativeReport(alternative.name, is_chosen, answer.is_supported, reason, targets)
        behind = behind or is_chosen


def choose_alternative(
    hook: Hook, request: Request, facts: KernelInfo, forced: str = ""
) -> tuple[Alternative, list[ChosenProbe], str]:
    """Choose the first alternative that this kernel supports, preferably without a caveat. Returns it with
    its probes and a note on those passed over. ``forced`` names an alternative, unless the user names
    another. Raises PolicyError or UnsupportedError if none is supported."""
    forced = request.hooks.get(hook.name, forced)
    passed_over = dict[str, str]()
    with_caveat = list[tuple[Alternative, list[ChosenProbe]]]()
    has_refusal = False
    for alternative in hook.alternatives_named(forced) if forced else hook.alternatives:
        if not forced and (alternative.risk or not all(names_few(p, request) for p in alternative.probes)):
            continue
        if not forced and request.pack and is_of_events(alternative):  # which a pack cannot hold
            continue
        probes, answer = _probe_all(hook, alternative, request, facts)
        if answer.is_supported and (
            not answer.caveat or request.pack
        ):  # which cannot hold the trace events instead
            return alternative, probes, _note(hook, alternative, answer.reason, passed_over)
        passed_over[alternative.name] = answer.caveat or answer.reason
        if answer.is_supported:
            with_caveat.append((alternative, probes))
        has_refusal = has_refusal or answer.is_forbidden
    if with_caveat:
        alternative, probes = with_caveat[0]
        return alternative, probes, _note(hook, alternative, passed_over.pop(alternative.name), passed_over)
    if not passed_over:
        raise UnknownNameError(
            f"alternative of hook {hook.name}", forced, [a.name for a in hook.alternatives]
        )
    names = {
        text: ", ".join(n for n, reason in passed_over.items() if reason == text)
        for text in passed_over.values()
    }
    reasons = "; ".join(f"{name}: {reason}" for reason, name in names.items())
    message = f"this kernel has no way to see where {hook.what}: {reasons}"
    if has_refusal:
        raise PolicyError(message, hint="pytracer doctor shows the policy in force")
    raise UnsupportedError(message, hint="pytracer doctor shows what this kernel grants")


def _note(hook: Hook, alternative: Alternative, because: str, passed_over: Mapping[str, str]) -> str:
    """Describe which alternative was chosen, which were not, and why."""
    passed_over_text = "".join(f"; not {name}: {reason}" for name, reason in passed_over.items())
    return f"{hook.name}: {alternative.name}{f' ({because})' if because else ''}{passed_over_text}"


def reads_kernel_memory(facts: KernelInfo) -> bool:
    """Return whether programs may read kernel memory at any address; not under lockdown=confidentiality."""
    return any(map(facts.has_helper, _PROBE_READ))


def _convert_to_typed(probe: RawTracepoint, facts: KernelInfo) -> Probe:
    """Return the same tracepoint with typed arguments, which programs may follow, if this kernel has that."""
    typed = TypedTracepoint(probe.program, optional=probe.optional, function=probe.event)
    return probe if probe.arguments or not facts.probe(typed).is_supported else typed


def _probe_all(
    hook: Hook, alternative: Alternative, request: Request, facts: KernelInfo
) -> tuple[list[ChosenProbe], Support]:
    """Probe the hooks of an alternative, and the helpers, map types and fields of its programs."""
    uses = uses_of(request.tracer.name, request.tracer.c_file)
    flags = [o.name for o in request.tracer.options if isinstance(o, Flag) and request.options.get(o.name)]
    chosen_probes = list[ChosenProbe]()
    last = Support(True)
    probes = _expand(hook, alternative, request, facts)
    if isinstance(probes, Support):
        return [], probes
    for number, (probe, is_like_last) in enumerate(probes):
        if probe.when and not request.options.get(probe.when):
            continue
        if isinstance(probe, UserProbe) and not probe.sites:
            probe = replace(probe, process=request.process)
        if isinstance(probe, PerfSample):
            probe = resolve_tasks(probe, request)
        if isinstance(probe, RawTracepoint) and not reads_kernel_memory(facts):
            probe = _convert_to_typed(probe, facts)
        is_uniform = is_like_last or (alternative.uniform and number > 0)
        if isinstance(probe, SyscallFilter) and probe.obstacle:
            return [], Support(False, reason=probe.obstacle)
        answer = last if is_uniform else facts.probe(probe)
        if answer.is_supported and not is_uniform:
            program_uses = uses.of(probe.program, f"{hook.name}={alternative.name}", flags)
            if lack := facts.describe_lack(probe, program_uses):
                answer = Support(False, reason=lack)
        if answer.is_supported:
            rate = rate_of(probe, request) if isinstance(probe, PerfSample) else NO_RATE
            name = probe.target if is_uniform else answer.name or probe.target
            choice = choice_of(probe.choice, request) if probe.choice else ""
            members = number_of(probe.members, request) if isinstance(probe, PacketFanout) else 0
            chosen_probes.append(ChosenProbe(probe, name, rate, answer.target_id_source, choice, members))
            last = replace(answer, caveat=answer.caveat or last.caveat)
        elif alternative.uniform or not probe.optional:
            return [], answer
    return chosen_probes, last


def _expand(
    hook: Hook, alternative: Alternative, request: Request, facts: KernelInfo
) -> list[tuple[Probe, bool]] | Support:
    """Return the probes of an alternative, those of single calls in place of a CallProbe, or the reason why
    there are none. Each comes with whether the kernel's answer about the one before holds for it, too."""
    probes = list[tuple[Probe, bool]]()
    for probe in alternative.probes:
        if not isinstance(probe, CallProbe):
            probes.append((probe, False))
            continue
        expanded = expand(probe, request, facts, is_forced=request.hooks.get(hook.name) == alternative.name)
        if isinstance(expanded, Support):
            return expanded
        probes += ((expanded_probe, number > 0) for number, expanded_probe in enumerate(expanded))
    return probes
