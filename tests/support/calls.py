"""The alternatives of tracers that see the returns of a few system calls."""

from __future__ import annotations

import pytest

from pytracer.kernel import tracefs
from support.cli import run
from support.needs import was_refused

ALL = ("fexit", "call-tracepoints", "raw-tracepoint", "tracepoint")
"""The alternatives of the hook ``return``, best first."""
ALTERNATIVES = (
    pytest.param("fexit", marks=pytest.mark.smoke),
    "call-tracepoints",
    "raw-tracepoint",
    pytest.param("tracepoint", marks=pytest.mark.smoke),
)
BY_CALL = ALL[:2]
"""Those of them that see single calls, by their functions or their own trace events."""
NATIVE_ONLY = "call-tracepoints"
"""The alternative that does not see calls of 32-bit programs."""


def has_event(call: str) -> bool:
    """Return whether the kernel has a trace event for the return of a call, and so the call."""
    return (tracefs.root() / "events/syscalls" / f"sys_exit_{call}").is_dir()


def is_granted(tracer: str, alternative: str, *words: str) -> bool:
    """Return whether a tracer's hook ``return`` has this alternative here. A refusal must be one that
    support/needs.py declares."""
    result = run(tracer, *words, "--dry-run", "--hook", f"return={alternative}")
    return not was_refused(result, {"return": alternative})
