"""Explain failed attachments."""

from __future__ import annotations

from collections.abc import Iterable

from pytracer.errors import AttachError, PytracerError, ResourcesError
from pytracer.kernel import policy


def make_attach_error(
    error: OSError, target: str, *, capabilities: Iterable[str] = policy.TRACING
) -> PytracerError:
    """Return the error for a failed attachment to ``target``.

    It is a NotPermittedError, PolicyError or UnsupportedError if the errno says so, else an AttachError with
    the errno's text. ``capabilities`` are the capabilities that the attachment requires.
    """
    reason = policy.explain(error, target, capabilities=capabilities)
    if type(reason) in (PytracerError, ResourcesError):
        return AttachError(f"cannot attach to {reason.message}", hint=reason.hint)
    return reason
