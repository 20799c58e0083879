"""Name the flags of memory allocations (gfp_t), as the kernel's own messages do."""

from __future__ import annotations

_RECLAIM, _IO, _FS, _HARDWALL, _HIGHMEM, _MOVABLE, _ACCOUNT = 0xC00, 0x40, 0x80, 0x100000, 2, 8, 0x400000
_KERNEL = _RECLAIM | _IO | _FS
_MOVABLE_USER = _KERNEL | _HARDWALL | _HIGHMEM | _MOVABLE
_HUGE = (_MOVABLE_USER | 0x40000 | 0x80000 | 0x2000) & ~_RECLAIM  # __GFP_COMP, __GFP_NOMEMALLOC, __GFP_NOWARN
_NAMES = (
    ("GFP_TRANSHUGE", _HUGE | 0x400),
    ("GFP_TRANSHUGE_LIGHT", _HUGE),
    ("GFP_HIGHUSER_MOVABLE", _MOVABLE_USER),
    ("GFP_HIGHUSER", _KERNEL | _HARDWALL | _HIGHMEM),
    ("GFP_USER", _KERNEL | _HARDWALL),
    ("GFP_KERNEL_ACCOUNT", _KERNEL | _ACCOUNT),
    ("GFP_KERNEL", _KERNEL),
    ("GFP_NOFS", _RECLAIM | _IO),
    ("GFP_ATOMIC", 0xA20),  # with __GFP_ATOMIC, until Linux 6.3
    ("GFP_ATOMIC", 0x820),
    ("GFP_NOIO", _RECLAIM),
    ("GFP_NOWAIT", 0x800),
    ("GFP_DMA", 0x1),
    ("GFP_DMA32", 0x4),
)
_BITS = (
    *("DMA", "HIGHMEM", "DMA32", "MOVABLE", "RECLAIMABLE", "HIGH"),
    *("IO", "FS", "ZERO", "ATOMIC", "DIRECT_RECLAIM", "KSWAPD_RECLAIM"),
    *("WRITE", "NOWARN", "RETRY_MAYFAIL", "NOFAIL", "NORETRY", "MEMALLOC"),
    *("COMP", "NOMEMALLOC", "HARDWALL", "THISNODE", "ACCOUNT", "ZEROTAGS"),
)
"""By bit, names that kernels since Linux 5.10 agree on; what later bits mean depends on how one was built."""


def name_gfp_flags(flags: int) -> str:
    """Return the names of flags, joined by ``|``; the rest as a number."""
    parts = list[str]()
    for name, bits in (*_NAMES, *((f"__GFP_{name}", 1 << bit) for bit, name in enumerate(_BITS))):
        if flags & bits == bits:
            parts.append(name)
            flags &= ~bits
    if flags or not parts:
        parts.append(f"{flags:#x}" if flags else "0")
    return "|".join(parts)
