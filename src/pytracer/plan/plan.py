"""Make the plan: hooks and targets, macros, the entries of maps, each decided by a module of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytracer.kernel.facts import KernelInfo
from pytracer.model.schema import Schema
from pytracer.plan import defines as macros
from pytracer.plan.alternatives import ChosenProbe, HookPlan, ResolvedHook
from pytracer.plan.attach_targets import GeneratedPlan, ProbeSpecPlan, ScriptPlan, TargetPlan
from pytracer.plan.fault_injection import returns
from pytracer.plan.hook_choice import check_forced, choose_hooks, hooks_of, plan_targets
from pytracer.plan.initial_entries import (
    CgroupFolders,
    ConfigValues,
    InitialEntries,
    KeySet,
    config_values,
    initial_entries,
)
from pytracer.plan.output_choice import check_options, make_schema, output_of, sort_column
from pytracer.record import record
from pytracer.request import Request, choice_of
from pytracer.spec import Choice, Filter, OnCgroup, SyscallFilter, UserProbe

if TYPE_CHECKING:
    from pytracer.lang import ProbeSpecs
    from pytracer.lang.script import CompiledScript

ROWS_MAX = 5120  # each has a value for every CPU, on either side: 30 MB on 128 of them
FILTER = "filter"
"""The program of a plan that runs none: the command gets a filter of system calls."""
BUFFER = 8 << 20  # bytes: some 70 ms of three million small events a second


@record
class Plan:
    """A request resolved for this kernel: everything that is decided before anything is compiled.

    ``hooks`` are the chosen alternatives of hooks, ``targets`` those for what the user names: targets, or (a
    :class:`ProbeSpecPlan`) probe specs. ``defines`` are macros of the C, ``initial_entries`` fill its maps.
    ``attach_cgroups`` are the cgroups that programs are attached to, if they are of that kind. ``program`` is
    ``c``, names a builder, or is FILTER. ``rows`` is the map capacity, ``buffer`` the size of the ring in
    bytes, ``sort`` the column that ranks rows.
    """

    request: Request
    schema: Schema
    hooks: HookPlan
    targets: TargetPlan
    defines: tuple[tuple[str, str], ...]
    initial_entries: tuple[InitialEntries, ...]
    attach_cgroups: tuple[str, ...]
    program: str
    rows: int
    buffer: int
    sort: str

    @property
    def probes(self) -> tuple[ChosenProbe, ...]:
        """The attachments to make."""
        return self.hooks.probes + self.targets.probes

    @property
    def resolved_hooks(self) -> tuple[ResolvedHook, ...]:
        """The hooks with alternatives."""
        return self.hooks.resolved_hooks + self.targets.resolved_hooks

    @property
    def config(self) -> tuple[int, ...]:
        """The values that change from run to run, by slot."""
        return next(
            (entries.values for entries in self.initial_entries if isinstance(entries, ConfigValues)), ()
        )

    @property
    def _named_config(self) -> Iterator[tuple[str, int]]:
        """The same values with their names."""
        for entries in self.initial_entries:
            if isinstance(entries, ConfigValues):
                yield from zip(entries.names, entries.values, strict=True)

    @property
    def sets(self) -> Mapping[str, tuple[bytes, ...]]:
        """The keys of the maps that are sets, such as those of filters."""
        return {entries.map: entries.keys for entries in self.initial_entries if isinstance(entries, KeySet)}

    @property
    def filter_cgroups(self) -> tuple[str, ...]:
        """The cgroups that tasks are filtered by."""
        return next(
            (entries.paths for entries in self.initial_entries if isinstance(entries, CgroupFolders)), ()
        )

    @property
    def probe_specs(self) -> ProbeSpecs | None:
        """The resolved probe specs; None if the tracer takes none."""
        return self.targets.specs if isinstance(self.targets, ProbeSpecPlan) else None

    @property
    def generated(self) -> Mapping[str, str]:
        """The C that was generated for the user's specs or script, by the name of the include file."""
        return self.targets.generated if isinstance(self.targets, GeneratedPlan) else {}

    @property
    def script(self) -> CompiledScript | None:
        """The compiled script; None if the tracer takes none."""
        return self.targets.script if isinstance(self.targets, ScriptPlan) else None

    @property
    def files(self) -> tuple[str, ...]:
        """The programs and libraries that contain the user's targets."""
        probes = (chosen_probe.probe for chosen_probe in self.probes)
        return tuple(dict.fromkeys(p.file for p in probes if isinstance(p, UserProbe) and p.targets))

    @property
    def syscall_filter(self) -> SyscallFilter | None:
        """The filter that the command gets instead of programs that are attached; None if there is none."""
        probes = (chosen_probe.probe for chosen_probe in self.probes)
        return next((probe for probe in probes if isinstance(probe, SyscallFilter)), None)

    @property
    def cflags(self) -> list[str]:
        """The defines as the compiler takes them."""
        return [f"-D{name}={value}" if value else f"-D{name}" for name, value in self.defines]

    def describe(self) -> list[str]:
        """Describe the plan as lines of text, for ``--dry-run``."""
        lines = [f"tracer   {self.request.tracer.name}", f"program  {self.program}"]
        lines += [f"hook     {note}" for note in (*self.hooks.notes, *self.targets.notes)]
        lines += [f"attach   {c.probe.program or 'a filter'} to {c.target}" for c in self.probes]
        lines += [f"warning  {warning}" for warning in (*self.hooks.warnings, *self.targets.warnings)]
        if self.program == "c":
            shown_defines = [(name, value) for name, value in self.defines if not name.startswith("PT_CFG_")]
            lines += [f"define   {name}{'=' + value if value else ''}" for name, value in shown_defines]
        lines += [f"config   {name.lower()}={value}" for name, value in self._named_config]
        lines += [f"set      {name}: {len(keys)} entries" for name, keys in self.sets.items()]
        lines += [f"cgroup   {path}" for path in (*self.filter_cgroups, *self.attach_cgroups)]
        if self.request.filter is not None:
            compiled = self.request.filter
            lines.append(f"filter   {compiled.text!r}: {len(compiled.code)} instructions of classic BPF")
        columns = ", ".join(column.name for column in self.schema.columns)
        lines.append(f"output   {type(self.schema.output).__name__.lower()} of {columns}")
        return lines


def make_plan(request: Request, facts: KernelInfo) -> Plan:
    """Resolve a request for this kernel.

    Raises UnsupportedError or PolicyError if a hook has no supported alternative, UsageError if options
    contradict each other.
    """
    output = output_of(request)
    hook_names = hooks_of(request)
    config = config_values(request, None if request.fault is None else returns(request, facts))
    hooks = choose_hooks(hook_names, request, facts)
    targets = plan_targets(request, facts)
    resolved_hooks = (*hooks.resolved_hooks, *targets.resolved_hooks)
    check_forced(request.hooks, [resolved_hook.hook.name for resolved_hook in resolved_hooks])
    schema = make_schema(request, output, targets.specs if isinstance(targets, ProbeSpecPlan) else None)
    check_options(request, output)

    folders = tuple(os.fsdecode(path) for path in request.filters.get(Filter.CGROUP, ()))
    on_cgroups = any(isinstance(chosen_probe.probe, OnCgroup) for chosen_probe in hooks.probes)
    rows = request.rows or ROWS_MAX
    buffer = _round_to_pages(request.buffer or BUFFER) if schema.is_stream else 0
    defines = {**dict(hooks.defines), **dict(targets.defines)}
    defines.update(macros.of_request(request, config.names, rows=rows, filters_cgroups=not on_cgroups))
    filters_calls = any(isinstance(chosen_probe.probe, SyscallFilter) for chosen_probe in hooks.probes)
    # A pack holds programs for kernels that could not be tried.
    probes = () if request.pack or filters_calls else (*hooks.probes, *targets.probes)
    defines.update(
        macros.of_kernel(facts, schema, probes, buffer=buffer, needs_paths="ONLY_PATHS" in defines)
    )
    defines.update(macros.of_fault(request, facts))
    script = targets.script if isinstance(targets, ScriptPlan) else None
    defines.update(macros.of_stacks(request, facts, defines, script))
    entries = initial_entries(request, schema, config, targets, () if on_cgroups else folders)
    return Plan(
        request=request,
        schema=schema,
        hooks=hooks,
        targets=targets,
        defines=tuple(sorted(defines.items())),
        initial_entries=tuple(entries),
        attach_cgroups=_drop_nested(folders) if on_cgroups else (),
        program=FILTER if filters_calls else _select_program(request),
        rows=rows,
        buffer=buffer,
        sort=sort_column(request.sort, schema),
    )


def _select_program(request: Request) -> str:
    """Return the program that a Choice of whole programs selects; ``c`` if the tracer has no such option."""
    options = [o for o in request.tracer.options if isinstance(o, Choice) and o.program]
    return choice_of(options[-1].name, request) if options else "c"


def _drop_nested(folders: Sequence[str]) -> tuple[str, ...]:
    """Return the folders that are in none of the others: a program on a cgroup also sees those below it."""
    paths = dict.fromkeys(map(PurePath, folders))
    return tuple(str(path) for path in paths if not any(parent in paths for parent in path.parents))


def _round_to_pages(size: int) -> int:
    """Round up to a power of two of pages, in bytes, as rings require."""
    page = os.sysconf("SC_PAGE_SIZE")
    return page << max(-(-size // page) - 1, 0).bit_length()
