"""Choose how to attach: the hooks of the tracer, of its options, and at targets that the user names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pytracer.errors import UnknownNameError, UsageError
from pytracer.kernel.facts import KernelInfo
from pytracer.plan.alternatives import ChosenProbe, HookPlan, ResolvedHook, choose_alternative
from pytracer.plan.attach_targets import TargetPlan, choose_targets
from pytracer.plan.fault_injection import warnings_of, with_function
from pytracer.plan.output_choice import output_of
from pytracer.request import Request
from pytracer.spec import Flag, Hook, LanguageProbes, ProbeSpecArguments, ScriptArguments, SyscallFilter
from pytracer.spec.common import FOLLOW


def hooks_of(request: Request) -> list[Hook]:
    """Return the hooks that a request needs. Raises UsageError if a command cannot be followed."""
    declared = output_of(request).hooks or request.tracer.hooks
    hooks = [with_function(hook, request) for hook in declared if not request.options.get(hook.unless)]
    flags = [o for o in request.tracer.options if isinstance(o, Flag) and request.options.get(o.name)]
    hooks += [hook for flag in flags for hook in flag.hooks]
    if request.follows:
        if not request.tracer.follow:
            raise UsageError(
                f"{request.tracer.name} cannot tell one command's doings from another's",
                hint="--load: COMMAND bounds the time, and all that happens meanwhile is seen",
            )
        hooks.append(FOLLOW)
    return hooks


def choose_hooks(hooks: Sequence[Hook], request: Request, facts: KernelInfo) -> HookPlan:
    """Choose an alternative for each hook. Raises UnsupportedError or PolicyError if a hook has none."""
    defines = dict[str, str]()
    probes = list[ChosenProbe]()
    notes = list[str]()
    resolved_hooks = list[ResolvedHook]()
    skipped_names = set[str]()
    for hook in hooks:
        forced = "none" if hook.name in skipped_names else ""
        alternative, chosen_probes, note = choose_alternative(hook, request, facts, forced)
        skipped_names.update(alternative.without)
        defines[hook.define(alternative)] = ""
        defines.update(dict.fromkeys(alternative.defines, ""))
        probes += chosen_probes
        notes.append(note)
        resolved_hooks.append(ResolvedHook(hook, alternative.name))
        if any(isinstance(chosen_probe.probe, SyscallFilter) for chosen_probe in chosen_probes):
            break  # no program runs: descendants inherit the filter
    return HookPlan(
        tuple(probes),
        tuple(notes),
        warnings=warnings_of(request),
        defines=tuple(defines.items()),
        resolved_hooks=tuple(resolved_hooks),
    )


def plan_targets(request: Request, facts: KernelInfo) -> TargetPlan:
    """Resolve the targets that the user names, the probe specs or the script."""
    if isinstance(request.tracer.arguments, ScriptArguments):
        from pytracer.plan.scripts import plan_script

        return plan_script(request, facts)
    if isinstance(request.tracer.arguments, LanguageProbes):
        from pytracer.plan.language_probes import plan_language_probes

        return plan_language_probes(request, facts)
    if not isinstance(request.tracer.arguments, ProbeSpecArguments):
        return choose_targets(request, facts)
    from pytracer.plan.probe_specs import plan_probe_specs  # and a language with it

    return plan_probe_specs(request, facts)


def check_forced(forced: Mapping[str, str], names: Iterable[str]) -> None:
    """Check that every hook that the user chose an alternative for is one of ``names``. Raises
    UnknownNameError."""
    for name in forced:
        if name not in names:
            raise UnknownNameError("hook", name, names)
