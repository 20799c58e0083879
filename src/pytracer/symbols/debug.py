"""Find symbols that were stripped from a file: in a package, on a server, beside the file, or within it."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from pytracer.budget import Account
from pytracer.symbols import debuginfod, elf_tables
from pytracer.symbols.elf_tables import ElfError, Tables

ROOT = Path("/usr/lib/debug")
FOLDER = ROOT / ".build-id"
FURTHER = list[Path]()
"""Further folders with debug files, which the user names: as ``FILE.debug``, or below ``.build-id``.
A relative path counts from the folder of the file, else from our own."""
_PACKED = b".gnu_debugdata"  # an ELF file with the rest of .symtab, compressed: Fedora's way
_LINK = b".gnu_debuglink"  # the name of a file, and a CRC of all of it
_SHARED = b".gnu_debugaltlink"  # a path, and the build id of the file
_CHUNK = 1 << 20
_UNPACKED, _LZMA_LIMIT = 1 << 26, 1 << 27  # bytes: of what is unpacked, and of the dictionary that takes


@contextlib.contextmanager
def separate(build_id: str, account: Account) -> Iterator[Tables | None]:
    """Open the debug file with a build id (hexadecimal); None if there is none. The cost is charged to
    ``account``, the owner of the file that has the build id."""
    with contextlib.ExitStack() as resources:
        yield _open_by_build_id(build_id, account, resources)


@contextlib.contextmanager
def open_debug_file(file: Tables) -> Iterator[Tables | None]:
    """Open the debug file of a file, by build id or .gnu_debuglink; None if no debug file matches. The cost
    is charged to the file's account."""
    with contextlib.ExitStack() as resources:
        yield (
            _open_further(file, resources)
            or _open_by_build_id(file.build_id(), file.account, resources)
            or _open_by_link(file, resources)
        )


@contextlib.contextmanager
def unpack_symbols(file: Tables) -> Iterator[Tables | None]:
    """Unpack the symbols in .gnu_debugdata; None if there are none, or they cannot be unpacked."""
    section = file.section(_PACKED)
    tables, memory = None, -1
    try:
        if section is not None:
            import lzma  # few files have it

            with contextlib.suppress(ElfError, OSError, lzma.LZMAError):
                file.account.check()
                data = lzma.LZMADecompressor(memlimit=_LZMA_LIMIT).decompress(
                    file.content(section), _UNPACKED
                )
                memory = os.memfd_create("symbols", os.MFD_CLOEXEC)
                with open(memory, "wb", closefd=False) as output:
                    output.write(data)
                tables = elf_tables.read(memory, file.account)
        yield tables
    finally:
        if memory >= 0:
            os.close(memory)


@contextlib.contextmanager
def open_shared_file(file: Tables) -> Iterator[Tables | None]:
    """Open the file in which several share debug information (``dwz -m``); None if there is none, or it is
    not the one that was meant. The cost is charged to the file's account."""
    with contextlib.ExitStack() as resources:
        yield _open_by_alternate_link(file, resources)


def _open_by_alternate_link(file: Tables, resources: contextlib.ExitStack) -> Tables | None:
    with contextlib.suppress(ElfError, OSError):
        section = file.section(_SHARED)
        data = file.content(section, 1 << 16) if section is not None else b""
        name, _, build_id = data.partition(b"\0")
        if not name or not build_id:
            return None
        folder = Path(f"/proc/self/fd/{file.descriptor}").readlink().parent
        debug_file = _open(folder / os.fsdecode(name), file.account, resources)
        if debug_file is not None and _has_build_id(debug_file, build_id.hex()):
            return debug_file
        return _open_by_build_id(build_id.hex(), file.account, resources)  # as debuginfod has it
    return None


def _open_further(file: Tables, resources: contextlib.ExitStack) -> Tables | None:
    """Search the folders that the user names; the build id must match."""
    if not FURTHER:
        return None
    with contextlib.suppress(ElfError, OSError):
        build_id = file.build_id()
        own_path = Path(f"/proc/self/fd/{file.descriptor}").readlink()
        name = own_path.name
        folders = [folder for further in FURTHER for folder in (own_path.parent / further, further)]
        for folder in folders if build_id else ():
            for path in (folder / f"{name}.debug", folder / f".build-id/{build_id[:2]}/{build_id[2:]}.debug"):
                debug_file = _open(path, file.account, resources)
                if debug_file is not None and _has_build_id(debug_file, build_id):
                    return debug_file
    return None


def _open_by_build_id(build_id: str, account: Account, resources: contextlib.ExitStack) -> Tables | None:
    if not build_id:
        return None
    installed = FOLDER / build_id[:2] / f"{build_id[2:]}.debug"
    path = installed if installed.exists() else debuginfod.find(build_id, account)
    debug_file = _open(path, account, resources) if path is not None else None
    return debug_file if debug_file is not None and _has_build_id(debug_file, build_id) else None


def _open_by_link(file: Tables, resources: contextlib.ExitStack) -> Tables | None:
    """Search as GDB does: beside the file, in .debug there, and below /usr/lib/debug. The CRC must match."""
    with contextlib.suppress(ElfError, OSError):
        section = file.section(_LINK)
        data = file.content(section, 1 << 16) if section is not None else b""
        name, _, remainder = data.partition(b"\0")
        checksum_offset = (len(name) + 4) // 4 * 4
        if not name or b"/" in name or len(data) < checksum_offset + 4 or not remainder:
            return None
        checksum = int.from_bytes(
            data[checksum_offset : checksum_offset + 4], "little" if elf_tables.LITTLE else "big"
        )
        folder = Path(f"/proc/self/fd/{file.descriptor}").readlink().parent
        link_name = os.fsdecode(name)
        identity, build_id = os.fstat(file.descriptor), file.build_id()
        for path in (
            folder / link_name,
            folder / ".debug" / link_name,
            ROOT / str(folder).lstrip("/") / link_name,
        ):
            debug_file = _open(path, file.account, resources)
            if debug_file is None or os.path.samestat(os.fstat(debug_file.descriptor), identity):
                continue
            with contextlib.suppress(ElfError, OSError):
                is_match = not build_id or debug_file.build_id() in ("", build_id)
                if is_match and _compute_crc(debug_file) == checksum:
                    return debug_file
    return None


def _open(path: Path, account: Account, resources: contextlib.ExitStack) -> Tables | None:
    with contextlib.suppress(ElfError, OSError):
        if path.is_file():
            return elf_tables.read(resources.enter_context(path.open("rb", buffering=0)).fileno(), account)
    return None


def _has_build_id(file: Tables, build_id: str) -> bool:
    with contextlib.suppress(ElfError, OSError):
        return file.build_id() == build_id
    return False


def _compute_crc(file: Tables) -> int:
    checksum, offset = 0, 0
    while part := os.pread(file.descriptor, _CHUNK, offset):
        file.account.check()
        checksum, offset = zlib.crc32(part, checksum), offset + len(part)
    return checksum
