"""Parse the command line of a tracer: TRACER [ARG...] [INTERVAL [COUNT]] [options] [-- COMMAND...]."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

from pytracer.cli import config
from pytracer.cli.arguments import (
    Parser,
    ShowExample,
    add_debug_options,
    add_plan_options,
    duration,
    is_number,
    parse_whole,
    positive,
    rows_per_second,
    seconds,
    size_in_bytes,
    split,
)
from pytracer.errors import SchemaError, UsageError
from pytracer.kernel import interfaces
from pytracer.kernel.policy import require_proc
from pytracer.plan.attach_targets import PROBES_MAX
from pytracer.request import Request, build_request, units
from pytracer.sinks import FORMATS, INTERVAL_FORMATS, STACK_FORMATS, TIMELINE_FORMATS
from pytracer.spec import (
    Choice,
    Column,
    Duration,
    ExpressionOption,
    Filter,
    Flag,
    GroupBy,
    Histogram,
    LanguageProbes,
    NameSet,
    Number,
    Option,
    Output,
    PacketFilter,
    ProbeSpecArguments,
    SeccompProfile,
    Stacks,
    Stream,
    Table,
    Targets,
    Tracer,
)

_FILTERS: dict[Filter, tuple[tuple[str, ...], str, str]] = {
    Filter.PID: (("-p", "--pid"), "PID", "trace processes, by ids or names with commas, until they end"),
    Filter.TID: (("--tid",), "N", "trace this thread"),
    Filter.COMM: (("--comm",), "NAME", "trace threads with this name"),
    Filter.UID: (("-u", "--uid"), "USER", "trace this user, by name or id"),
    Filter.CGROUP: (("--cgroup",), "PATH", "trace this cgroup and its descendants"),
    Filter.NETNS: (("--netns",), "NS", "trace this network namespace, given by a process, name or path"),
    Filter.MNTNS: (("--mntns",), "NS", "trace this mount namespace, given by a process or path"),
}
_CHOICES_WIDTH = 60  # characters of a help line for the choices of an option
_GROUP_BY_DEST = "group_by"


def build(tracer: Tracer) -> Parser:
    """Build the parser of a tracer, with its options and the common ones.

    Raises SchemaError if the tracer declares an option that every tracer has.
    """
    try:
        return _build(tracer)
    except argparse.ArgumentError as error:
        raise SchemaError(
            f"{tracer.file}: {error}", hint="the option needs a name that no other option has"
        ) from None


def _build(tracer: Tracer) -> Parser:
    arguments_usage = f" {tracer.arguments.usage}" if tracer.arguments else ""
    times = " [INTERVAL [COUNT]]" if "INTERVAL" in _optional_options(tracer) else ""
    parser = Parser(
        prog=f"pytracer {tracer.name}",
        usage=f"pytracer {tracer.name}{arguments_usage}{times} [options] [-- COMMAND...]",
        description=tracer.description,
        epilog=_epilog(tracer),
    )
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    specific = parser.add_argument_group(f"{tracer.name}")
    for option in tracer.options:
        _add_tracer_option(specific, option)
    if isinstance(tracer.arguments, (Targets, ProbeSpecArguments, LanguageProbes)):
        text = f"attach to at most N targets (default: {PROBES_MAX})"
        specific.add_argument("--max-probes", type=positive, metavar="N", help=text)
    if tracer.filters:
        _add_filters(parser.add_argument_group("which tasks (filtered in the kernel)"), tracer)
    _add_common(parser, tracer)
    return parser


def parse(tracer: Tracer, argv: Sequence[str]) -> tuple[Request, argparse.Namespace]:
    """Parse a command line. Returns the request, and all options."""
    require_proc()
    own_words = list(argv)
    command: tuple[str, ...] = ()
    if "--" in own_words:
        separator = own_words.index("--")
        own_words, command = own_words[:separator], tuple(own_words[separator + 1 :])
        if not command:
            raise UsageError("-- needs a command after it")
    parser = build(tracer)
    defaults, warnings = ([], []) if "--no-config" in own_words else config.load(tracer.name, parser._actions)
    try:
        options = parser.parse_intermixed_args(
            [*(word for default in defaults for word in default.words), *own_words]
        )
        options.defaults, options.warnings = defaults, warnings
        return _request(tracer, options, command), options
    except UsageError as error:
        if defaults:
            files = " and ".join(dict.fromkeys(str(default.file) for default in defaults))
            error.hint = f"{error.hint}; {files} sets defaults, --no-config ignores them".removeprefix("; ")
        raise


def _request(tracer: Tracer, options: argparse.Namespace, command: tuple[str, ...]) -> Request:
    if getattr(options, "command", None) is not None:
        if command:
            raise UsageError("-c and -- both name a command")
        command = _words(options.command)
    words, interval, count = split(options.arguments, min_words=_first_interface(tracer, options.arguments))
    if interval is not None and options.format in STACK_FORMATS:
        raise UsageError(
            f"INTERVAL does not go with {options.format}, which writes one picture of a whole run",
            hint="-d SECONDS sets the duration",
        )
    return build_request(
        tracer,
        words,
        options={option.name: _value(option, options) for option in tracer.options},
        filters={
            name_filter: getattr(options, f"filter_{name_filter.value}") for name_filter in tracer.filters
        },
        containers=getattr(options, "container", ()),
        command=command,
        load=options.load,
        wait_all=bool(getattr(options, "wait_all", False)),
        children=bool(getattr(options, "children", False)),
        audit=options.audit,
        interval=interval,
        count=count,
        duration=options.duration,
        top=options.top,
        sort=options.sort or "",
        max_rows=options.max_rows,
        max_probes=getattr(options, "max_probes", None),
        buffer=options.buffer,
        hooks=dict(_hook(text) for text in options.hook),
        headers=options.headers or "",
    )


def _first_interface(tracer: Tracer, words: Sequence[str]) -> int:
    """Return 1 if the first word is a number and an interface has this name, else 0."""
    if tracer.arguments is None or tracer.arguments.encode != "interfaces":
        return 0
    if not words or not is_number(words[0]):
        return 0
    return int(
        any(words[0] in (link.name, *link.alternatives) for link in interfaces.list_interfaces().values())
    )


def _words(text: str) -> tuple[str, ...]:
    import shlex

    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"-c {text!r}: {error}") from None
    if not words:
        raise UsageError("-c needs a command")
    return words


def _add_tracer_option(group: argparse._ArgumentGroup, option: Option) -> None:
    flags = ([f"-{option.short}"] if option.short else []) + [f"--{option.name}"]
    if isinstance(option, Flag):
        group.add_argument(*flags, action="store_true", help=option.help)
    elif isinstance(option, Choice):
        names = ", ".join(option.choices)
        is_long = len(names) > _CHOICES_WIDTH
        text = f"{option.help}{f': {names}' if is_long else ''} (default: {option.default})"
        metavar = option.name.upper() if is_long else None
        group.add_argument(*flags, choices=option.choices, default=option.default, help=text, metavar=metavar)
    elif isinstance(option, Duration):
        text = option.help + (
            f" (default: {option.default / units.MILLISECOND:g}ms)" if option.default else ""
        )
        group.add_argument(*flags, type=duration, metavar=option.metavar, help=text)
    elif isinstance(option, Number):
        text = option.help + (f" (default: {option.default})" if option.default else "")
        group.add_argument(
            *flags, type=parse_whole(option.minimum, option.maximum), metavar=option.metavar, help=text
        )
    elif isinstance(option, GroupBy):
        names = ",".join(key.name for key in option.keys)
        text = f"{option.help}: {names} (default: {option.default or 'none, all in one'})"
        group.add_argument(*flags, dest=_GROUP_BY_DEST, metavar="KEY", default=option.default, help=text)
    elif isinstance(option, (PacketFilter, ExpressionOption)):
        group.add_argument(*flags, metavar="EXPR", help=option.help)
    elif isinstance(option, SeccompProfile):
        group.add_argument(*flags, metavar="PROFILE", help=option.help)
    elif isinstance(option, NameSet):
        text = f"{option.help}: {','.join(option.names)}" if option.names else option.help
        group.add_argument(*flags, metavar="NAMES", help=text)


def _add_filters(group: argparse._ArgumentGroup, tracer: Tracer) -> None:
    for task_filter in tracer.filters:
        flags, metavar, text = _FILTERS[task_filter]
        dest = f"filter_{task_filter.value}"
        group.add_argument(*flags, dest=dest, metavar=metavar, action="append", default=[], help=text)
        if task_filter is Filter.PID and tracer.follow:
            text = "with -p: trace the descendants of these processes, too"
            group.add_argument("--children", action="store_true", help=text)
    if Filter.CGROUP in tracer.filters:
        group.add_argument(
            "--container",
            metavar="NAME",
            action="append",
            default=[],
            help="trace this container, by name or id",
        )


def _add_common(parser: Parser, tracer: Tracer) -> None:
    run = parser.add_argument_group("when")
    help_text = "run COMMAND, as -- does" + ("; trace only it and its descendants" if tracer.follow else "")
    run.add_argument("-c", dest="command", metavar="COMMAND", help=help_text)
    follow_note = " (implied by -p, --cgroup, --container, --netns, --mntns)" if tracer.follow else ""
    text = f"stop when COMMAND ends, but do not limit the trace to it{follow_note}"
    run.add_argument("--load", action="store_true", help=text)
    if tracer.follow:
        run.add_argument(
            "--wait-all",
            action="store_true",
            help="when COMMAND ends, trace on until its descendants end (implied by --profile)",
        )
    text = "stop after this time" + (f" (default: {tracer.duration:g})" if tracer.duration else "")
    run.add_argument("-d", "--duration", type=seconds, metavar="SECONDS", default=tracer.duration, help=text)
    output_group = parser.add_argument_group("output")
    output_group.add_argument(
        "-f", "--format", choices=_formats(tracer), default="table", help="default: table"
    )
    text = "show a screen to sort, filter, pause and look closer in" + (
        " (default: on a terminal)" if tracer.live else ""
    )
    output_group.add_argument("--live", action=argparse.BooleanOptionalAction, help=text)
    output_group.add_argument(
        "-o", "--output", metavar="FILE", help="write to FILE instead of standard output"
    )
    output_group.add_argument("-T", "--timestamp", action="store_true", help="add a time column")
    formats_lines = isinstance(tracer.arguments, ProbeSpecArguments) and not tracer.arguments.distribution
    if formats_lines or any(column.wide for output in tracer.outputs for column in output.columns):
        text = "print every column in tables; json and csv always have them"
        output_group.add_argument("--wide", action="store_true", help=text)
    if any(isinstance(output, Stacks) for output in tracer.outputs):
        output_group.add_argument(
            "--icicle", action="store_true", help="draw flame graphs downwards, callers on top"
        )
    output_group.add_argument(
        "--csv-raw",
        action="store_true",
        help="do not put an apostrophe before text that spreadsheets would evaluate",
    )
    common_options = _optional_options(tracer)

    def add(name: str, convert: Callable[[str], object], metavar: str, text: str) -> None:
        # An option that does not apply to this tracer is refused with a reason, and is not in the help.
        text = text if name in common_options else argparse.SUPPRESS
        output_group.add_argument(name, type=convert, metavar=metavar, help=text)

    add("--top", positive, "N", "print only the first N rows")
    add("--sort", str, "COLUMN", "sort by this column, largest first")
    add("--max-rows", rows_per_second, "N", "map capacity: rows per second (default: 5120)")
    add("--buffer", size_in_bytes, "SIZE", "size of the event buffer (512k, 8M; default: 8M)")
    text = "at the end, compare the results with a counter of the kernel"
    output_group.add_argument(
        "--audit", action="store_true", help=text if tracer.audit else argparse.SUPPRESS
    )
    text = "exit 3 if anything was lost" + (", or --audit finds a difference" if tracer.audit else "")
    output_group.add_argument("--strict", action="store_true", help=text)
    inside = parser.add_argument_group("diagnosis")
    inside.add_argument("-v", "--verbose", action="store_true", help="report each step on standard error")
    add_plan_options(inside)
    text = f"ignore the defaults of {config.SYSTEM} and ~/.config/pytracer/config.toml"
    inside.add_argument("--no-config", action="store_true", help=text)
    text = "print a recorded run and stop"
    inside.add_argument("--example", action=ShowExample, nargs=0, const=tracer.name, help=text)
    add_debug_options(inside)
    inside.add_argument(
        "--headers", choices=("btf", "package", "kheaders"), help="take the kernel's types from this source"
    )


def _optional_options(tracer: Tracer) -> set[str]:
    """Return the names of the options that depend on the output, and apply to this tracer."""
    return {name for output in tracer.outputs for name in output.takes}


def _formats(tracer: Tracer) -> tuple[str, ...]:
    stacks = any(isinstance(output, Stacks) for output in tracer.outputs)
    maps = stacks or any(isinstance(output, Histogram) for output in tracer.outputs)
    lines = any(isinstance(output, (Stream, Table)) for output in tracer.outputs)
    optional = (TIMELINE_FORMATS, lines), (INTERVAL_FORMATS, maps), (STACK_FORMATS, stacks)
    return FORMATS + tuple(name for names, applies in optional if applies for name in names)


def _epilog(tracer: Tracer) -> str:
    width = max((len(line) for line, _ in tracer.examples), default=0)
    lines = ["examples:", *(f"  pytracer {line:<{width}}  {text}" for line, text in tracer.examples)]
    lines += ["", "notes:", *(f"  {note}" for note in tracer.notes)]
    columns = {column.name: column for output in tracer.outputs for column in columns_of(output)}
    keys = tracer.group_by.keys if tracer.group_by else tracer.keys
    columns = {c.name: c for key in keys for c in key.columns} | columns
    lines += ["", "columns:", *(f"  {name:<12} {column.help}" for name, column in columns.items())]
    return "\n".join(lines)


def columns_of(output: Output) -> Iterator[Column]:
    """Yield the columns that an output has with any --by."""
    yield from (*output.all_keys, *output.columns)
    if isinstance(output, Histogram):
        yield from output.percentiles.values()


def _value(option: Option, options: argparse.Namespace) -> object:
    if isinstance(option, GroupBy):
        return getattr(options, _GROUP_BY_DEST)
    value = getattr(options, option.name.replace("-", "_"))
    if isinstance(option, SeccompProfile) and value is not None:
        from pytracer.seccomp import confinement

        return confinement(value)
    return value


def _hook(text: str) -> tuple[str, str]:
    hook, _, alternative = text.partition("=")
    if not hook or not alternative:
        raise UsageError(f"--hook {text!r}: expected HOOK=ALTERNATIVE", hint="--dry-run shows both")
    return hook, alternative
