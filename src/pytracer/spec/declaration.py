"""Check the declaration of a tracer, so that a mistake in it is one line that names the file.

Python checks no types, so a mistake in a declaration would otherwise show as an exception in the engine. The
registry checks tracers from outside the package; a unit test checks pytracer's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytracer.errors import UsageError, near
from pytracer.spec.columns import Column, Key
from pytracer.spec.filters import Filter
from pytracer.spec.hooks import Alternative, Hook, Probe
from pytracer.spec.options import Option
from pytracer.spec.outputs import Output, Table
from pytracer.spec.tracer import Tracer

_ELEMENTS: dict[type, dict[str, type]] = {
    Tracer: {
        "hooks": Hook,
        "outputs": Output,
        "options": Option,
        "filters": Filter,
        "keys": Key,
        "notes": str,
    },
    Hook: {"alternatives": Alternative},
    Alternative: {"probes": Probe},
    Output: {"columns": Column, "keys": Column},
    Key: {"columns": Column},
}
"""The class of the elements of each field that is a tuple."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def file_of(tracer: Tracer) -> str:
    """Return the file of a tracer's declaration, for messages."""
    folder = Path(tracer.source).parent if "/" in tracer.source else Path("tracers")
    return str(folder / f"{tracer.name}.py")


def check(tracer: Tracer, file: str = "") -> None:
    """Check what can be checked without compiling the C. Raises UsageError that names the file.

    A field that is a tuple has elements of its class; names of columns are valid and unique in an output;
    ratios and the sort column are columns.
    """
    for mistake, hint in _mistakes(tracer):
        raise UsageError(f"{file or file_of(tracer)}: {mistake}", hint=hint)


def explain(error: Exception, file: str) -> UsageError:
    """Describe an exception that the declaration in ``file`` raised: the line, and what is wrong."""
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
    yield from _wrong_elements(tracer)
    for key in tracer.keys:
        yield from _wrong_columns(key.columns, ())
    for output in tracer.outputs:
        others = tuple(column for key in tracer.keys for column in key.columns)
        if tracer.group_by is not None:
            others += tuple(column for key in tracer.group_by.keys for column in key.columns)
        yield from _wrong_columns((*output.keys, *output.columns), others)
        names = [column.name for column in (*output.columns, *output.keys, *others)]
        if isinstance(output, Table) and output.sort and output.sort not in names:
            yield f"the table is sorted by {output.sort!r}, which is no column", near(output.sort, names)


def _wrong_elements(value: Any) -> Iterator[tuple[str, str]]:
    """Yield each field that is not a tuple of its class, also in nested records."""
    for kind, fields in _ELEMENTS.items():
        if not isinstance(value, kind):
            continue
        for field, wanted in fields.items():
            elements = getattr(value, field)
            where = f"{field} of {type(value).__name__}"
            if not isinstance(elements, tuple):
                given = type(elements).__name__
                yield f"{where} is {given}, not a tuple of {wanted.__name__}", "a tuple of one: (ELEMENT,)"
                return
            for element in elements:
                if not isinstance(element, wanted):
                    yield f"{where} has {element!r}, which is no {wanted.__name__}", ""
                    return
                yield from _wrong_elements(element)


def _wrong_columns(columns: tuple[Column, ...], others: tuple[Column, ...]) -> Iterator[tuple[str, str]]:
    names = [column.name for column in columns]
    for column in columns:
        if not isinstance(column.name, str) or not _NAME.fullmatch(column.name):
            yield f"column {column.name!r} has an invalid name", "lower-case letters, digits and _"
        if names.count(column.name) > 1:
            yield f"two columns are called {column.name!r}", ""
        for part in column.ratio or ():
            if part not in names and part not in (known := [other.name for other in others]):
                yield (
                    f"column {column.name!r} is a ratio of {part!r}, which is no column",
                    near(part, names + known),
                )
