"""Decode classic BPF and run it as the kernel would: the action of a filter for a system call."""

from __future__ import annotations

import struct
from collections.abc import Sequence

NATIVE, I386, ARM64 = 0xC000003E, 0x40000003, 0xC00000B7  # AUDIT_ARCH_*
_LOAD, _RETURN, _JUMP = 0x20, 0x06, 0x05
_COMPARE = {0x15: int.__eq__, 0x25: int.__gt__, 0x35: int.__ge__, 0x45: lambda a, k: bool(a & k)}
_COMPUTE = {0x54: int.__and__, 0x44: int.__or__}


def decode(program: bytes) -> list[tuple[int, int, int, int]]:
    """Decode the instructions: (code, jt, jf, k)."""
    return list(struct.iter_unpack("=HBBI", program))


def run(program: Sequence[tuple[int, int, int, int]], data: bytes) -> int:
    """Return the program's result for ``data``, whose words are in this machine's order."""
    index = a = 0
    while True:
        code, jt, jf, k = program[index]
        index += 1
        if code == _LOAD:
            assert k % 4 == 0
            (a,) = struct.unpack_from("=I", data, k)
        elif code == _RETURN:
            return k
        elif code == _JUMP:
            index += k
        elif code in _COMPARE:
            index += jt if _COMPARE[code](a, k) else jf
        else:
            a = _COMPUTE[code](a, k)


def call(number: int, arch: int = NATIVE, args: Sequence[int] = ()) -> bytes:
    """Return a ``struct seccomp_data``."""
    words = [*args, *[0] * (6 - len(args))]
    return struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0x7FFFF7DD, *words)
