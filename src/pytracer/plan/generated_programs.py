"""Attach the programs of generated C, of probe specs and of scripts: ``spec_N``, and ``entry_N`` where the C
needs the entry of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pytracer.kernel.facts import KernelInfo
from pytracer.plan.alternatives import ChosenProbe, ResolvedHook
from pytracer.plan.attach_targets import attach
from pytracer.plan.named_target import NumberedTarget
from pytracer.plan.sites import is_tracked
from pytracer.record import record
from pytracer.request import Request
from pytracer.spec import SPELLINGS

Groups = Mapping[tuple[int, str, bool], Sequence[NumberedTarget]]
"""Targets by their program, the kind of their source, and whether they are within a function."""
_BEGINNINGS = {spelling.end: kind for kind, spelling in SPELLINGS.items() if spelling.end}


@record
class AttachedPrograms:
    """The probes of the programs, with notes and choices; ``tracked`` are the programs with an entry."""

    probes: tuple[ChosenProbe, ...]
    notes: tuple[str, ...]
    resolved_hooks: tuple[ResolvedHook, ...]
    tracked: frozenset[int]


def attach_programs(
    groups: Groups, traces_entry: Callable[[int], bool], request: Request, facts: KernelInfo
) -> AttachedPrograms:
    """Choose how to attach each program to its targets. ``traces_entry`` returns whether a program needs the
    entries of all calls. Raises UnsupportedError or PolicyError."""
    probes, notes, resolved_hooks = list[ChosenProbe](), list[str](), list[ResolvedHook]()
    tracked = set[int]()
    for (number, kind, _), group in groups.items():
        traced = group if traces_entry(number) else [target for target in group if is_tracked(target)]
        parts = [(f"entry_{number}", _BEGINNINGS[kind], traced)] if traced else []
        tracked |= {number} if traced else set()
        for function, part, numbered_targets in (*parts, (f"spec_{number}", kind, group)):
            chosen_probes, note, hook = attach(function, part, numbered_targets, request, facts)
            probes += chosen_probes
            notes.append(note)
            resolved_hooks.append(hook)
    return AttachedPrograms(
        tuple(probes), tuple(dict.fromkeys(notes)), tuple(resolved_hooks), frozenset(tracked)
    )
