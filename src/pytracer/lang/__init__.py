"""Parse and check probe specs of ``trace`` and ``argdist``, and write C for them.

Pure: what there is on a kernel comes in as a :class:`~pytracer.lang.scope.Scope`. The C is written from the
checked expression, of our own words and of numbers alone: no character that a user typed is in it.

See "Lang: what trace and argdist take" in docs/internals.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytracer.exports import import_on_use

if TYPE_CHECKING:
    from pytracer.lang.codegen import GeneratedProgram, generate
    from pytracer.lang.known_values import with_known_values
    from pytracer.lang.probe_spec import STARTED, ProbeSpec, ProbeSpecs, ResultField, ResultSlot
    from pytracer.lang.probe_spec_parser import parse_distribution, parse_pair, parse_trace
    from pytracer.lang.scope import Scope, TypeProvider

__all__ = [
    "STARTED",
    "GeneratedProgram",
    "ProbeSpec",
    "ProbeSpecs",
    "ResultField",
    "ResultSlot",
    "Scope",
    "TypeProvider",
    "generate",
    "parse_distribution",
    "parse_pair",
    "parse_trace",
    "with_known_values",
]

__getattr__ = import_on_use(
    __name__,
    {
        "codegen": ("GeneratedProgram", "generate"),
        "known_values": ("with_known_values",),
        "probe_spec": ("STARTED", "ProbeSpec", "ProbeSpecs", "ResultField", "ResultSlot"),
        "probe_spec_parser": ("parse_distribution", "parse_pair", "parse_trace"),
        "scope": ("Scope", "TypeProvider"),
    },
)
