"""Find the targets of the user's pattern on this machine: functions, trace events, USDT probes.

Each kind of source has a module, which is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from pytracer.kernel.facts import FoundTargets
from pytracer.spec import Source

_FILES = {
    "k": "kernel_functions",
    "kr": "kernel_functions",
    "f": "kernel_functions",
    "fr": "kernel_functions",
    "lsm": "security_hooks",
    "t": "trace_events",
    "rt": "trace_events",
    "u": "user_functions",
    "ur": "user_functions",
    "usdt": "user_functions",
}


def find(source: Source) -> FoundTargets:
    """Find the targets of a source here. Raises the errors of :meth:`pytracer.kernel.facts.Facts.find`."""
    module = importlib.import_module(f"pytracer.targets.{_FILES[source.kind]}")
    finder: Callable[[Source], FoundTargets] = module.find
    return finder(source)
