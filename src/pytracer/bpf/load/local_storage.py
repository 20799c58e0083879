"""BTF types for maps with local storage of tasks, sockets, inodes and cgroups.

The kernel creates such maps only with BTF types for keys and values. It checks only that the key is an int
and that the value's size is right.
"""

from __future__ import annotations

import struct

from pytracer.bpf.sys import btf_load
from pytracer.kernel.btf_format import KIND_SHIFT, BtfKind

_SIGNED = 1 << 24


def storage_types(size: int) -> int:
    """Load BTF with two types: 1 is an int, 2 a struct of ``size`` bytes. Returns its descriptor. Raises
    OSError."""
    names = b"\0int\0value\0"
    key = struct.pack("=IIII", 1, BtfKind.INT << KIND_SHIFT, 4, _SIGNED | 32)
    value = struct.pack("=III", 5, BtfKind.STRUCT << KIND_SHIFT, size)
    length = len(key + value)
    head = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, length, length, len(names))
    return btf_load(head + key + value + names)
