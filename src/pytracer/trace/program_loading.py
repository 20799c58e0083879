"""Load the programs of a plan."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

from pytracer.bpf import target_programs
from pytracer.bpf.attach.perf import raise_fd_limit
from pytracer.bpf.builder import LoadedPrograms, ProgramLoad, load_program, open_programs
from pytracer.bpf.cache.image_cache import Recipe
from pytracer.bpf.compile.source import read_source
from pytracer.bpf.load.module import Module
from pytracer.bpf.sys import ProgType
from pytracer.errors import SchemaError
from pytracer.plan import ChosenProbe, Plan
from pytracer.plan.initial_entries import CGROUP_IDS, CgroupFolders, FollowedCommand, KeySet
from pytracer.record import replace
from pytracer.spec import Filter
from pytracer.spec.common import FOLLOW
from pytracer.trace.source_check import check_options


def load_plan(
    plan: Plan,
    *,
    log: Callable[[str], None],
    warn: Callable[[str], None],
    stop_requested: Callable[[], bool],
) -> LoadedPrograms:
    """Load a plan's programs from the cache, a pack, the compiler, or as written instruction by instruction.
    Raises the errors listed in :mod:`pytracer.errors`."""
    tracer = plan.request.tracer
    raise_fd_limit(2 * len(plan.probes))  # a program and what holds it, at the most
    requests = dict.fromkeys(load_of(plan, chosen_probe) for chosen_probe in plan.probes)
    if plan.program != "c":
        lesson = importlib.import_module(f"pytracer.bpf.asm.lessons.{tracer.name}")
        log(f"program: {plan.program}, from {lesson.__name__}")
        built: Module = lesson.Lesson(plan.config, plan.rows)
        return LoadedPrograms(built, {request: load_program(built, request) for request in requests})
    text = read_source(tracer.c_file, plan.generated)
    check_options(tracer, text)
    recipe = Recipe(
        name=tracer.c_file,
        text=text,
        cflags=tuple(plan.cflags),
        programs=tuple(dict.fromkeys(request.program for request in requests)),
        events=tuple(
            c.name
            for c in plan.probes
            if c.probe.kind == "tracepoint" and not c.probe.targets and _is_read(c.name, text)
        ),
        headers=plan.request.headers,
        pack=plan.request.pack,
    )
    programs = open_programs(recipe, tuple(requests), log=log, warn=warn, stop_requested=stop_requested)
    try:
        _check_filters(plan, programs.module)
    except BaseException:
        programs.module.close()
        raise
    return programs


def _check_filters(plan: Plan, module: Module) -> None:
    """Check that a program reads each map of chosen tasks, names and cgroups. Raises SchemaError, since a
    filter would be ignored in silence.

    The programs that follow a command keep its map, so they do not count. A script's blocks test it where
    the language says so.
    """
    followers = {probe.program for alternative in FOLLOW.alternatives for probe in alternative.probes}
    for initial in plan.initial_entries:
        filtered = f"no program reads {initial.map}"
        if isinstance(initial, CgroupFolders):
            maps: tuple[str, ...] = (initial.map, CGROUP_IDS)
        elif isinstance(initial, KeySet):
            maps = (initial.map,)
        elif isinstance(initial, FollowedCommand) and plan.script is None:
            maps = (initial.map,)
            filtered = f"no program tests for the command and its descendants ({initial.map})"
        else:
            continue
        if not any(set(module.readers(name)) - followers for name in maps):
            raise SchemaError(
                f"{plan.request.tracer.c_file}: a filter has no effect: {filtered}",
                hint="pt_is_current_traced() or pt_is_shown_return() applies the filters of tasks",
            )


def load_of(plan: Plan, chosen_probe: ChosenProbe) -> ProgramLoad:
    """Return the load request of a program, with the user's packet filter as prologue if there is one."""
    pids = plan.request.filters.get(Filter.PID)
    process = None if pids is None else int.from_bytes(pids[0], sys.byteorder) if len(pids) == 1 else 0
    load = target_programs.make_program_load(chosen_probe.probe, chosen_probe.target_id_source, process)
    packet_filter = plan.request.filter
    if packet_filter is None:
        return load
    from pytracer.bpf.asm.packet_filter import PacketContext, prologue

    context = PacketContext.FRAME if load.as_.type is ProgType.XDP else PacketContext.SKB
    filter_prologue = prologue(packet_filter, context, load.as_.result)
    return replace(load, as_=replace(load.as_, prologue=filter_prologue))


def _is_read(event: str, text: str) -> bool:
    """Return whether a program reads the fields of a trace event, whose layout then is part of its image."""
    return f"tracepoint__{event.replace(':', '__')}" in text
