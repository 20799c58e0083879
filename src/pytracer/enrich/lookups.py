"""Decode the result of a host name look-up."""

from __future__ import annotations

import socket

_ERRORS = {
    number: name
    for name, number in vars(socket).items()
    if name.startswith("EAI_") and isinstance(number, int) and name != "EAI_MAX"
}


def lookup_result(number: int) -> str:
    """Decode a result: ``0`` -> ``ok``, ``-2`` -> ``EAI_NONAME``, ``1`` -> ``failed`` (all that
    gethostbyname says)."""
    if number >= 0:
        return "failed" if number else "ok"
    return _ERRORS.get(number, f"EAI_{-number}")
