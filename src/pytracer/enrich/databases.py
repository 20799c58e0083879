"""Decode which database ran a query, and how it ended."""

from __future__ import annotations

_DATABASES = ("postgresql", "sqlite", "mariadb")
"""``enum pt_server`` of probes_c/include/queries.h."""
_STATUSES = ("ok", "failed")


def database(number: int) -> str:
    """Decode a kind of database: ``1`` -> ``sqlite``."""
    return _DATABASES[number] if number < len(_DATABASES) else f"database_{number}"


def query_status(number: int) -> str:
    """Decode the end of a query: ``1`` -> ``failed``."""
    return _STATUSES[number] if number < len(_STATUSES) else f"status_{number}"
