"""Choose the output of a request: its shape, its columns, the column that ranks rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytracer.errors import UnknownNameError, UsageError
from pytracer.model.schema import Schema
from pytracer.record import replace
from pytracer.request import NameSetValue, Request, number_of
from pytracer.spec import (
    Breakdown,
    Column,
    Flag,
    Histogram,
    Output,
    Profile,
    SeccompProfile,
    Stacks,
    Stream,
    Table,
)

if TYPE_CHECKING:
    from pytracer.lang import ProbeSpecs

_FOR = {
    "INTERVAL": "tables",
    "--top": "tables",
    "--sort": "tables",
    "--max-rows": "what is counted in the kernel",
    "--buffer": "events that are shown as they happen",
}
"""The outputs that take an option, for options that not every output takes."""


def output_of(request: Request) -> Output:
    """Return the output whose flag was given, else the first without one. Raises UsageError if two were
    given."""
    for option in request.tracer.options:
        if isinstance(option, Flag) and all(map(request.options.get, (option.name, option.excludes))):
            raise UsageError(f"--{option.name} and --{option.excludes} do not go together")
        if isinstance(option, SeccompProfile) and request.options.get(option.name) and not request.command:
            raise UsageError(f"--{option.name} is for a command that is started", hint="-- COMMAND")
    given = {name for name, value in request.options.items() if value is not None and value is not False}
    selected = [o for o in request.tracer.outputs if o.when in given]
    if len(selected) > 1:
        raise UsageError(" and ".join(f"--{o.when}" for o in selected) + " do not go together")
    return selected[0] if selected else next(o for o in request.tracer.outputs if not o.when)


def check_options(request: Request, output: Output) -> None:
    """Check that the output takes the options that are given. Raises UsageError."""
    if isinstance(output, Profile):
        _check_profile(request)
    _check_output(request, output)


def _check_output(request: Request, output: Output) -> None:
    """Check that the output takes the options that not every output takes. Raises UsageError."""
    options = {
        "INTERVAL": request.interval,
        "--top": request.top,
        "--sort": request.sort,
        "--max-rows": request.rows,
        "--buffer": request.buffer,
    }
    group_by = request.tracer.group_by
    default = tuple(group_by.default.split(",")) if group_by else ()
    if group_by and isinstance(output, Stream) and request.options.get(group_by.name, default) != default:
        counting = next(other.when for other in request.tracer.outputs if not isinstance(other, Stream))
        raise UsageError(f"--{group_by.name} is for rows, with --{counting}")
    for name, value in options.items():
        if value and name not in output.takes:
            raise UsageError(
                f"{name} is for {_FOR[name]}: {request.tracer.name} {output.does}",
                hint="-d SECONDS sets when to stop" if name == "INTERVAL" else "",
            )


def _check_profile(request: Request) -> None:
    """Check that a profile will have all calls of the command. Raises UsageError if an option leaves some
    out."""
    if not request.command or request.load:
        raise UsageError("a profile is of a command, from its start to its end", hint="-- COMMAND")
    group_columns = group_keys(request)
    name_sets = [name for name, value in request.options.items() if isinstance(value, NameSetValue)]
    options = {
        "--children": request.roots,
        **{f"--{task_filter.value}": keys for task_filter, keys in request.filters.items()},
        **{f"--{name}": True for name in name_sets},
        f"--by {','.join(group_columns)}": group_columns != ("syscall",),
        "INTERVAL": request.interval,
        "-d": request.duration,
        "--top": request.top,
        "--sort": request.sort,
    }
    for name, value in options.items():
        if value:
            raise UsageError(f"{name} and a profile do not go together: it has all calls of the command")


def sort_column(name: str, schema: Schema) -> str:
    """Return the column that ranks rows: the requested one, or the output's own."""
    names = [column.name for column in schema.columns]
    if isinstance(schema.output, Histogram):
        names += [column.name for column in schema.output.percentiles.values()]
    if schema.is_stacks:
        names = [column.name for column in schema.counters]
    if name and name not in names:
        raise UnknownNameError("column", name, names)
    if schema.is_stacks:
        return name or names[0]
    return name or (schema.output.sort if isinstance(schema.output, Table) else "")


def group_keys(request: Request) -> tuple[str, ...]:
    """Return the names of the keys by which rows are grouped; none for events, which are shown one by one."""
    group_by = request.tracer.group_by
    if group_by is None or isinstance(output_of(request), Stream):
        return ()
    value = request.options.get(group_by.name)
    return value if isinstance(value, tuple) else tuple(filter(None, group_by.default.split(",")))


def make_schema(request: Request, output: Output, specs: ProbeSpecs | None) -> Schema:
    """Return the columns of the output; ``specs`` are the probe specs, whose expressions have columns."""
    tracer = request.tracer
    available = {key.name: key for key in (tracer.group_by.keys if tracer.group_by else tracer.keys)}
    names = group_keys(request) if tracer.group_by else tuple(available)
    columns = [column for name in names for column in available[name].columns]
    keys: tuple[Column, ...] = tuple(c for c in columns if not c.last) + output.keys
    if isinstance(output, Stacks) and output.further:
        levels = output.further[: number_of("depth", request) - 1]
        keys += tuple(column for level in levels for column in level)
    key_names = {column.name for column in keys}
    last_columns = tuple(c for c in columns if c.last and c.name not in key_names)
    values = output.columns
    if specs is not None and (specs.is_pair or not isinstance(output, Histogram)):
        from pytracer.plan.probe_specs import expression_columns

        column_names = [column.name for column in (*keys, *values)]
        answers = expression_columns(specs, column_names, is_wide=isinstance(output, Stream))
        if isinstance(output, Stream):
            last = tuple(column for column in values if column.computed)  # the lines that formats make
            values = tuple(column for column in values if not column.computed) + answers + last
        else:
            keys += answers
    if isinstance(output, Breakdown):
        output = replace(output, target=_target(request))
    return Schema(tracer=tracer.name, keys=keys, values=last_columns + values, output=output)


def _target(request: Request) -> str:
    """Return what the request traces, as words of a command line; "" if it is not a few processes."""
    if request.follows_command:
        return "-- COMMAND"
    processes = ",".join(map(str, request.processes))
    return f"-p {processes}{' --children' if request.roots else ''}" if processes else ""
