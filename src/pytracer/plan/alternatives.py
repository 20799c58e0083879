"""Choose the first alternative of a hook that this kernel supports.

See "Choosing alternatives" in docs/internals.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytracer.errors import PolicyError, UnknownNameError, UnsupportedError
from pytracer.kernel.facts import KernelInfo, Support, TargetIdSource
from pytracer.plan.sampling import rate_of, resolve_tasks
from pytracer.record import record, replace
from pytracer.request import Request, choice_of, number_of
from pytracer.spec import NO_RATE, Alternative, Hook, PacketFanout, PerfSample, Probe, Rate, UserProbe


@record
class ChosenProbe:
    """One attachment to make: ``name`` is what the target is called on this kernel.

    ``rate`` is how often a sample is taken, by those that do; ``tells`` how the program knows which of the
    user's targets it runs for, where it is put on such; ``choice`` is what was chosen of the option that the
    probe names, ``members`` the number that is given for how many there are to be.
    """

    probe: Probe
    name: str
    rate: Rate = NO_RATE
    tells: TargetIdSource = TargetIdSource.PROGRAM
    choice: str = ""
    members: int = 0

    @property
    def target(self) -> str:
        """What it is put on, as people are told."""
        rate = str(self.rate)
        at = f" ({rate})" if rate else ""
        which = f" ({self.choice})" if self.choice else ""
        many = f" ({self.members} in a group)" if self.members else ""
        return f"{self.probe.kind} {self.name}{at}{which}{many}"


@record
class ResolvedHook:
    """A hook, and the name of the alternative that was taken."""

    hook: Hook
    alternative: str


@record
class AlternativeReport:
    """An alternative of a hook on this kernel: whether it is the one ``taken``, whether the kernel has it,
    and what there is to say of that. ``probes`` are what it would be put on."""

    name: str
    is_chosen: bool
    is_supported: bool
    reason: str
    probes: tuple[str, ...]


def report_alternatives(
    decided: ResolvedHook, request: Request, facts: KernelInfo
) -> Iterator[AlternativeReport]:
    """All alternatives of a hook, best first, those behind the one that was taken, too. Each is tried."""
    behind = False
    for alternative in decided.hook.alternatives:
        taken = alternative.name == decided.alternative
        probes, answer = _probe_all(alternative, request, facts)
        reason = answer.caveat or answer.reason
        if not reason and not taken and alternative.risk:
            reason = f"granted here; used only if asked for (--hook): {alternative.risk}"
        if not reason and not taken:
            reason = "granted here, too: not needed" if behind else "granted here, and not asked for (--hook)"
        if not reason:
            forced = decided.hook.name in request.hooks
            reason = "asked for by --hook" if forced else "the best that this kernel grants"
        targets = tuple(dict.fromkeys(chosen.target for chosen in probes))
        yield AlternativeReport(alternative.name, taken, answer.is_supported, reason, targets)
        behind = behind or taken


def choose_alternative(
    hook: Hook, request: Request, facts: KernelInfo
) -> tuple[Alternative, list[ChosenProbe], str]:
    """The first alternative that this kernel grants, if there is one without doubts, its probes, and a note
    of what was passed over. Raises PolicyError or UnsupportedError where there is none."""
    forced = request.hooks.get(hook.name, "")
    passed = dict[str, str]()
    doubtful = list[tuple[Alternative, list[ChosenProbe]]]()
    refused = False
    for alternative in hook.alternatives_named(forced) if forced else hook.alternatives:
        if alternative.risk and not forced:
            continue
        probes, answer = _probe_all(alternative, request, facts)
        if answer.is_supported and (
            not answer.caveat or request.pack
        ):  # which cannot hold the trace events instead
            return alternative, probes, _note(hook, alternative, answer.reason, passed)
        passed[alternative.name] = answer.caveat or answer.reason
        if answer.is_supported:
            doubtful.append((alternative, probes))
        refused = refused or answer.is_forbidden
    if doubtful:
        alternative, probes = doubtful[0]
        return alternative, probes, _note(hook, alternative, passed.pop(alternative.name), passed)
    if not passed:
        raise UnknownNameError(
            f"alternative of hook {hook.name}", forced, [a.name for a in hook.alternatives]
        )
    names = {why: ", ".join(n for n, reason in passed.items() if reason == why) for why in passed.values()}
    reasons = "; ".join(f"{name}: {reason}" for reason, name in names.items())
    message = f"this kernel has no way to see where {hook.what}: {reasons}"
    if refused:
        raise PolicyError(message, hint="pytracer doctor says which policy is in force")
    raise UnsupportedError(message, hint="pytracer doctor shows what this kernel grants")


def _note(hook: Hook, chosen: Alternative, why: str, passed: Mapping[str, str]) -> str:
    """What was chosen, and what was not, for people."""
    rest = "".join(f"; not {name}: {reason}" for name, reason in passed.items())
    return f"{hook.name}: {chosen.name}{f' ({why})' if why else ''}{rest}"


def _probe_all(
    alternative: Alternative, request: Request, facts: KernelInfo
) -> tuple[list[ChosenProbe], Support]:
    chosen = list[ChosenProbe]()
    last = Support(True)
    for number, probe in enumerate(alternative.probes):
        if probe.when and not request.options.get(probe.when):
            continue
        if isinstance(probe, UserProbe) and not probe.sites:
            probe = replace(probe, process=request.process)
        if isinstance(probe, PerfSample):
            probe = resolve_tasks(probe, request)
        alike = alternative.uniform and number > 0
        answer = last if alike else facts.probe(probe)
        if answer.is_supported:
            rate = rate_of(probe, request) if isinstance(probe, PerfSample) else NO_RATE
            name = probe.target if alike else answer.name or probe.target
            choice = choice_of(probe.choice, request) if probe.choice else ""
            members = number_of(probe.members, request) if isinstance(probe, PacketFanout) else 0
            chosen.append(ChosenProbe(probe, name, rate, answer.target_id_source, choice, members))
            last = replace(answer, caveat=answer.caveat or last.caveat)
        elif alternative.uniform or not probe.optional:
            return [], answer
    return chosen, last
