"""What users name, found on this machine: a function for each kind of source, loaded when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from pytracer.kernel.facts import Found
from pytracer.spec import Source

_FILES = {
    "k": "functions",
    "kr": "functions",
    "f": "functions",
    "fr": "functions",
    "t": "events",
    "rt": "events",
    "u": "programs",
    "ur": "programs",
    "usdt": "programs",
}


def find(source: Source) -> Found:
    """What a source names here. Raises what :meth:`pytracer.kernel.facts.Facts.find` says."""
    module = importlib.import_module(f"pytracer.bpf.find.{_FILES[source.kind]}")
    finder: Callable[[Source], Found] = module.find
    return finder(source)
