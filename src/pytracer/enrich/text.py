"""Strings from the kernel: bytes that anybody may have chosen."""

from __future__ import annotations


def text(value: bytes) -> str:
    """Bytes up to the first NUL as text; what is no UTF-8 is written ``\\xNN``."""
    return value.partition(b"\0")[0].decode("utf-8", "backslashreplace")
