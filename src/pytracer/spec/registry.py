"""Which tracers there are: the modules of ``pytracer.tracers`` and the entry points of that group.

Nothing registers itself at import and there is no list to edit: a module with a ``TRACER`` is a tracer.
"""

from __future__ import annotations

import importlib
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
    if name in _own():
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
    package = importlib.import_module(GROUP)
    files = (file for folder in package.__path__ for file in Path(folder).glob("[!_]*.py"))
    return [file.stem for file in files]


def _foreign() -> dict[str, EntryPoint]:
    import importlib.metadata  # as long to load as all of pytracer: only where a name is not its own

    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
