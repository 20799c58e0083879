"""Decode enums by this kernel's types: their numbers differ between releases."""

from __future__ import annotations

from collections.abc import Callable

from pytracer.errors import PytracerError
from pytracer.kernel.btf import Btf, BtfKind


def enum_names(load: Callable[[], Btf], enum: str) -> dict[int, str]:
    """Return the enumerators' names by value; none if the kernel has no such enum, or no BTF."""
    try:
        btf = load()
    except (OSError, PytracerError):
        return {}
    type_id = btf.find(BtfKind.ENUM, enum)
    return {value: name for name, value in btf.enumerators(type_id)} if type_id is not None else {}


def enum_decoder(
    enum: str, prefix: str, unnamed: str, load: Callable[[], Btf] = Btf.load
) -> Callable[[int], str]:
    """Make a decoder of an enum whose enumerators begin with ``prefix``: ``WB_REASON_SYNC`` -> ``sync``;
    ``unnamed`` and the number if it has no name."""
    cache: dict[int, str] = {}

    def decode(number: int) -> str:
        if not cache:
            cache.update({-1: ""} | enum_names(load, enum))
        name = cache.get(number)
        return name.removeprefix(prefix).lower() if name else f"{unnamed}_{number}"

    return decode
