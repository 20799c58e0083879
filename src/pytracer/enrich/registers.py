"""What registers hold: nobody knows of what type it is."""

from __future__ import annotations

import struct
from typing import Any


def register(value: Any) -> str:
    """One register."""
    return f"{value:#x}"


def registers(values: bytes) -> str:
    """Several, as the bytes that the C copied: ``0x3, 0x7ffc0a10, 0x400``."""
    return ", ".join(f"{value:#x}" for (value,) in struct.iter_unpack("=Q", values))
