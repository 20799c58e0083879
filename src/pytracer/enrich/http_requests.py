"""Decode the first lines of HTTP/1 requests (RFC 9112): of any bytes."""

from __future__ import annotations

from pytracer.text import from_bytes

_VERSION = b" HTTP/1."


def http_method(line: bytes) -> str:
    """Decode the method of a request: ``GET / HTTP/1.1`` -> ``GET``."""
    return from_bytes(line.partition(b" ")[0].partition(b"\0")[0])


def http_path(line: bytes) -> str:
    """Decode the target of a request: ``GET /a?b HTTP/1.1`` -> ``/a?b``."""
    target = line.partition(b" ")[2]
    return from_bytes(target.rpartition(_VERSION)[0] if _VERSION in target else target)
