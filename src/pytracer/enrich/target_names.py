"""Decode target ids to the names that the user gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytracer.enrich.decode import Decoder


def target_decoder(names: Sequence[str]) -> Decoder:
    """Make a decoder of target ids to names."""

    def target(number: Any) -> str:
        return names[number] if 0 <= number < len(names) else f"unknown:{number}"

    return target
