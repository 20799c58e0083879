"""The alternatives of tracers that see the returns of a few system calls."""

from __future__ import annotations

import pytest

from support.cli import run
from support.needs import refused

ALL = ("fexit", "call-tracepoints", "raw-tracepoint", "tracepoint")
"""The alternatives of the hook ``return``, best first."""
ALTERNATIVES = (
    pytest.param("fexit", marks=pytest.mark.smoke),
    "call-tracepoints",
    "raw-tracepoint",
    pytest.param("tracepoint", marks=pytest.mark.smoke),
)
NATIVE_ONLY = "call-tracepoints"
"""The alternative that does not see calls of 32-bit programs."""


def granted(tracer: str, alternative: str, *words: str) -> bool:
    """Return whether a tracer's hook ``return`` has this alternative here; what is refused must be so by
    right."""
    result = run(tracer, *words, "--dry-run", "--hook", f"return={alternative}")
    return not refused(result, {"return": alternative})
