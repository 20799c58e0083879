"""Making the plan: which alternative of each hook, which macros, what goes into which map."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytracer.errors import UnknownNameError, UnsupportedError, UsageError
from pytracer.features.table.changes import ITERATOR_PATHS
from pytracer.features.table.helpers import (
    CURRENT_TASK_BTF,
    FOR_EACH_MAP_ELEM,
    LOOP,
    PROBE_READ_USER,
    TASK_PT_REGS,
)
from pytracer.features.table.map_types import RINGBUF
from pytracer.kernel.facts import KernelInfo
from pytracer.model.schema import Schema
from pytracer.plan.alternatives import (
    ChosenProbe,
    ResolvedHook,
    choose_alternative,
    reads_kernel_memory,
)
from pytracer.plan.attach_targets import ProbeSpecPlan, TargetPlan, choose_targets
from pytracer.plan.fault_injection import returns, with_function
from pytracer.record import made, record
from pytracer.request import NameSetValue, Request, choice_of, number_of
from pytracer.spec import (
    Choice,
    Column,
    Filter,
    Flag,
    Histogram,
    Hook,
    NameSet,
    Number,
    OnCgroup,
    Output,
    ProbeSpecArguments,
    Profile,
    SeccompProfile,
    Stream,
    Table,
    UserProbe,
)
from pytracer.spec.common import FOLLOW

if TYPE_CHECKING:
    from pytracer.lang import ProbeSpecs

FAMILY_MAX = 65536
ROWS_MAX = 5120  # each has a value for every CPU, on either side: 30 MB on 128 of them
BUFFER = 8 << 20  # bytes: some 70 ms of three million small events a second


@record
class Plan:
    """A request resolved for this kernel: everything that is decided before anything is compiled.

    ``defines`` are macros of the C; ``config`` (slot -> value) and ``sets`` (map -> keys) fill its maps;
    ``rows`` is the map capacity, ``buffer`` the size of the ring in bytes. ``program`` is ``c`` or names a
    builder; ``notes`` say for each hook which alternative was chosen, which were not, and why. ``targets``
    are the names of the user's targets, by number; ``places`` are the cgroups that programs are attached
    to, if they are of that kind, and ``cgroups`` those that tasks are filtered by otherwise; ``warnings``
    are for the user. ``resolved_hooks`` are the hooks with alternatives. ``probe_specs`` are what the user
    asks, ``generated`` is C that was generated for it, by the name of the include file, ``usdt_arguments``
    are the locations of arguments of USDT probes.
    """

    request: Request
    schema: Schema
    defines: tuple[tuple[str, str], ...]
    probes: tuple[ChosenProbe, ...]
    config: tuple[int, ...]
    sets: Mapping[str, tuple[bytes, ...]]
    cgroups: tuple[str, ...]
    program: str
    rows: int
    buffer: int
    sort: str
    notes: tuple[str, ...]
    targets: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    resolved_hooks: tuple[ResolvedHook, ...] = ()
    probe_specs: ProbeSpecs | None = None
    generated: Mapping[str, str] = made(factory=dict)
    usdt_arguments: Mapping[int, bytes] = made(factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """The programs and libraries that what the user named is in."""
        probes = (chosen.probe for chosen in self.probes)
        return tuple(dict.fromkeys(p.file for p in probes if isinstance(p, UserProbe) and p.targets))

    @property
    def cflags(self) -> list[str]:
        """The defines as the compiler takes them."""
        return [f"-D{name}={value}" if value else f"-D{name}" for name, value in self.defines]

    def describe(self) -> list[str]:
        """Describe the plan as lines of text, for ``--dry-run``."""
        lines = [f"tracer   {self.request.tracer.name}", f"program  {self.program}"]
        lines += [f"hook     {note}" for note in self.notes]
        lines += [f"attach   {c.probe.program} to {c.target}" for c in self.probes]
        lines += [f"warning  {warning}" for warning in self.warnings]
        if self.program == "c":
            lines += [f"define   {name}{'=' + value if value else ''}" for name, value in self.defines]
        lines += [f"set      {name}: {len(keys)} entries" for name, keys in self.sets.items()]
        lines += [f"cgroup   {path}" for path in (*self.cgroups, *self.places)]
        if self.request.filter is not None:
            compiled = self.request.filter
            lines.append(f"filter   {compiled.text!r}: {len(compiled.code)} instructions of classic BPF")
        columns = ", ".join(column.name for column in self.schema.columns)
        lines.append(f"output   {type(self.schema.output).__name__.lower()} of {columns}")
        return lines


def make_plan(request: Request, facts: KernelInfo) -> Plan:
    """Choose for this kernel. Raises UnsupportedError or PolicyError where a hook has no way, UsageError
    where options contradict each other."""
    tracer = request.tracer
    output = output_of(request)
    hooks = hooks_of(request)
    config = list[int]()
    if request.fault is not None:
        config.append(returns(request, facts))
    defines = dict[str, str]()
    chosen = list[ChosenProbe]()
    notes = list[str]()
    decided = list[ResolvedHook]()
    for hook in hooks:
        alternative, probes, note = choose_alternative(hook, request, facts)
        defines[hook.define(alternative)] = ""
        defines.update(dict.fromkeys(alternative.defines, ""))
        chosen += probes
        notes.append(note)
        decided.append(ResolvedHook(hook, alternative.name))
    named = _choose_named(request, facts)
    asked = named if isinstance(named, ProbeSpecPlan) else ProbeSpecPlan()
    defines.update(named.defines)
    chosen += named.probes
    notes += named.notes
    _check_forced(
        request.hooks, [*(hook.name for hook in hooks), *(d.hook.name for d in named.resolved_hooks)]
    )

    schema = _schema(request, output, asked.asked)
    sets = dict[str, tuple[bytes, ...]]()
    folders = tuple(os.fsdecode(path) for path in request.filters.get(Filter.CGROUP, ()))
    on_cgroups = any(isinstance(one.probe, OnCgroup) for one in chosen)
    for which, keys in request.filters.items():
        if which is not Filter.CGROUP:
            defines[which.define] = ""
            sets[which.map] = keys
        elif not on_cgroups:
            defines[which.define] = str(len(keys))
    if request.fault is not None:
        defines["PT_CFG_RETURNS"] = "0"
    program = "c"
    for option in tracer.options:
        value = request.options.get(option.name)
        if isinstance(option, Flag) and value and option.define:
            defines[option.define] = ""
        elif isinstance(option, Number) and option.define:
            defines[option.define] = str(number_of(option.name, request))
        elif isinstance(option, Number) and option.config:
            defines[f"PT_CFG_{option.config.upper()}"] = str(len(config))
            config.append(number_of(option.name, request))
        elif isinstance(option, NameSet) and isinstance(value, NameSetValue):
            defines[option.define] = ""
            if value.exclude:
                defines[option.define + "_EXCEPT"] = ""
            sets[option.map] = value.keys
        elif isinstance(option, SeccompProfile) and value:
            defines[option.define] = ""
        elif isinstance(option, Choice):
            choice = choice_of(option.name, request)
            if option.program:
                program = choice
            if option.config:
                defines[f"PT_CFG_{option.config.upper()}"] = str(len(config))
                config.append(option.choices.index(choice))
    if config:
        defines["PT_CFG_SLOTS"] = str(len(config))
    if tracer.group_by is not None:
        for key in tracer.group_by.keys:
            if key.name in _by(request):
                defines[key.define] = ""
    if isinstance(output, Profile):
        _check_profile(request)
    _check_output(request, output)
    if request.follows:
        defines["PT_FOLLOW"] = str(FAMILY_MAX)
    defines["PT_ROWS_MAX"] = str(request.rows or ROWS_MAX)
    buffer = 0
    if schema.is_stream:
        buffer = _whole_pages(request.buffer or BUFFER)
        if facts.has_map_type(RINGBUF.number):
            defines["PT_HAS_RINGBUF"] = ""
            defines["PT_RING_PAGES"] = str(buffer // os.sysconf("SC_PAGE_SIZE"))
    if facts.runs_compat:
        defines["PT_COMPAT"] = ""
    if facts.has_helper(PROBE_READ_USER.number):  # came with that for kernel memory; not withheld by lockdown
        defines["PT_HAS_PROBE_READ_KERNEL"] = ""
    if not reads_kernel_memory(facts):
        defines["PT_TYPED_ARGUMENTS"] = ""
    if facts.has_helper(CURRENT_TASK_BTF.number):
        defines["PT_HAS_TASK_BTF"] = ""
    if facts.has_helper(TASK_PT_REGS.number):
        defines["PT_HAS_TASK_PT_REGS"] = ""
    if schema.is_listing:
        if facts.has_helper(FOR_EACH_MAP_ELEM.number):
            defines["PT_HAS_D_PATH"] = ""
        elif "ONLY_PATHS" in defines:
            raise UnsupportedError(
                f"this kernel makes no paths for iterators (Linux {ITERATOR_PATHS.since}): --path needs them"
            )
    if facts.has_loops:
        defines["PT_HAS_LOOPS"] = ""
    if facts.has_helper(LOOP.number):
        defines["PT_HAS_BPF_LOOP"] = ""
    return Plan(
        request=request,
        schema=schema,
        defines=tuple(sorted(defines.items())),
        probes=tuple(chosen),
        config=tuple(config),
        sets=sets,
        cgroups=() if on_cgroups else folders,
        places=_outermost(folders) if on_cgroups else (),
        program=program,
        rows=request.rows or ROWS_MAX,
        buffer=buffer,
        sort=_sort(request.sort, schema),
        notes=tuple(notes),
        targets=named.names,
        warnings=named.warnings,
        resolved_hooks=(*decided, *named.resolved_hooks),
        probe_specs=asked.asked,
        generated=asked.generated,
        usdt_arguments=asked.usdt_arguments,
    )


def hooks_of(request: Request) -> list[Hook]:
    """Return the hooks that a request needs. Raises UsageError if a command cannot be followed."""
    wanted = output_of(request).hooks or request.tracer.hooks
    hooks = [with_function(hook, request) for hook in wanted if not request.options.get(hook.unless)]
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


def _choose_named(request: Request, facts: KernelInfo) -> TargetPlan:
    """Resolve the targets that the user names, or the probe specs."""
    if not isinstance(request.tracer.arguments, ProbeSpecArguments):
        return choose_targets(request, facts)
    from pytracer.plan.probe_specs import plan_probe_specs  # and a language with it

    return plan_probe_specs(request, facts)


def _outermost(folders: Sequence[str]) -> tuple[str, ...]:
    """Return the folders that are in none of the others: a program on a cgroup also sees those below it."""
    paths = dict.fromkeys(map(PurePath, folders))
    return tuple(str(path) for path in paths if not any(above in paths for above in path.parents))


_FOR = {
    "INTERVAL": "tables",
    "--top": "tables",
    "--sort": "tables",
    "--max-rows": "what is counted in the kernel",
    "--buffer": "events that are shown as they happen",
}
"""The outputs that take an option, for options that not every output takes."""


def _check_output(request: Request, output: Output) -> None:
    """Check that the output takes the options that not every output takes. Raises UsageError."""
    given = {
        "INTERVAL": request.interval,
        "--top": request.top,
        "--sort": request.sort,
        "--max-rows": request.rows,
        "--buffer": request.buffer,
    }
    for name, value in given.items():
        if value and name not in output.takes:
            raise UsageError(
                f"{name} is for {_FOR[name]}: {request.tracer.name} {output.does}",
                hint="-d SECONDS says when to stop" if name == "INTERVAL" else "",
            )


def _check_profile(request: Request) -> None:
    """Check that a profile will have all calls of the command. Raises UsageError if an option leaves some
    out."""
    if not request.command or request.load:
        raise UsageError("a profile is of a command, from its start to its end", hint="-- COMMAND")
    by = _by(request)
    chosen = [name for name, value in request.options.items() if isinstance(value, NameSetValue)]
    given = {
        **{f"--{which.value}": keys for which, keys in request.filters.items()},
        **{f"--{name}": True for name in chosen},
        f"--by {','.join(by)}": by != ("syscall",),
        "INTERVAL": request.interval,
        "-d": request.duration,
        "--top": request.top,
        "--sort": request.sort,
    }
    for name, value in given.items():
        if value:
            raise UsageError(f"{name} and a profile do not go together: it has all calls of the command")


def _whole_pages(size: int) -> int:
    """Round up to a power of two of pages, in bytes, as rings require."""
    page = os.sysconf("SC_PAGE_SIZE")
    return page << max(-(-size // page) - 1, 0).bit_length()


def _check_forced(forced: Mapping[str, str], names: Iterable[str]) -> None:
    for name in forced:
        if name not in names:
            raise UnknownNameError("hook", name, names)


def output_of(request: Request) -> Output:
    """Return the output whose flag was given, else the first without one. Raises UsageError if two were
    given."""
    for option in request.tracer.options:
        if isinstance(option, Flag) and all(map(request.options.get, (option.name, option.excludes))):
            raise UsageError(f"--{option.name} and --{option.excludes} do not go together")
        if isinstance(option, SeccompProfile) and request.options.get(option.name) and not request.command:
            raise UsageError(f"--{option.name} is for a command that is started", hint="-- COMMAND")
    given = [o for o in request.tracer.outputs if o.when and request.options.get(o.when)]
    if len(given) > 1:
        raise UsageError(" and ".join(f"--{o.when}" for o in given) + " do not go together")
    return given[0] if given else next(o for o in request.tracer.outputs if not o.when)


def _sort(wanted: str, schema: Schema) -> str:
    """Return the column that ranks rows: the requested one, or the output's own."""
    names = [column.name for column in schema.columns]
    if isinstance(schema.output, Histogram):
        names += [column.name for column in schema.output.percentiles.values()]
    if schema.is_stacks:
        names = [column.name for column in schema.counters]
    if wanted and wanted not in names:
        raise UnknownNameError("column", wanted, names)
    if schema.is_stacks:
        return wanted or names[0]
    return wanted or (schema.output.sort if isinstance(schema.output, Table) else "")


def _by(request: Request) -> tuple[str, ...]:
    group_by = request.tracer.group_by
    if group_by is None:
        return ()
    value = request.options.get(group_by.name)
    return value if isinstance(value, tuple) else tuple(filter(None, group_by.default.split(",")))


def _schema(request: Request, output: Output, asked: ProbeSpecs | None) -> Schema:
    tracer = request.tracer
    available = {key.name: key for key in (tracer.group_by.keys if tracer.group_by else tracer.keys)}
    names = _by(request) if tracer.group_by else tuple(available)
    columns = [column for name in names for column in available[name].columns]
    keys: tuple[Column, ...] = tuple(c for c in columns if not c.last) + output.keys
    named = {column.name for column in keys}
    latest = tuple(c for c in columns if c.last and c.name not in named)
    values = output.columns
    if asked is not None and not isinstance(output, Histogram):
        from pytracer.plan.probe_specs import expression_columns

        taken = [column.name for column in (*keys, *values)]
        answers = expression_columns(asked, taken, wide=isinstance(output, Stream))
        if isinstance(output, Stream):
            last = tuple(column for column in values if column.computed)  # the lines that formats make
            values = tuple(column for column in values if not column.computed) + answers + last
        else:
            keys += answers
    return Schema(tracer=tracer.name, keys=keys, values=latest + values, output=output)
