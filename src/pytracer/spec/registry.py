"""Which tracers there are: the modules of ``pytracer.tracers`` and the entry points of that group.

Nothing registers itself at import and there is no list to edit: a module with a ``TRACER`` is a tracer.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from pytracer.errors import UnknownNameError
from pytracer.spec.tracer import Tracer

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "pytracer.tracers"


def names() -> list[str]:
    """The names of all tracers, sorted. Imports none of them."""
    return sorted({*_own(), *_foreign()})


def get(name: str) -> Tracer:
    """The tracer called ``name``. Raises UnknownNameError with near names."""
    module: object
    if name.isidentifier() and any(path.stem == name for path in _files(f"{name}.py")):
        module = importlib.import_module(f"{GROUP}.{name}")
    elif name in _foreign():
        module = _foreign()[name].load()
    else:
        raise UnknownNameError("tracer", name, names(), hint="")
    tracer = getattr(module, "TRACER", module) if isinstance(module, ModuleType) else module
    if not isinstance(tracer, Tracer):
        raise UnknownNameError("tracer", name, (), hint=f"the module of {name} declares no TRACER")
    return tracer


def all_tracers() -> list[Tracer]:
    """Every tracer, sorted by name."""
    return [get(name) for name in names()]


def _own() -> list[str]:
    return [file.stem for file in _files("*.py")]


def _files(pattern: str) -> Iterator[Path]:
    """The modules of the package whose file is called so."""
    package = importlib.import_module(GROUP)
    for folder in package.__path__:
        yield from (file for file in Path(folder).glob(pattern) if not file.name.startswith("_"))


def _foreign() -> dict[str, EntryPoint]:
    import importlib.metadata  # as long to load as all of pytracer: only where a name is not its own

    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
