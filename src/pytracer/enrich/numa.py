"""Decode why threads and pages are moved between memory nodes."""

from __future__ import annotations

from collections.abc import Callable

from pytracer.enrich.enums import enum_decoder
from pytracer.kernel.btf import Btf

_THREADS = {1 << 16: "thread_move", (1 << 16) + 1: "thread_swap"}
"""numamove.c's numbers, above those of the kernel's enum."""


def numa_cause_decoder(load: Callable[[], Btf] = Btf.load) -> Callable[[int], str]:
    """Make a decoder of the causes of moves: of threads, and of pages by ``enum migrate_reason``."""
    reason = enum_decoder("migrate_reason", "MR_", "reason", load)

    def decode(cause: int) -> str:
        return _THREADS.get(cause) or reason(cause)

    return decode
