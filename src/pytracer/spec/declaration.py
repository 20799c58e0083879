"""Check the declaration of a tracer, so that a mistake in it is one line that names the file.

Python checks no types, so a mistake in a declaration would otherwise show as an exception in the engine. The
registry checks tracers from outside the package; a unit test checks pytracer's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pytracer.errors import UsageError, suggest_near
from pytracer.spec.columns import Column, Key, Unit
from pytracer.spec.filters import Filter
from pytracer.spec.hooks import Alternative, Hook, Probe
from pytracer.spec.options import GroupBy, Option, ProbeSpecArguments
from pytracer.spec.outputs import Histogram, Output, Table
from pytracer.spec.tracer import GROUPS, Tracer

_ELEMENTS: dict[type, dict[str, type]] = {
    Tracer: {
        "hooks": Hook,
        "outputs": Output,
        "options": Option,
        "filters": Filter,
        "keys": Key,
        "totals": Column,
        "notes": str,
    },
    Hook: {"alternatives": Alternative},
    Alternative: {"probes": Probe},
    Output: {"columns": Column, "keys": Column},
    Key: {"columns": Column},
    GroupBy: {"keys": Key},
}
"""The class of the elements of each field that is a tuple."""
_SCALARS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float | None": (int, float, type(None)),
    "int | bytes | None": (int, bytes, type(None)),
    "Unit": (Unit,),
}
"""The classes of a field's value, by the annotation of the field."""
_NAME, _OPTION = re.compile(r"[a-z][a-z0-9_]*"), re.compile(r"[a-z][a-z0-9-]*")


def check(tracer: Tracer, file: str = "") -> None:
    """Check what can be checked without compiling the C. Raises UsageError that names the file.

    Fields have values of their classes; names of options, and of columns in an output, are valid and unique;
    ratios and the sort column are columns; an output is shown by default, and the others have a flag.
    """
    for mistake, hint in _mistakes(tracer):
        raise UsageError(f"{file or tracer.file}: {mistake}", hint=hint)


def explain(error: BaseException, file: str) -> UsageError:
    """Describe an exception that the declaration in ``file`` raised: the line, and the mistake."""
    if isinstance(error, SyntaxError):
        return UsageError(f"{error.filename or file}:{error.lineno}: {error.msg}", hint="invalid Python")
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    text = str(error) if isinstance(error, TypeError) else f"{type(error).__name__}: {error}"
    hint = "docs/writing-tracers.md describes declarations; --debug shows the traceback"
    return UsageError(f"{file}:{line}: {text}" if line else f"{file}: {text}", hint=hint)


def _mistakes(tracer: Tracer) -> Iterator[tuple[str, str]]:
    yield from _wrong_values(tracer)
    yield from _wrong_elements(tracer)
    yield from _wrong_options(tracer)
    yield from _wrong_hooks(tracer)
    if tracer.group not in GROUPS:
        hint = suggest_near(tracer.group, GROUPS)
        yield f"group {tracer.group!r} is none of the groups of pytracer list", hint
    for example in tracer.examples:
        if not _is_pair(example):
            yield f"example {example!r} is no pair of texts", 'examples=(("COMMAND", "what it shows"),)'
    if len([output for output in tracer.outputs if not output.when]) != 1:
        yield "not exactly one output of the tracer has no flag", "the others have when=OPTION"
    for key in tracer.keys:
        yield from _wrong_columns(key.columns, ())
    for output in tracer.outputs:
        others = tuple(column for key in tracer.keys for column in key.columns)
        if tracer.group_by is not None:
            others += tuple(column for key in tracer.group_by.keys for column in key.columns)
        yield from _wrong_columns((*output.all_keys, *output.columns), others)
        names = [column.name for column in (*output.columns, *output.all_keys, *others)]
        if isinstance(output, Table) and output.sort not in names:
            yield (
                f"the table is sorted by {output.sort!r}, which is no column",
                suggest_near(output.sort, names),
            )
        if isinstance(output, Histogram) and not any(_is_counter(column) for column in output.columns):
            yield "the histogram has no column that counts its values", "its first counter is their number"
        if any(column.computed for column in output.columns) and not isinstance(
            tracer.arguments, ProbeSpecArguments
        ):
            yield "a computed column needs probe specs", "without computed=True it is read from the C struct"


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _is_counter(column: Column) -> bool:
    return column.ratio is None and not column.last and not column.max


def _wrong_options(tracer: Tracer) -> Iterator[tuple[str, str]]:
    names = [option.name for option in tracer.options] + [filter_.value for filter_ in tracer.filters]
    for name in names:
        if not _OPTION.fullmatch(name):
            yield f"option {name!r} has an invalid name", "lower-case letters, digits and -"
        if names.count(name) > 1:
            yield f"two options or filters are called {name!r}", ""
    for output in tracer.outputs:
        if output.when and output.when not in names:
            yield (
                f"an output is shown by {output.when!r}, which is no option",
                suggest_near(output.when, names),
            )
    if (group_by := tracer.group_by) is not None:
        keys = [key.name for key in group_by.keys]
        for part in filter(None, group_by.default.split(",")):
            if part not in keys:
                yield (
                    f"the default of --{group_by.name} is {part!r}, which is no key",
                    suggest_near(part, keys),
                )
        for key in group_by.keys:
            if not _NAME.fullmatch(key.name) or keys.count(key.name) > 1:
                yield f"key {key.name!r} has an invalid name, or that of another key", ""
            if not key.columns:
                yield f"key {key.name!r} has no column", ""


def _wrong_hooks(tracer: Tracer) -> Iterator[tuple[str, str]]:
    if not tracer.hooks and tracer.arguments is None and not all(output.hooks for output in tracer.outputs):
        yield "the tracer has no hooks", "hooks=(Hook(...),)"
    for hook in tracer.hooks:
        names = [alternative.name for alternative in hook.alternatives]
        if not names:
            yield f"hook {hook.name!r} has no alternatives", ""
        for name in names:
            if names.count(name) > 1:
                yield f"two alternatives of hook {hook.name!r} are called {name!r}", ""


def _wrong_values(value: Any) -> Iterator[tuple[str, str]]:
    """Yield each field whose value is not of the class that its annotation names."""
    for cls in type(value).__mro__:
        for field, annotation in getattr(cls, "__annotations__", {}).items():
            expected_type = _SCALARS.get(annotation)
            actual = getattr(value, field)
            if expected_type is not None and not isinstance(actual, expected_type):
                yield f"{field} of {type(value).__name__} is {actual!r}, which is no {annotation}", ""


def _wrong_elements(value: Any) -> Iterator[tuple[str, str]]:
    """Yield each field that is not a tuple of its class, also in nested records."""
    for kind, fields in _ELEMENTS.items():
        if not isinstance(value, kind):
            continue
        for field, expected_type in fields.items():
            elements = getattr(value, field)
            location = f"{field} of {type(value).__name__}"
            if not isinstance(elements, tuple):
                actual = type(elements).__name__
                yield (
                    f"{location} is {actual}, not a tuple of {expected_type.__name__}",
                    "a tuple of one: (ELEMENT,)",
                )
                return
            for element in elements:
                if not isinstance(element, expected_type):
                    yield f"{location} has {element!r}, which is no {expected_type.__name__}", ""
                    return
                yield from _wrong_values(element)
                yield from _wrong_elements(element)


def _wrong_columns(columns: tuple[Column, ...], others: tuple[Column, ...]) -> Iterator[tuple[str, str]]:
    names = [column.name for column in columns]
    other_names = [other.name for other in others]
    for column in columns:
        if not isinstance(column.name, str) or not _NAME.fullmatch(column.name):
            yield f"column {column.name!r} has an invalid name", "lower-case letters, digits and _"
        if names.count(column.name) > 1:
            yield f"two columns are called {column.name!r}", ""
        for part in column.ratio or ():
            if part == column.name or (part not in names and part not in other_names):
                yield (
                    f"column {column.name!r} is a ratio of {part!r}, which is no other column",
                    suggest_near(part, names + other_names),
                )
