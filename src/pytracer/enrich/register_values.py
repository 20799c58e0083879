"""Decode register values, whose type is unknown."""

from __future__ import annotations

import struct
from typing import Any


def register(value: Any) -> str:
    """Format one register in hexadecimal."""
    return f"{value:#x}"


def registers(values: bytes) -> str:
    """Format registers, given the bytes that the C copied: ``0x3, 0x7ffc0a10, 0x400``."""
    return ", ".join(f"{value:#x}" for (value,) in struct.iter_unpack("=Q", values))
