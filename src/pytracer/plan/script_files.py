"""Files that attach points of scripts name by a pattern: ``uprobe:/usr/lib/libssl*:SSL_read``."""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Iterator
from pathlib import Path

from pytracer.errors import UsageError
from pytracer.kernel.functions import address_of
from pytracer.lang.script.syntax import AttachPoint
from pytracer.plan.script_probes import SOURCES
from pytracer.record import replace

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[1-9]\d*")
_ELF = b"\x7fELF"


class UnresolvedAddressError(UsageError):
    """A file has no code at an address."""


def with_files(point: AttachPoint, process: int) -> list[AttachPoint]:
    """Return an attach point for each file that its pattern of files matches; other points as they are.

    ``*`` stands for the files that the traced ``process`` has mapped.
    """
    kind = SOURCES.get(point.parts[0])
    if kind in ("k", "kr") and len(point.parts) == 2 and _NUMBER.fullmatch(point.parts[1]):
        return [_resolve_kernel_address(point)]
    if kind in ("u", "ur") and len(point.parts) == 3 and _NUMBER.fullmatch(point.parts[2]):
        if "@" in point.parts[1]:
            return _resolve_line(point, process)
        return [_resolve_address(point, process)]
    if kind not in ("u", "ur", "usdt") or len(point.parts) < 3 or not set(point.parts[1]) & set("*?["):
        return [point]
    provider, pattern, *further_parts = point.parts
    if pattern != "*":
        files = sorted(filter(_is_program, glob.glob(pattern)))  # noqa: PTH207 - as it is written
    elif kind == "usdt":
        return [point]
    else:
        files = list(_iter_mapped_files(process)) if process else []
    found = [
        replace(
            point, parts=(provider, file, *further_parts), text=":".join((provider, file, *further_parts))
        )
        for file in files
    ]
    return found or [point]


def _resolve_address(point: AttachPoint, process: int) -> AttachPoint:
    """Return an attach point with an offset in the file in place of an address, as the file numbers it."""
    provider, file, address = point.parts
    from pytracer.symbols import program_files

    with program_files.find(file, process) as program, program.reading() as tables:
        offset = tables.offset_of(int(address, 0))
    if offset is None:
        message = f"Could not resolve address: {file}:{int(address, 0):#x}"
        raise UnresolvedAddressError(message, hint="the file has no code there")
    return replace(point, parts=(provider, file, f"+{offset:#x}"))


def _resolve_kernel_address(point: AttachPoint) -> AttachPoint:
    """Return an attach point with a function of the kernel, and an offset in it, in place of an address."""
    from pytracer.arrays import np  # for this alone
    from pytracer.symbols.kernel import KernelSymbols

    provider, text = point.parts
    address = int(text, 0)
    [found] = KernelSymbols().names(np.array([address], dtype=np.uint64))
    name = found.partition(" ")[0]
    start = 0 if name.startswith("0x") else address_of(name)
    if not 0 < start <= address:
        hint = f"no function of the kernel is at {address:#x}"
        raise UsageError(f"Unable to attach probe: {provider}:{address}", hint=hint)
    offset = f"+{address - start:#x}" if address > start else ""
    return replace(point, parts=(provider, name + offset))


def _resolve_line(point: AttachPoint, process: int) -> list[AttachPoint]:
    """Return attach points with offsets in the file in place of ``SOURCE:LINE``, a line of its source."""
    from pytracer.symbols.source_lines import addresses_of_line  # DWARF

    provider, place, line = point.parts
    file, _, source = place.rpartition("@")
    from pytracer.symbols import program_files

    with program_files.find(file, process) as program, program.reading() as tables:
        addresses = addresses_of_line(tables, source, int(line, 0))
        offsets = [offset for offset in map(tables.offset_of, addresses) if offset is not None]
    if not offsets:
        hint = "the file needs debug information with lines (-g)"
        raise UsageError(f"no code of {file} is from line {line} of {source}", hint=hint)
    return [replace(point, parts=(provider, file, f"+{offset:#x}")) for offset in offsets]


def missing_module(point: AttachPoint) -> str:
    """Return the module of the kernel that an attach point names and that is not loaded, else ""."""
    kind = SOURCES.get(point.parts[0])
    if kind not in ("k", "kr", "f", "fr", "rt") or len(point.parts) != 3 or point.parts[1] == "bpf":
        return ""
    pattern = point.parts[1].replace("-", "_")
    loaded_modules = ("vmlinux", *(path.name for path in Path("/sys/module").iterdir()))
    return "" if fnmatch.filter(loaded_modules, pattern) else point.parts[1]


def _is_program(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(len(_ELF)) == _ELF
    except OSError:
        return False


def _iter_mapped_files(process: int) -> Iterator[str]:
    from pytracer.symbols import program_files

    for file in program_files.open_mapped(process):
        yield file.name
