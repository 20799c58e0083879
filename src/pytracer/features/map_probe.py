"""Test whether the kernel has a type of maps, by creating a small one."""

from __future__ import annotations

import contextlib
import os
import resource
import struct

from pytracer.bpf.load import local_storage
from pytracer.bpf.sys import LOCAL_STORAGE, Command, bpf
from pytracer.features.table.map_types import PAGE, MapTypeFeature
from pytracer.kernel import policy

_OF_MAPS, _STRUCT_OPS = (12, 13), 26  # enum bpf_map_type


def create_map(feature: MapTypeFeature) -> str:
    """Create a small map of a type and close it. Returns a note. Raises OSError if the kernel refuses."""
    number, value = feature.number, feature.value_size
    with contextlib.ExitStack() as resources:
        inner, btf = 0, (0, 0, 0)
        if number in _OF_MAPS:
            inner = bpf(Command.MAP_CREATE, struct.pack("IIII", 2, 4, 4, 1))
            resources.callback(os.close, inner)
        if number in LOCAL_STORAGE:
            btf = (local_storage.storage_types(value), 1, 2)
            resources.callback(os.close, btf[0])
        struct_type = 1 if number == _STRUCT_OPS else 0  # any: no type of that number has operations
        entries = resource.getpagesize() if feature.entries == PAGE else feature.entries
        attr = struct.pack("IIIIII", number, feature.key_size, value, entries, feature.flags, inner)
        attr = attr.ljust(48, b"\0") + struct.pack("IIII", *btf, struct_type)
        try:
            os.close(bpf(Command.MAP_CREATE, attr))
        except OSError as error:
            if error.errno != policy.ENOTSUPP:  # known, but needs a struct of the kernel's BTF
                raise
            return "known; needs a struct of the kernel's BTF"
    return ""
