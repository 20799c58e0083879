"""Instructions of a file's code, decoded by capstone."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pytracer.errors import UnreadableCodeError
from pytracer.record import record
from pytracer.symbols.files import ProgramFile


@record
class Instruction:
    """One instruction, ``offset`` bytes into the file. ``target`` is where a direct jump leads, else None."""

    offset: int
    size: int
    mnemonic: str
    operands: str

    @property
    def text(self) -> str:
        """As people write it."""
        return f"{self.mnemonic} {self.operands}".strip()

    @property
    def target(self) -> int | None:
        """The offset in the file that a direct jump or call leads to."""
        return int(self.operands, 16) if self.operands.startswith("0x") else None


def instructions(file: ProgramFile, start: int, end: int) -> Iterator[Instruction]:
    """Decode what stands between two offsets. Raises UnreadableCodeError where that is no code."""
    import capstone

    reader = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    at = start
    for at, size, mnemonic, operands in reader.disasm_lite(
        os.pread(file.descriptor, end - start, start), start
    ):
        yield Instruction(at, size, mnemonic, operands)
        at += size
    if at != end:
        raise UnreadableCodeError(f"{file.name} has no instruction at offset {at:#x}")
