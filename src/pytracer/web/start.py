"""Describe the tracers that the page can start, as data, and make requests of its forms."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from pytracer.errors import NotPermittedError, UsageError
from pytracer.plan import output_of
from pytracer.record import replace
from pytracer.request import Request, build_request, units
from pytracer.spec import (
    Choice,
    Filter,
    Flag,
    Injection,
    NameSet,
    Number,
    Option,
    Profile,
    SeccompProfile,
    Stacks,
    Stream,
    Tracer,
    registry,
)

_INTERVAL, _STACKS = 1.0, 2.0  # seconds of an interval, if nothing is said
_FIELDS = ("tracer", "arguments", "options", "filters", "interval", "duration", "command")
_VALUES = 32  # of arguments, filters and options, at most
_FILTERS = {which.value: which for which in Filter}


def describe(*, allow_commands: bool) -> list[dict[str, Any]]:
    """Return the tracers that the page offers, by name."""
    found = registry.all_tracers(lambda _: None)
    return [_describe(tracer) for tracer in found if allow_commands or not _changes(tracer)]


def _describe(tracer: Tracer) -> dict[str, Any]:
    left_out = {output.when for output in tracer.outputs if isinstance(output, Profile)}
    return {
        "name": tracer.name,
        "group": tracer.group,
        "summary": tracer.summary,
        "description": tracer.description,
        "arguments": tracer.arguments.usage if tracer.arguments is not None else "",
        "about": tracer.arguments.help if tracer.arguments is not None else "",
        "options": [
            _field(option)
            for option in tracer.options
            if not isinstance(option, SeccompProfile) and option.name not in left_out
        ],
        "filters": [filter_.value for filter_ in tracer.filters],
        "notes": list(tracer.notes),
        "intervals": not all(isinstance(output, Stream) for output in tracer.outputs),
    }


def _field(option: Option) -> dict[str, Any]:
    """Return an option as a field of a form."""
    default = getattr(option, "default", "")
    if isinstance(option, Number):
        default = str(default or "")
    kind = "flag" if isinstance(option, Flag) else "choice" if isinstance(option, Choice) else "text"
    choices = option.choices if isinstance(option, Choice) else ()
    names = option.names if isinstance(option, NameSet) else ()
    keys = [key.name for key in getattr(option, "keys", ())]
    return {
        "name": option.name,
        "help": option.help,
        "kind": kind,
        "default": default if kind != "text" or keys else "",
        "choices": list(choices),
        "names": [*names, *keys],
    }


def _changes(tracer: Tracer) -> bool:
    """Return True for a tracer that changes the traced system."""
    return isinstance(tracer.arguments, Injection)


def make_request(document: Mapping[str, Any], *, allow_commands: bool) -> tuple[Request, tuple[str, ...]]:
    """Return the request that was sent, and the words of a command line that makes the same one.

    Raises PytracerError: for what is wrong, and NotPermittedError for commands that are not allowed.
    """
    for name in document:
        if name not in _FIELDS:
            raise UsageError(f"there is no field {name!r}")
    tracer = registry.get(_text(document, "tracer"))
    arguments = _texts(document.get("arguments", []), "arguments")
    options, filters = _mapping(document, "options"), _mapping(document, "filters")
    command = _split(_text(document, "command"))
    if not allow_commands and (command or _changes(tracer)):
        reason = (
            f"{tracer.name} changes what it traces" if _changes(tracer) else "the page starts no commands"
        )
        raise NotPermittedError(reason, hint="pytracer serve --allow-commands")
    offered = {option["name"] for option in _describe(tracer)["options"]}
    for name in options:
        if name not in offered:
            raise UsageError(f"{tracer.name} has no option {name!r} here")
    values = {name: _value(name, value) for name, value in options.items()}
    named = {
        _filter(tracer, name): _texts(value, name) for name, value in filters.items() if value not in ("", [])
    }
    request = build_request(
        tracer,
        arguments,
        options=values,
        filters=named,
        command=command,
        interval=_seconds(document, "interval"),
        duration=_seconds(document, "duration") or tracer.duration,
    )
    words = (*_words(tracer, arguments, values, named, request), *(["--", *command] if command else []))
    output = output_of(request)
    if request.interval is None and not isinstance(output, Stream):
        request = replace(request, interval=_STACKS if isinstance(output, Stacks) else _INTERVAL)
    return request, words


def _words(
    tracer: Tracer,
    arguments: list[str],
    options: Mapping[str, object],
    filters: Mapping[Filter, list[str]],
    request: Request,
) -> Iterator[str]:
    yield from (tracer.name, *arguments)
    if request.interval is not None:
        yield f"{request.interval:g}"
    for name, value in options.items():
        if value is True:
            yield f"--{name}"
        elif value not in (False, None):
            yield from (f"--{name}", str(value))
    for filter_, values in filters.items():
        for value in values:
            yield from (f"--{filter_.value}", value)
    if request.duration is not None and request.duration != tracer.duration:
        yield from ("-d", f"{request.duration:g}")


def _filter(tracer: Tracer, name: str) -> Filter:
    filter_ = _FILTERS.get(name)
    if filter_ is None or filter_ not in tracer.filters:
        raise UsageError(f"{tracer.name} has no filter {name!r}")
    return filter_


def _value(name: str, value: object) -> object:
    """Return an option's value: an empty field means the default."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value or None
    raise UsageError(f"{name}: text, true or false is wanted")


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name, "")
    if not isinstance(value, str) or "\0" in value:
        raise UsageError(f"{name} has to be text")
    return value


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"command: {error}") from None


def _texts(values: Any, name: str) -> list[str]:
    if isinstance(values, str):
        values = [values]
    if not isinstance(values, list) or len(values) > _VALUES:
        raise UsageError(f"{name} has to be a list of at most {_VALUES} texts")
    return [_text({name: value}, name) for value in values]


def _mapping(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name, {})
    if not isinstance(value, dict) or len(value) > _VALUES:
        raise UsageError(f"{name} has to be an object")
    return value


def _seconds(document: Mapping[str, Any], name: str) -> float | None:
    text = _text(document, name)
    try:
        return units.seconds(text) if text else None
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None
