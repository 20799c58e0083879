"""The one grammar: TRACER [ARG...] [INTERVAL [COUNT]] [options] [-- COMMAND...]."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pytracer.cli.arguments import (
    MILLISECOND,
    Parser,
    duration,
    is_number,
    positive,
    rows_per_second,
    seconds,
    size_in_bytes,
    split,
)
from pytracer.errors import UsageError
from pytracer.kernel import filter_values, interfaces
from pytracer.kernel.policy import require_proc
from pytracer.plan import Fault, Request, parse_fault
from pytracer.plan.attach_targets import PROBES_MAX
from pytracer.plan.sets import parse_set
from pytracer.sinks import FORMATS, STACK_FORMATS
from pytracer.spec import (
    Choice,
    Duration,
    Filter,
    Flag,
    GroupBy,
    Histogram,
    Injection,
    NameSet,
    Number,
    Option,
    PacketFilter,
    Questions,
    SeccompProfile,
    Source,
    Stacks,
    Targets,
    Tracer,
    parse_source,
)

if TYPE_CHECKING:
    from pytracer.kernel.pcap import CompiledFilter
    from pytracer.lang import ProbeSpec

_FILTERS: dict[Filter, tuple[tuple[str, ...], str, str, Callable[[str], bytes]]] = {
    Filter.PID: (("-p", "--pid"), "N", "this process, until it ends (repeatable)", filter_values.process),
    Filter.TID: (("--tid",), "N", "this thread", filter_values.thread),
    Filter.COMM: (("--comm",), "NAME", "threads of this name", filter_values.comm),
    Filter.UID: (("-u", "--uid"), "USER", "this user, by name or number", filter_values.user),
    Filter.CGROUP: (("--cgroup",), "PATH", "this cgroup and those below it", filter_values.cgroup),
    Filter.NETNS: (
        ("--netns",),
        "NS",
        "this network namespace: a process, name or path",
        filter_values.network_namespace,
    ),
    Filter.MNTNS: (
        ("--mntns",),
        "NS",
        "this mount namespace: a process or path",
        filter_values.mount_namespace,
    ),
}
_CHOICES_WIDTH = 60  # characters that a line of help can spare for them
_GROUP_BY_DEST = "group_by"


def build(tracer: Tracer) -> Parser:
    """The parser of a tracer: its own options, and those that every tracer has."""
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
    if isinstance(tracer.arguments, (Targets, Questions)):
        text = f"attach to so many at most (default: {PROBES_MAX})"
        specific.add_argument("--max-probes", type=positive, metavar="N", help=text)
    if tracer.filters:
        _add_filters(parser.add_argument_group("which tasks (filtered in the kernel)"), tracer)
    _add_common(parser, tracer)
    return parser


def parse(tracer: Tracer, argv: Sequence[str]) -> tuple[Request, argparse.Namespace]:
    """The request that a command line makes, and the options that are not the tracer's business."""
    require_proc()
    own = list(argv)
    command: tuple[str, ...] = ()
    if "--" in own:
        cut = own.index("--")
        own, command = own[:cut], tuple(own[cut + 1 :])
        if not command:
            raise UsageError("-- needs a command after it")
    given = build(tracer).parse_intermixed_args(own)
    if getattr(given, "command", None) is not None:
        if command:
            raise UsageError("-c and -- both name a command")
        command = _words(given.command)
    if given.load and not command:
        raise UsageError("--load is for a command that is started", hint="-- COMMAND")
    if getattr(given, "wait_all", False) and not command:
        raise UsageError("--wait-all is for a command that is started", hint="-- COMMAND")
    words, interval, count = split(given.arguments, keep=_first_interface(tracer, given.arguments))
    filters = _filter_values(tracer, given)
    _check_arguments(tracer, words)
    if interval is not None and given.format in STACK_FORMATS:
        raise UsageError(
            f"INTERVAL does not go with {given.format}, which is for whole runs",
            hint="-d SECONDS says when to stop",
        )
    named = _interfaces(tracer, words)
    return (
        Request(
            tracer=tracer,
            options={o.name: _value(o, given) for o in tracer.options if not isinstance(o, PacketFilter)},
            filters=filters,
            viewer=filter_values.viewer(filters),
            interfaces=named,
            sources=_sources(tracer, words),
            max_probes=getattr(given, "max_probes", None),
            fault=_fault(tracer, words),
            probe_specs=_questions(tracer, words),
            command=command,
            load=given.load,
            wait_all=bool(getattr(given, "wait_all", False)),
            interval=interval,
            count=count,
            duration=given.duration,
            top=given.top,
            rows=given.max_rows,
            buffer=given.buffer,
            sort=given.sort or "",
            hooks=dict(_hook(text) for text in given.hook),
            headers=given.headers or "",
            filter=_packet_filter(tracer, given, named),
        ),
        given,
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
        text = option.help + (f" (default: {option.default / MILLISECOND:g}ms)" if option.default else "")
        group.add_argument(*flags, type=duration, metavar=option.metavar, help=text)
    elif isinstance(option, Number):
        text = option.help + (f" (default: {option.default})" if option.default else "")
        group.add_argument(*flags, type=_number(option), metavar=option.metavar, help=text)
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
        flags, metavar, text, _ = _FILTERS[which]
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
    asked = isinstance(tracer.arguments, Questions) and not tracer.arguments.distribution
    if asked or any(column.wide for output in tracer.outputs for column in output.columns):
        text = "tables with every column; json and csv have them all"
        out.add_argument("--wide", action="store_true", help=text)
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
    out.add_argument("--strict", action="store_true", help="exit 3 if anything was lost")
    inside = parser.add_argument_group("looking inside")
    inside.add_argument("-v", "--verbose", action="store_true", help="say what is done, on standard error")
    inside.add_argument("--dry-run", action="store_true", help="print the plan for this kernel and stop")
    inside.add_argument("--emit-c", action="store_true", help="print the C for the compiler and stop")
    inside.add_argument("--debug", action="store_true", help="errors with all that is known about them")
    inside.add_argument(
        "--hook", metavar="HOOK=WAY", action="append", default=[], help="take this alternative of a hook"
    )
    inside.add_argument(
        "--headers", choices=("btf", "package", "kheaders"), help="take the kernel's types from there"
    )


def _taken(tracer: Tracer) -> set[str]:
    """The options that some output of a tracer takes, of those that not all do."""
    return {name for output in tracer.outputs for name in output.takes}


def _formats(tracer: Tracer) -> tuple[str, ...]:
    return FORMATS + (STACK_FORMATS if any(isinstance(o, Stacks) for o in tracer.outputs) else ())


def _epilog(tracer: Tracer) -> str:
    width = max((len(line) for line, _ in tracer.examples), default=0)
    lines = ["examples:", *(f"  pytracer {line:<{width}}  {text}" for line, text in tracer.examples)]
    lines += ["", "notes:", *(f"  {note}" for note in tracer.notes)]
    columns = {c.name: c for output in tracer.outputs for c in (*output.keys, *output.columns)}
    histograms = (output for output in tracer.outputs if isinstance(output, Histogram))
    columns |= {c.name: c for output in histograms for c in output.percentiles.values()}
    keys = tracer.group_by.keys if tracer.group_by else tracer.keys
    columns = {c.name: c for key in keys for c in key.columns} | columns
    lines += ["", "columns:", *(f"  {name:<12} {column.help}" for name, column in columns.items())]
    return "\n".join(lines)


def _check_arguments(tracer: Tracer, words: list[str]) -> None:
    if tracer.arguments is None:
        if words:
            raise UsageError(
                f"{tracer.name} takes no argument {words[0]!r}", hint=f"pytracer {tracer.name} --help"
            )
    elif len(words) < tracer.arguments.minimum:
        example = f", as in: pytracer {tracer.examples[0][0]}" if tracer.examples else ""
        raise UsageError(f"{tracer.name} needs {tracer.arguments.help}{example}")


def _interfaces(tracer: Tracer, words: list[str]) -> dict[int, str]:
    if tracer.arguments is None or tracer.arguments.encode != "interfaces":
        return {}
    return interfaces.resolve(words, every=tracer.arguments.every)


def _packet_filter(
    tracer: Tracer, given: argparse.Namespace, named: Mapping[int, str]
) -> CompiledFilter | None:
    for option in tracer.options:
        if isinstance(option, PacketFilter):
            text = getattr(given, option.name.replace("-", "_"))
            if text is None:
                return None
            from pytracer.kernel.pcap import compile_for, compile_raw

            return compile_raw(text) if option.raw else compile_for(text, named, frames=option.frames)
    return None


def _sources(tracer: Tracer, words: list[str]) -> tuple[Source, ...]:
    named = (words or tracer.arguments.default) if isinstance(tracer.arguments, Targets) else ()
    return tuple(dict.fromkeys(map(parse_source, named)))


def _questions(tracer: Tracer, words: list[str]) -> tuple[ProbeSpec, ...]:
    if not isinstance(tracer.arguments, Questions):
        return ()
    from pytracer.lang import parse_distribution, parse_trace  # a language

    read = parse_distribution if tracer.arguments.distribution else parse_trace
    return tuple(map(read, dict.fromkeys(words)))


def _fault(tracer: Tracer, words: list[str]) -> Fault | None:
    if not isinstance(tracer.arguments, Injection):
        return None
    if len(words) > 2:
        raise UsageError(f"{words[2]!r} is too much: one function fails, in one way")
    return parse_fault(*words)


def _value(option: Option, given: argparse.Namespace) -> object:
    if isinstance(option, GroupBy):
        text = getattr(given, _GROUP_BY_DEST)
        names = tuple(dict.fromkeys(text.split(","))) if text or option.default else ()
        known = [key.name for key in option.keys]
        for name in names:
            if name not in known:
                raise UsageError(f"--{option.name} {name!r}: no such key", hint=f"keys: {', '.join(known)}")
        return names
    value = getattr(given, option.name.replace("-", "_"))
    if isinstance(option, SeccompProfile):
        if value is None:
            return None
        from pytracer.seccomp import confinement

        return confinement(value)
    if isinstance(option, NameSet):
        return None if value is None else parse_set(option, value)
    return value


def _filter_values(tracer: Tracer, given: argparse.Namespace) -> dict[Filter, tuple[bytes, ...]]:
    values: dict[Filter, list[bytes]] = {}
    for which in tracer.filters:
        resolve = _FILTERS[which][3]
        for text in getattr(given, f"filter_{which.value}"):
            values.setdefault(which, []).append(resolve(text))
    kinds = set()
    for text in getattr(given, "container", ()):
        kind, key = filter_values.container(text)
        if Filter(kind) not in tracer.filters:
            raise UsageError(
                f"the container {text!r} has no cgroup of version 2",
                hint="pytracer doctor says what is mounted",
            )
        kinds.add(kind)
        values.setdefault(Filter(kind), []).append(key)
    if len(kinds) > 1:  # filters of two kinds must both hold, and no task is in two containers
        raise UsageError(
            "these containers can only be told apart in different ways", hint="trace them one by one"
        )
    return {which: tuple(keys) for which, keys in values.items()}


def _hook(text: str) -> tuple[str, str]:
    hook, _, way = text.partition("=")
    if not hook or not way:
        raise UsageError(f"--hook {text!r}: HOOK=WAY is wanted", hint="--dry-run shows both")
    return hook, way


def _number(option: Number) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not text.isdecimal() or not option.minimum <= int(text) <= option.maximum:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no whole number from {option.minimum} to {option.maximum}"
            )
        return int(text)

    return convert
