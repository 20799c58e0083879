"""pytracer: trace a running Linux kernel and the programs on it, with BCC underneath.

``pytracer.open`` starts a trace from Python and yields items: Batch (events), Snapshot (a table),
StackSnapshot, Histograms, ProfileSnapshot, Loss. Errors derive from PytracerError; :mod:`pytracer.errors` has
the tree and the exit status that the command line gives each. docs/python.md is the guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytracer.api import Trace, list_tracers, open, script
    from pytracer.errors import (
        AttachError,
        BuildError,
        CacheError,
        HeadersError,
        LossError,
        NoProbesError,
        NotPermittedError,
        PolicyError,
        ProbeSpecError,
        PytracerError,
        ResourcesError,
        SchemaError,
        ToolchainError,
        UnknownNameError,
        UnknownOptionError,
        UnprobeableError,
        UnreadableCodeError,
        UnsupportedError,
        UsageError,
        VerifierError,
    )
    from pytracer.model import Batch, Histograms, Item, Loss, ProfileSnapshot, Schema, Snapshot, StackSnapshot

__version__ = "0.1.0"
_HOMES = {
    "api": ("Trace", "list_tracers", "open", "script"),
    "model": (
        "Batch",
        "Histograms",
        "Item",
        "Loss",
        "ProfileSnapshot",
        "Schema",
        "Snapshot",
        "StackSnapshot",
    ),
    "errors": (
        "AttachError",
        "BuildError",
        "CacheError",
        "HeadersError",
        "LossError",
        "NotPermittedError",
        "PolicyError",
        "PytracerError",
        "NoProbesError",
        "ProbeSpecError",
        "ResourcesError",
        "SchemaError",
        "ToolchainError",
        "UnknownNameError",
        "UnknownOptionError",
        "UnprobeableError",
        "UnreadableCodeError",
        "UnsupportedError",
        "UsageError",
        "VerifierError",
    ),
}
__all__ = [
    "AttachError",
    "Batch",
    "BuildError",
    "CacheError",
    "HeadersError",
    "Histograms",
    "Item",
    "Loss",
    "LossError",
    "NoProbesError",
    "NotPermittedError",
    "PolicyError",
    "ProbeSpecError",
    "ProfileSnapshot",
    "PytracerError",
    "ResourcesError",
    "Schema",
    "SchemaError",
    "Snapshot",
    "StackSnapshot",
    "ToolchainError",
    "Trace",
    "UnknownNameError",
    "UnknownOptionError",
    "UnprobeableError",
    "UnreadableCodeError",
    "UnsupportedError",
    "UsageError",
    "VerifierError",
    "__version__",
    "list_tracers",
    "open",
    "script",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line starts without the API."""
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"pytracer.{home}"), name)
    raise AttributeError(f"module 'pytracer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
