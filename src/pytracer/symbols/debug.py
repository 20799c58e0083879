"""Symbols that were taken out of a file: a package of the distribution's, a server's, or packed within it."""

from __future__ import annotations

import contextlib
import lzma
import os
from collections.abc import Iterator
from pathlib import Path

from pytracer.budget import Account
from pytracer.symbols import debuginfod, tables
from pytracer.symbols.tables import ElfError, Tables

FOLDER = Path("/usr/lib/debug/.build-id")
_PACKED = b".gnu_debugdata"  # an ELF file with the rest of .symtab, compressed: Fedora's way

_UNPACKED, _LZMA_LIMIT = 1 << 26, 1 << 27  # bytes: of what is unpacked, and of the dictionary that takes


@contextlib.contextmanager
def separate(build_id: str, account: Account) -> Iterator[Tables | None]:
    """The file with the symbols that belong to a build id (hexadecimal); None where there is none. What it
    takes is charged to ``account``: the build id is of a file of theirs."""
    with contextlib.ExitStack() as held:
        found = None
        if build_id:
            installed = FOLDER / build_id[:2] / f"{build_id[2:]}.debug"
            path = installed if installed.exists() else debuginfod.find(build_id, account)
            if path is not None:
                with contextlib.suppress(ElfError, OSError):
                    file = held.enter_context(path.open("rb", buffering=0))
                    found = tables.read(file.fileno(), account)
        yield found if found is not None and found.build_id() == build_id else None


@contextlib.contextmanager
def packed(file: Tables) -> Iterator[Tables | None]:
    """The file of symbols that is packed in a file; None where there is none, or it cannot be unpacked."""
    section = file.section(_PACKED)
    found, memory = None, -1
    try:
        if section is not None:
            with contextlib.suppress(ElfError, OSError, lzma.LZMAError):
                file.account.check()
                data = lzma.LZMADecompressor(memlimit=_LZMA_LIMIT).decompress(
                    file.content(section), _UNPACKED
                )
                memory = os.memfd_create("symbols", os.MFD_CLOEXEC)
                with open(memory, "wb", closefd=False) as written:
                    written.write(data)
                found = tables.read(memory, file.account)
        yield found
    finally:
        if memory >= 0:
            os.close(memory)
