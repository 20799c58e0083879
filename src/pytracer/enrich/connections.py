"""What happens to connections, by the codes of probes_c/tcptracer.c."""

from __future__ import annotations

from pytracer.enrich.errno import errno_name

_EVENTS = ("connect", "accept", "close", "fail")  # enum type


def connection_event(code: int) -> str:
    """``0`` -> ``connect``; ``event_N`` where there is none."""
    return _EVENTS[code] if code < len(_EVENTS) else f"event_{code}"


def connection_error(number: int) -> str:
    """``111`` -> ``ECONNREFUSED``; nothing for 0."""
    return errno_name(number) if number else ""
