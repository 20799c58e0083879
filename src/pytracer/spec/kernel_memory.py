"""Hooks where the kernel allocates and frees its own memory."""

from __future__ import annotations

from pytracer.spec.hooks import Alternative, Hook, RawTracepoint

_FREED = tuple(RawTracepoint("freed", event=event) for event in ("kfree", "kmem_cache_free"))
_KMALLOC, _CACHE = ("kmalloced", "kmalloc"), ("allocated", "kmem_cache_alloc")
_ON_NODES = (("kmalloced", "kmalloc_node"), ("allocated", "kmem_cache_alloc_node"))

ALLOCATION = Hook(
    "allocation",
    "the kernel allocates objects and frees them",
    (
        # The cache came with Linux 5.19 (b347aa7b5747); the events for nodes went with 6.1 (11e9734bcb6a).
        Alternative(
            "raw-tracepoint",
            (
                RawTracepoint(_KMALLOC[0], event=_KMALLOC[1], arguments=6),
                RawTracepoint(_CACHE[0], event=_CACHE[1], arguments=5),
                *_FREED,
            ),
        ),
        Alternative(
            "raw-tracepoint-nodes",
            tuple(RawTracepoint(program, event=event) for program, event in (_KMALLOC, _CACHE, *_ON_NODES))
            + _FREED,
        ),
    ),
)
"""Objects of kmalloc (``kmalloced``) and of slab caches (``allocated``), until they are ``freed``."""

PAGES = Hook(
    "pages",
    "the kernel allocates pages and frees them",
    (
        Alternative(
            "raw-tracepoint",
            tuple(RawTracepoint(f"page_{end}", event=f"mm_page_{end}") for end in ("alloc", "free")),
        ),
    ),
)
"""Pages (``page_alloc``), until they are freed (``page_free``)."""
