"""What came of the look-up of a host name."""

from __future__ import annotations

import socket

_ERRORS = {
    number: name
    for name, number in vars(socket).items()
    if name.startswith("EAI_") and isinstance(number, int) and name != "EAI_MAX"
}


def lookup_result(number: int) -> str:
    """``0`` -> ``ok``, ``-2`` -> ``EAI_NONAME``, ``1`` -> ``failed`` (gethostbyname says no more)."""
    if number >= 0:
        return "failed" if number else "ok"
    return _ERRORS.get(number, f"EAI_{-number}")
