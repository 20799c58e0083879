"""Test that the kernel refuses the instructions that pytracer calls unprobeable."""

from __future__ import annotations

import mmap

import pytest

from pytracer.errors import PytracerError
from pytracer.spec import ProbeSite
from pytracer.symbols import program_files
from pytracer.symbols.code import uprobe_limits
from support.elf_builder import build
from support.probed_instructions import INSTRUCTIONS
from support.uprobes import Counter

pytestmark = pytest.mark.kernel
_ROOM = 32


def test_the_kernel_refuses_these_instructions(tmp_path):
    """The kernel checks an instruction when a process that maps it is found: this one."""
    codes = [bytes.fromhex(text) for text, is_64, _ in INSTRUCTIONS if is_64]
    body = b"".join(code.ljust(_ROOM, b"\x90") for code in codes)
    path = tmp_path / "code.so"
    path.write_bytes(build()[:0x1000] + body.ljust(0x1000, b"\x90"))
    refused = set()
    with path.open("rb") as binary, program_files.find(str(path)) as file, Counter() as counter:
        mapped = mmap.mmap(binary.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC)
        for index, code in enumerate(codes):
            try:
                counter.attach(file, [ProbeSite(code.hex(), 0x1000 + index * _ROOM)])
            except PytracerError:
                refused.add(code)
        mapped.close()
    assert refused == {code for code in codes if uprobe_limits.refusal(code, is_64=True)}
