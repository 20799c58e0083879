"""Turn typed values into a :class:`~pytracer.request.Request`: check them, and resolve every name."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from pytracer.errors import UnknownNameError, UsageError
from pytracer.kernel import filter_values
from pytracer.request import units
from pytracer.request.request import Fault, NameSetValue, Request, ScriptRequest
from pytracer.spec import (
    Choice,
    Duration,
    ExpressionOption,
    Filter,
    Flag,
    GroupBy,
    Injection,
    LanguageProbes,
    NameSet,
    Number,
    Option,
    PacketFilter,
    ProbeSpecArguments,
    ScriptArguments,
    Source,
    Targets,
    Tracer,
    parse_source,
)

if TYPE_CHECKING:
    from pytracer.kernel.pcap import CompiledFilter
    from pytracer.lang import ProbeSpec

_T = TypeVar("_T")
UNSAFE = "unsafe"  # the option of scripts
_NONE: Mapping[Any, Any] = MappingProxyType({})
_RESOLVERS: dict[Filter, Callable[[str], bytes]] = {
    Filter.TID: filter_values.thread,
    Filter.COMM: filter_values.comm,
    Filter.UID: filter_values.user,
    Filter.CGROUP: filter_values.cgroup,
    Filter.NETNS: filter_values.network_namespace,
    Filter.MNTNS: filter_values.mount_namespace,
}


def long_option(name: str) -> str:
    """Return how the command line spells the option ``name``."""
    return f"--{name}"


def build_request(
    tracer: Tracer,
    arguments: Sequence[str] = (),
    *,
    options: Mapping[str, object] = _NONE,
    filters: Mapping[Filter, Iterable[str | int | os.PathLike[str]]] = _NONE,
    containers: Iterable[str] = (),
    command: Sequence[str] = (),
    load: bool = False,
    wait_all: bool = False,
    children: bool = False,
    audit: bool = False,
    interval: float | None = None,
    count: int | None = None,
    duration: float | None = None,
    top: int | None = None,
    sort: str = "",
    max_rows: int | None = None,
    max_probes: int | None = None,
    buffer: int | str | None = None,
    hooks: Mapping[str, str] = _NONE,
    headers: str = "",
    script_name: str = "stdin",
    spell: Callable[[str], str] = long_option,
) -> Request:
    """Check typed values and resolve the names among them.

    Args:
        tracer: the tracer to run.
        arguments: its positional arguments, such as interfaces or patterns.
        options: values of the tracer's own options, by name. Flag: bool. Choice: str. Number: int. Duration:
            nanoseconds, text such as ``"10ms"``, or a timedelta. GroupBy: names of keys, or text with commas.
            NameSet: names, or text with commas (``"!a,b"`` excludes). PacketFilter: text in tcpdump's
            language. SeccompProfile: a Confinement. None: the default.
        filters: for each filter what it names (process ids, users, paths, ...); one of them must match.
        containers: containers by name or id.
        command: words of a command to run.
        load: the command only bounds the time.
        wait_all: go on until the command's descendants have ended.
        children: trace the descendants of the named processes, too.
        interval, duration: seconds.
        count: intervals to show.
        top, sort: rows to show, and the column that ranks them.
        max_rows: map capacity. buffer: size of the ring in bytes, or text such as ``"8M"``.
        max_probes: attach targets, at most.
        hooks: alternatives by the name of their hook. headers: the source of kernel types.
        script_name: the file of a script, for messages and what it imports.
        spell: how the caller's user writes an option's name, for messages.

    Raises:
        UsageError: a value makes no sense. UnknownNameError: nothing has such a name.
    """

    def checked(name: str, check: Callable[[Any], _T], value: object) -> _T | None:
        return None if value is None else _check(spell(name), check, value)

    _check_arguments(tracer, arguments)
    if not command and (load or wait_all):
        name = spell("load" if load else "wait-all")
        raise UsageError(f"{name} is for a command that is started", hint="-- COMMAND")
    if count is not None and interval is None:
        raise UsageError("a count needs an interval")
    filter_keys = _filter_values(tracer, filters, containers)
    if audit:
        follows = bool(command) and tracer.follow and not load
        from pytracer.request.audit import check_audit

        check_audit(tracer, options, filter_keys, spell, top=top, follows=follows)
    roots = _take_roots(tracer, filter_keys, spell("children")) if children else ()
    named = _resolve_interfaces(tracer, arguments)
    return Request(
        tracer=tracer,
        options={
            o.name: _check_value(o, options.get(o.name), spell(o.name))
            for o in tracer.options
            if not isinstance(o, PacketFilter)
        },
        filters=filter_keys,
        roots=roots,
        viewer=filter_values.viewer(filter_keys) or (roots[0] if len(roots) == 1 else 0),
        interfaces=named,
        sources=_parse_sources(tracer, arguments),
        max_probes=checked("max-probes", units.positive, max_probes),
        fault=_parse_fault_words(tracer, arguments, options),
        probe_specs=_probe_specs(tracer, arguments, options),
        script=_parse_script_words(tracer, arguments, options, script_name),
        command=tuple(command),
        load=load,
        wait_all=wait_all,
        audit=audit,
        interval=checked("interval", units.seconds, interval),
        count=checked("count", units.positive, count),
        duration=checked("duration", units.seconds, duration),
        top=checked("top", units.positive, top),
        rows=checked("max-rows", units.row_count, max_rows),
        buffer=checked("buffer", units.byte_count, buffer),
        sort=sort,
        hooks=dict(hooks),
        headers=headers,
        filter=_compile_packet_filter(tracer, options, named),
    )


def _take_roots(tracer: Tracer, filters: dict[Filter, tuple[bytes, ...]], name: str) -> tuple[int, ...]:
    """Take the processes out of the filters: those that are followed with their descendants. Raises
    UsageError."""
    keys = filters.pop(Filter.PID, ())
    if not keys:
        raise UsageError(f"{name} is for processes that are named", hint="-p PID, -p NAME")
    if not tracer.follow:
        raise UsageError(f"{tracer.name} cannot follow processes to their descendants", hint="-p alone")
    return tuple(struct.unpack("I", key)[0] for key in keys)


def _check(name: str, check: Callable[[Any], _T], value: object) -> _T:
    try:
        return check(value)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def _check_arguments(tracer: Tracer, words: Sequence[str]) -> None:
    if tracer.arguments is None:
        if words:
            raise UsageError(
                f"{tracer.name} takes no argument {words[0]!r}", hint=f"pytracer {tracer.name} --help"
            )
    elif len(words) < tracer.arguments.minimum:
        example = f", as in: pytracer {tracer.examples[0][0]}" if tracer.examples else ""
        raise UsageError(f"{tracer.name} needs {tracer.arguments.help}{example}")


def _resolve_interfaces(tracer: Tracer, words: Sequence[str]) -> dict[int, str]:
    if tracer.arguments is None or tracer.arguments.encode != "interfaces":
        return {}
    from pytracer.kernel import interfaces

    return interfaces.resolve(list(words), allow_any=tracer.arguments.every)


def _compile_packet_filter(
    tracer: Tracer, options: Mapping[str, object], named: Mapping[int, str]
) -> CompiledFilter | None:
    for option in tracer.options:
        if isinstance(option, PacketFilter):
            text = options.get(option.name)
            if text is None:
                return None
            from pytracer.kernel.pcap import compile_for, compile_raw

            return (
                compile_raw(str(text)) if option.raw else compile_for(str(text), named, frames=option.frames)
            )
    return None


def _parse_sources(tracer: Tracer, words: Sequence[str]) -> tuple[Source, ...]:
    if isinstance(tracer.arguments, LanguageProbes):
        from pytracer.spec.languages import sources_of  # a table

        return sources_of(tracer.arguments, words)
    named = (words or tracer.arguments.default) if isinstance(tracer.arguments, Targets) else ()
    return tuple(dict.fromkeys(map(parse_source, named)))


def _probe_specs(
    tracer: Tracer, words: Sequence[str], options: Mapping[str, object]
) -> tuple[ProbeSpec, ...]:
    if not isinstance(tracer.arguments, ProbeSpecArguments):
        return ()
    from pytracer.lang import parse_distribution, parse_pair, parse_trace  # a language

    if tracer.arguments.pair:
        if len(words) != tracer.arguments.minimum:
            raise UsageError(f"{words[2]!r} is too much: a start and an end are needed")
        start, end = words
        given = {
            o.name: str(options.get(o.name) or "") for o in tracer.options if isinstance(o, ExpressionOption)
        }
        return parse_pair(
            start, end, **{name.replace("-", "_"): text.strip() for name, text in given.items()}
        )
    parse = parse_distribution if tracer.arguments.distribution else parse_trace
    return tuple(map(parse, dict.fromkeys(words)))


def _parse_script_words(
    tracer: Tracer, words: Sequence[str], options: Mapping[str, object], name: str
) -> ScriptRequest | None:
    if not isinstance(tracer.arguments, ScriptArguments):
        return None
    from pytracer.request.script_files import parse_script_file  # a language

    text, *parameters = words
    script = parse_script_file(text, name)
    return ScriptRequest(script, tuple(parameters), unsafe=bool(options.get(UNSAFE)))


def _parse_fault_words(tracer: Tracer, words: Sequence[str], options: Mapping[str, object]) -> Fault | None:
    if not isinstance(tracer.arguments, Injection):
        return None
    if len(words) > 2:
        raise UsageError(f"{words[2]!r} is too much: one function fails, in one way")
    function, error = words
    where = options.get("where")
    from pytracer.request.faults import parse_fault

    return parse_fault(function, error, None if where is None else str(where))


def _check_value(option: Option, value: object, name: str) -> object:
    """Check the value of one of the tracer's options; return its default if there is none."""
    match option:
        case Flag():
            if value not in (None, False, True):
                raise UsageError(f"{name} is on or off, not {value!r}")
            return bool(value)
        case GroupBy():
            return _check_keys(option, value, name)
        case NameSet():
            return _name_set(option, value, name)
        case Choice():
            option_value = option.default if value is None else value
            if value is not None and option_value not in option.choices:
                raise UnknownNameError(name, str(option_value), option.choices)
            return option_value
        case _ if value is None:
            return None
        case Duration():
            return _check(name, units.nanoseconds, value)
        case Number():
            return _check(name, lambda text: units.parse_whole(text, option.minimum, option.maximum), value)
    return value


def _check_keys(option: GroupBy, value: object, name: str) -> tuple[str, ...]:
    key_names = option.default if value is None else value
    words = _split_words(key_names, name) if key_names else []
    names = tuple(dict.fromkeys(words))
    valid_names = [key.name for key in option.keys]
    for word in names:
        if word not in valid_names:
            raise UsageError(f"{name} {word!r}: no such key", hint=f"keys: {', '.join(valid_names)}")
    return names


def _name_set(option: NameSet, value: object, name: str) -> NameSetValue | None:
    if value is None:
        return None
    if isinstance(value, str):
        from pytracer.request.sets import parse_set

        return parse_set(option, value, name)
    from pytracer.request.sets import encode_names

    return encode_names(option, _split_words(value, name), name, exclude=False)


def _split_words(value: object, name: str) -> list[str]:
    """Return names that are given one by one, or as text with commas."""
    if isinstance(value, str):
        return value.split(",")
    if not isinstance(value, Iterable):
        raise UsageError(f"{name} takes names, not {value!r}")
    return [str(item) for item in value]


def _filter_values(
    tracer: Tracer,
    filters: Mapping[Filter, Iterable[str | int | os.PathLike[str]]],
    containers: Iterable[str],
) -> dict[Filter, tuple[bytes, ...]]:
    values: dict[Filter, list[bytes]] = {}
    for filter_, words in filters.items():
        if filter_ not in tracer.filters:
            raise UsageError(f"{tracer.name} has no filter {filter_.value!r}")
        for word in words:
            keys = values.setdefault(filter_, [])
            if filter_ is Filter.PID:
                packed = (struct.pack("I", one) for one in filter_values.processes(str(word)))
                keys += (key for key in packed if key not in keys)
            else:
                keys.append(_RESOLVERS[filter_](str(word)))
    kinds = set()
    for text in containers:
        kind, key = filter_values.container(str(text))
        if Filter(kind) not in tracer.filters:
            raise UsageError(
                f"the container {text!r} has no cgroup of version 2",
                hint="pytracer doctor shows what is mounted",
            )
        kinds.add(kind)
        values.setdefault(Filter(kind), []).append(key)
    if len(kinds) > 1:  # filters of two kinds must both hold, and no task is in two containers
        raise UsageError("no single filter selects all of these containers", hint="trace them one by one")
    return {filter_: tuple(keys) for filter_, keys in values.items()}
