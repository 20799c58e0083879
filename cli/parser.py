"""The one grammar: TRACER [ARG...] [INTERVAL [COUNT]] [options] [-- COMMAND...]."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

from pytracer.cli import config
from pytracer.cli.arguments import (
    Parser,
    ShowExample,
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
    Filter,
    Flag,
    GroupBy,
    Histogram,
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
    Filter.PID: (("-p", "--pid"), "N", "this process, until it ends (repeatable)"),
    Filter.TID: (("--tid",), "N", "this thread"),
    Filter.COMM: (("--comm",), "NAME", "threads of this name"),
    Filter.UID: (("-u", "--uid"), "USER", "this user, by name or number"),
    Filter.CGROUP: (("--cgroup",), "PATH", "this cgroup and those below it"),
    Filter.NETNS: (("--netns",), "NS", "this network namespace: a process, name or path"),
    Filter.MNTNS: (("--mntns",), "NS", "this mount namespace: a process or path"),
}
_CHOICES_WIDTH = 60  # characters that a line of help can spare for them
_GROUP_BY_DEST = "group_by"


def build(tracer: Tracer) -> Parser:
    """Build the parser of a tracer: its own options, and those that every tracer has.

    Raises SchemaError if the tracer declares an option that every tracer has.
    """
    try:
        return _build(tracer)
    except argparse.ArgumentError as error:
        raise SchemaError(
            f"{tracer.file}: {error}", hint="the option needs a name that no other option has"
        ) from None


def _build(tracer: Tracer) -> Parser:
    own = f" {tracer.arguments.usage}" if tracer.arguments else ""
    times = " [INTERVAL [COUNT]]" if "INTERVAL" in _taken(tracer) else ""
    parser = Parser(
        prog=f"pytracer {tracer.name}",
        usage=f"pytracer {tracer.name}{own}{times} [options] [-- COMMAND...]",
        description=tracer.description,
        epilog=_epilog(tracer),
    )
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    specific = parser.add_argument_group(f"{tracer.name}")
    for option in tracer.options:
        _add_own(specific, option)
    if isinstance(tracer.arguments, (Targets, ProbeSpecArguments)):
        text = f"attach to so many at most (default: {PROBES_MAX})"
        specific.add_argument("--max-probes", type=positive, metavar="N", help=text)
    if tracer.filters:
        _add_filters(parser.add_argument_group("which tasks (filtered in the kernel)"), tracer)
    _add_common(parser, tracer)
    return parser


def parse(tracer: Tracer, argv: Sequence[str]) -> tuple[Request, argparse.Namespace]:
    """Parse a command line to a request, and to the options that are not the tracer's."""
    require_proc()
    own = list(argv)
    command: tuple[str, ...] = ()
    if "--" in own:
        cut = own.index("--")
        own, command = own[:cut], tuple(own[cut + 1 :])
        if not command:
            raise UsageError("-- needs a command after it")
    made = build(tracer)
    defaults, warnings = ([], []) if "--no-config" in own else config.load(tracer.name, made._actions)
    try:
        given = made.parse_intermixed_args([*(word for one in defaults for word in one.words), *own])
        given.defaults, given.warnings = defaults, warnings
        return _request(tracer, given, command), given
    except UsageError as error:
        if defaults:
            files = " and ".join(dict.fromkeys(str(one.file) for one in defaults))
            error.hint = f"{error.hint}; {files} sets defaults, --no-config ignores them".removeprefix("; ")
        raise


def _request(tracer: Tracer, given: argparse.Namespace, command: tuple[str, ...]) -> Request:
    if getattr(given, "command", None) is not None:
        if command:
            raise UsageError("-c and -- both name a command")
        command = _words(given.command)
    words, interval, count = split(given.arguments, keep=_first_interface(tracer, given.arguments))
    if interval is not None and given.format in STACK_FORMATS:
        raise UsageError(
            f"INTERVAL does not go with {given.format}, which is for whole runs",
            hint="-d SECONDS sets when to stop",
        )
    return build_request(
        tracer,
        words,
        options={option.name: _value(option, given) for option in tracer.options},
        filters={which: getattr(given, f"filter_{which.value}") for which in tracer.filters},
        containers=getattr(given, "container", ()),
        command=command,
        load=given.load,
        wait_all=bool(getattr(given, "wait_all", False)),
        audit=given.audit,
        interval=interval,
        count=count,
        duration=given.duration,
        top=given.top,
        sort=given.sort or "",
        max_rows=given.max_rows,
        max_probes=getattr(given, "max_probes", None),
        buffer=given.buffer,
        hooks=dict(_hook(text) for text in given.hook),
        headers=given.headers or "",
    )


def _first_interface(tracer: Tracer, words: Sequence[str]) -> int:
    """Return 1 if the first word is an interface's name though it looks like a number, else 0."""
    if tracer.arguments is None or tracer.arguments.encode != "interfaces":
        return 0
    if not words or not is_number(words[0]):
        return 0
    return int(any(words[0] in (link.name, *link.alternatives) for link in interfaces.interfaces().values()))


def _words(text: str) -> tuple[str, ...]:
    import shlex

    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"-c {text!r}: {error}") from None
    if not words:
        raise UsageError("-c needs a command")
    return words


def _add_own(group: argparse._ArgumentGroup, option: Option) -> None:
    flags = ([f"-{option.short}"] if option.short else []) + [f"--{option.name}"]
    if isinstance(option, Flag):
        group.add_argument(*flags, action="store_true", help=option.help)
    elif isinstance(option, Choice):
        names = ", ".join(option.choices)
        many = len(names) > _CHOICES_WIDTH
        text = f"{option.help}{f': {names}' if many else ''} (default: {option.default})"
        metavar = option.name.upper() if many else None
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
    elif isinstance(option, PacketFilter):
        group.add_argument(*flags, metavar="EXPR", help=option.help)
    elif isinstance(option, SeccompProfile):
        group.add_argument(*flags, metavar="PROFILE", help=option.help)
    elif isinstance(option, NameSet):
        text = f"{option.help}: {','.join(option.names)}" if option.names else option.help
        group.add_argument(*flags, metavar="NAMES", help=text)


def _add_filters(group: argparse._ArgumentGroup, tracer: Tracer) -> None:
    for which in tracer.filters:
        flags, metavar, text = _FILTERS[which]
        dest = f"filter_{which.value}"
        group.add_argument(*flags, dest=dest, metavar=metavar, action="append", default=[], help=text)
    if Filter.CGROUP in tracer.filters:
        group.add_argument(
            "--container", metavar="NAME", action="append", default=[], help="this container, by name or id"
        )


def _add_common(parser: Parser, tracer: Tracer) -> None:
    run = parser.add_argument_group("when")
    only = "run it, trace just it and its descendants, as -- does" if tracer.follow else "run it, as -- does"
    run.add_argument("-c", dest="command", metavar="COMMAND", help=only)
    named = "; so do -p, --cgroup, --container, --netns and --mntns" if tracer.follow else ""
    text = f"COMMAND only bounds the time, and does not say what is traced{named}"
    run.add_argument("--load", action="store_true", help=text)
    if tracer.follow:
        run.add_argument(
            "--wait-all",
            action="store_true",
            help="when COMMAND ends, go on until its descendants have ended, too (--profile does)",
        )
    text = "stop after so long" + (f" (default: {tracer.duration:g})" if tracer.duration else "")
    run.add_argument("-d", "--duration", type=seconds, metavar="SECONDS", default=tracer.duration, help=text)
    out = parser.add_argument_group("output")
    out.add_argument("-f", "--format", choices=_formats(tracer), default="table", help="default: table")
    out.add_argument("-o", "--output", metavar="FILE", help="write there instead of to standard output")
    out.add_argument("-T", "--timestamp", action="store_true", help="a time column")
    formats_lines = isinstance(tracer.arguments, ProbeSpecArguments) and not tracer.arguments.distribution
    if formats_lines or any(column.wide for output in tracer.outputs for column in output.columns):
        text = "tables with every column; json and csv have them all"
        out.add_argument("--wide", action="store_true", help=text)
    if any(isinstance(output, Stacks) for output in tracer.outputs):
        out.add_argument("--icicle", action="store_true", help="flame graphs grow downwards, callers above")
    out.add_argument("--csv-raw", action="store_true", help="no apostrophe before text that spreadsheets run")
    taken = _taken(tracer)

    def add(name: str, convert: Callable[[str], object], metavar: str, text: str) -> None:
        # What makes no sense for this tracer is refused with the reason, and is not in the help.
        text = text if name in taken else argparse.SUPPRESS
        out.add_argument(name, type=convert, metavar=metavar, help=text)

    add("--top", positive, "N", "only the first N rows")
    add("--sort", str, "COLUMN", "the greatest of this column first")
    add("--max-rows", rows_per_second, "N", "rows there is room for, each second (default: 5120)")
    add("--buffer", size_in_bytes, "SIZE", "bytes of events that may wait (512k, 8M; default: 8M)")
    text = "compare with what the kernel counts by itself, at the end"
    out.add_argument("--audit", action="store_true", help=text if tracer.audit else argparse.SUPPRESS)
    text = "exit 3 if anything was lost" + (", or --audit finds a difference" if tracer.audit else "")
    out.add_argument("--strict", action="store_true", help=text)
    inside = parser.add_argument_group("looking inside")
    inside.add_argument("-v", "--verbose", action="store_true", help="report each step on standard error")
    inside.add_argument("--dry-run", action="store_true", help="print the plan for this kernel and stop")
    inside.add_argument("--emit-c", action="store_true", help="print the C for the compiler and stop")
    text = f"leave out the defaults of {config.SYSTEM} and ~/.config/pytracer/config.toml"
    inside.add_argument("--no-config", action="store_true", help=text)
    text = "print a recorded run and stop"
    inside.add_argument("--example", action=ShowExample, nargs=0, const=tracer.name, help=text)
    inside.add_argument("--debug", action="store_true", help="errors with all that is known about them")
    inside.add_argument(
        "--hook",
        metavar="HOOK=ALTERNATIVE",
        action="append",
        default=[],
        help="use this alternative of a hook",
    )
    inside.add_argument(
        "--headers", choices=("btf", "package", "kheaders"), help="take the kernel's types from there"
    )


def _taken(tracer: Tracer) -> set[str]:
    """Return the options that some output of a tracer takes, of those that not all do."""
    return {name for output in tracer.outputs for name in output.takes}


def _formats(tracer: Tracer) -> tuple[str, ...]:
    stacks = any(isinstance(output, Stacks) for output in tracer.outputs)
    maps = stacks or any(isinstance(output, Histogram) for output in tracer.outputs)
    lines = any(isinstance(output, (Stream, Table)) for output in tracer.outputs)
    more = (TIMELINE_FORMATS, lines), (INTERVAL_FORMATS, maps), (STACK_FORMATS, stacks)
    return FORMATS + tuple(name for names, has in more if has for name in names)


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
    """Yield the columns that an output has, whatever rows are grouped by."""
    yield from (*output.keys, *output.columns)
    if isinstance(output, Histogram):
        yield from output.percentiles.values()


def _value(option: Option, given: argparse.Namespace) -> object:
    if isinstance(option, GroupBy):
        return getattr(given, _GROUP_BY_DEST)
    value = getattr(given, option.name.replace("-", "_"))
    if isinstance(option, SeccompProfile) and value is not None:
        from pytracer.seccomp import confinement

        return confinement(value)
    return value


def _hook(text: str) -> tuple[str, str]:
    hook, _, alternative = text.partition("=")
    if not hook or not alternative:
        raise UsageError(f"--hook {text!r}: HOOK=ALTERNATIVE is wanted", hint="--dry-run shows both")
    return hook, alternative
