"""What a failed attachment means."""

from __future__ import annotations

from collections.abc import Iterable

from pytracer.errors import AttachError, PytracerError, ResourcesError
from pytracer.kernel import policy


def attach_error(error: OSError, what: str, *, needed: Iterable[str] = policy.TRACING) -> PytracerError:
    """The error for ``what`` that could not be attached.

    NotPermittedError, PolicyError or UnsupportedError where the errno says so, else AttachError with the
    errno in words. ``needed`` are the capabilities that the attachment takes.
    """
    reached = policy.explain(error, what, needed=needed)
    if type(reached) in (PytracerError, ResourcesError):
        return AttachError(f"cannot attach to {reached.message}", hint=reached.hint)
    return reached
