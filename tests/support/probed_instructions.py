"""List instructions of each class that the kernel distinguishes before it places a uprobe."""

from __future__ import annotations

# Its bytes, whether as 64-bit code, and whether the kernel refuses it.
INSTRUCTIONS = [
    ("c3", True, False),
    ("f3 c3", True, False),
    ("f2 c3", True, False),
    ("f3 0f 1e fa", True, False),  # endbr64
    ("3e ff e0", True, True),  # notrack jmp rax
    ("f0 ff 0f", True, True),
    ("26 01 00", True, True),
    ("2e 0f 1f 00", True, True),
    ("36 01 00", True, True),
    ("64 8b 04 25 00 00 00 00", True, False),
    ("67 01 00", True, False),
    ("66 01 00", True, False),
    ("c5 f9 ef c0", True, True),  # vpxor: looked up as one byte
    ("c5 f8 58 c0", True, False),  # vaddps
    ("c4 e2 79 17 c1", True, True),  # vptest
    ("c4 e2 79 18 c1", True, False),  # vbroadcastss
    ("62 f1 fd 48 6f c0", True, True),  # vmovdqa64
    ("62 f1 7c 48 58 c0", True, False),
    ("66 e9 00 00", True, True),
    ("66 e8 00 00", True, True),
    ("66 74 00", True, True),
    ("66 0f 84 00 00", True, True),
    ("0f 84 00 00 00 00", True, False),
    ("e8 00 00 00 00", True, False),
    ("eb 00", True, False),
    ("e2 00", True, False),  # loop
    ("8e d0", True, True),  # mov ss, eax
    ("8e d8", True, False),
    ("cc", True, True),
    ("cd 80", True, True),
    ("f1", True, True),
    ("f4", True, True),
    ("fa", True, True),
    ("cf", True, True),
    ("6c", True, True),
    ("48 ec", True, True),
    ("e6 00", True, True),
    ("0f 05", True, False),
    ("0f 0b", True, False),
    ("ff 25 00 00 00 00", True, False),
    ("cb", True, False),
    ("1e", True, True),
    ("1e", False, False),  # push ds
    ("1f", False, True),
    ("60", False, False),  # pusha
    ("62 01", False, False),  # bound
    ("40", False, False),
    ("c5 f9 ef c0", False, True),
    ("c5 f9 d4 c0", False, False),  # vpaddq: 0xd4 is aam there
]
