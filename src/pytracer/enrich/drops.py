"""Decode the reasons for which the kernel drops packets, and the functions that drop them."""

from __future__ import annotations

from collections.abc import Callable

from pytracer.arrays import np
from pytracer.enrich.enums import enum_names
from pytracer.kernel.btf import Btf
from pytracer.symbols.kernel import KernelSymbols

_ENUM = "skb_drop_reason"
_PREFIX = "SKB_DROP_REASON_"
_SUBSYSTEM = 16  # bits: SKB_DROP_REASON_SUBSYS_SHIFT


def drop_reason_decoder(load: Callable[[], Btf] = Btf.load) -> Callable[[int], str]:
    """Make a decoder of ``enum skb_drop_reason`` by this kernel's types: numbers differ between releases.

    ``3`` -> ``NO_SOCKET``; ``reason_N`` if it has no name, ``subsystem_N_reason_N`` if a module gave it.
    """
    cache: dict[int, str] = {}

    def decode(number: int) -> str:
        if not cache:
            cache.update(_read_reasons(load))
        if number >> _SUBSYSTEM:
            return f"subsystem_{number >> _SUBSYSTEM}_reason_{number & 0xFFFF}"
        return cache.get(number) or f"reason_{number}"

    return decode


def function_decoder() -> Callable[[int], str]:
    """Make a decoder of kernel code addresses: the function's name, ``0x...`` if it is unknown."""
    symbols = KernelSymbols()

    def decode(address: int) -> str:
        # It is where a call returns to, which may be the next function already.
        return symbols.names(np.array([max(address, 1) - 1], np.uint64))[0]

    return decode


def _read_reasons(load: Callable[[], Btf]) -> dict[int, str]:
    named = enum_names(load, _ENUM).items()
    return {-1: ""} | {value: name.removeprefix(_PREFIX).removeprefix("SKB_") for value, name in named}
