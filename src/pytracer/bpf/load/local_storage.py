"""Types for maps that keep values with the kernel's own objects (tasks, sockets, inodes, cgroups).

The kernel makes them only where BTF says what keys and values are. It looks at no more than that the key is
an int and the value as large as is said.
"""

from __future__ import annotations

import struct

from pytracer.bpf.sys import btf_load
from pytracer.kernel.btf_format import KIND_SHIFT, BtfKind

_SIGNED = 1 << 24


def storage_types(size: int) -> int:
    """A descriptor of two types: 1 is an int, 2 is a struct of so many bytes. Raises OSError."""
    names = b"\0int\0value\0"
    key = struct.pack("=IIII", 1, BtfKind.INT << KIND_SHIFT, 4, _SIGNED | 32)
    value = struct.pack("=III", 5, BtfKind.STRUCT << KIND_SHIFT, size)
    length = len(key + value)
    head = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, length, length, len(names))
    return btf_load(head + key + value + names)
