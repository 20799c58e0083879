"""Explain failed attachments."""

from __future__ import annotations

from collections.abc import Iterable

from pytracer.errors import AttachError, PytracerError, ResourcesError
from pytracer.kernel import policy


def attach_error(error: OSError, what: str, *, needed: Iterable[str] = policy.TRACING) -> PytracerError:
    """Return the error for a failed attachment to ``what``.

    It is a NotPermittedError, PolicyError or UnsupportedError if the errno says so, else an AttachError with
    the errno's text. ``needed`` are the capabilities that the attachment requires.
    """
    reached = policy.explain(error, what, needed=needed)
    if type(reached) in (PytracerError, ResourcesError):
        return AttachError(f"cannot attach to {reached.message}", hint=reached.hint)
    return reached
