"""USDT: probe sites that a program's author marked with a name and with the location of each argument.

The section .note.stapsdt has a note for each site: its address, the address of .stapsdt.base when the note
was written (to find how far prelink moved the file since), the address of the semaphore, then three
strings: provider, name, arguments. One name may have many sites, with arguments in different locations.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Sequence

from pytracer.errors import UsageError
from pytracer.record import record
from pytracer.spec import ProbeSite, SiteArgument
from pytracer.spec.quoting import matcher
from pytracer.symbols import commands, dynamic_linker, elf_tables, places, program_files, usdt_args
from pytracer.symbols.elf_tables import Tables
from pytracer.symbols.program_files import ProgramFile
from pytracer.symbols.usdt_args import UsdtArgument
from pytracer.text import from_bytes

_SECTION, _BASE = b".note.stapsdt", b".stapsdt.base"
_OWNER, _KIND = b"stapsdt\0", 3  # NT_STAPSDT
_ROOM = 1 << 24  # bytes of notes
_MARK = 2000  # bytes that a mark takes, without what its note holds


@record
class UsdtProbe:
    """A place that was marked: ``address`` as the file numbers it, ``semaphore`` likewise (0: none)."""

    provider: str
    name: str
    address: int
    semaphore: int
    arguments: tuple[UsdtArgument, ...]
    site: ProbeSite

    @property
    def title(self) -> str:
        """The probe's name as users write it."""
        return f"{self.provider}:{self.name}"


def usdt_probes(file: Tables) -> Iterator[UsdtProbe]:
    """Return all USDT probes of a file, in the order of its notes. Raises ElfError or OSError."""
    section = file.section(_SECTION)
    if section is None:
        return
    base = file.section(_BASE)
    addresses = struct.Struct("=QQQ" if file.width == 2 else "=III")
    for owner, kind, data in elf_tables.notes(file.content(section, _ROOM)):
        file.account.check()
        if owner != _OWNER or kind != _KIND or len(data) < addresses.size:
            continue
        file.account.charge(entries=1, memory=_MARK + len(data))
        address, linked, semaphore = addresses.unpack_from(data)
        strings = data[addresses.size :].split(b"\0")
        words = [from_bytes(string) for string in (*strings, b"", b"", b"")]
        provider, name, arguments = words[:3]
        shift = int(base["addr"]) - linked if base is not None else 0
        address, semaphore = address + shift, semaphore + shift if semaphore else 0
        offset = file.offset_of(address)
        if offset is None:
            continue
        # Counted by the kernel where the file is written into memory: 0 where no file is behind it.
        counter = file.offset_of(semaphore, elf_tables.WRITABLE) if semaphore else 0
        parsed = usdt_args.parse(arguments, file, address)
        located = tuple(
            SiteArgument(
                -argument.size if argument.signed else argument.size, argument.pack(), argument.problem
            )
            for argument in parsed
        )
        site = ProbeSite(f"{provider}:{name}", offset, counter or 0, arguments=located)
        yield UsdtProbe(provider, name, address, semaphore, parsed, site)


def find(file: ProgramFile, provider: str, name: str) -> list[UsdtProbe]:
    """Find USDT probes of a file by name or pattern; an empty ``provider`` matches any.

    Raises UsageError (UnknownNameError) if there are none.
    """
    with file.reading() as reader:
        probes = list(usdt_probes(reader))
    matches = matching(probes, provider, name)
    if matches:
        return matches
    if not probes:
        raise UsageError(f"{file.name} has no USDT probes")
    raise none_called(file.name, provider, name, probes)


def matching(probes: list[UsdtProbe], provider: str, name: str) -> list[UsdtProbe]:
    """Return the probes whose provider and name match."""
    provider_matcher, name_matcher = matcher(provider or "*"), matcher(name)
    return [
        mark
        for mark in probes
        if provider_matcher.fullmatch(mark.provider) and name_matcher.fullmatch(mark.name)
    ]


def none_called(location: str, provider: str, name: str, probes: list[UsdtProbe]) -> UsageError:
    """Return the error for an unknown probe, with similar names."""
    titles = [mark.title if provider else mark.name for mark in probes]
    probe_name = f"{provider}:{name}" if provider else name
    return places.make_unknown_error(f"USDT probe of {location}", probe_name, titles, "readelf -n lists them")


def in_command(
    command: Sequence[str], provider: str, name: str
) -> Iterator[tuple[ProgramFile, list[UsdtProbe]]]:
    """Find USDT probes in the files that a command will load; if those have none, in running programs, one
    of which it may start. Each file is closed when the next is requested. Raises as :func:`find`."""
    execution = commands.find_execution(command)
    paths = dynamic_linker.loaded(dynamic_linker.program_of(execution), execution.environment)
    probes, any_found = list[UsdtProbe](), False
    for path in [*paths, *dynamic_linker.opened_later(paths)]:
        with contextlib.suppress(UsageError), program_files.find(path) as file:
            with file.reading() as reader:
                of_file = list(usdt_probes(reader))
            probes += of_file
            matches = matching(of_file, provider, name)
            if matches:
                any_found = True
                yield file, matches
    if any_found:
        return
    try:
        yield from in_process(0, provider, name)
    except UsageError as error:
        location = f"{command[0]} and the libraries that it loads"
        if probes:
            raise none_called(location, provider, name, probes) from error
        raise UsageError(
            f"{location} have no USDT probe {provider or '*'}:{name}, and neither has what runs now",
            hint="a program that makes its probes as it runs (libstapsdt): start it, then -p PID",
        ) from error


def in_process(pid: int, provider: str, name: str) -> Iterator[tuple[ProgramFile, list[UsdtProbe]]]:
    """Find USDT probes in every file that a process has mapped as code (0: any process), also in deleted
    and anonymous ones. Each file is closed when the next is requested. Raises as :func:`find`."""
    searched = program_files.open_mapped(pid) if pid else program_files.running()
    location = f"process {pid}" if pid else "what runs now"
    probes, any_found = list[UsdtProbe](), False
    for file in searched:
        of_file = list[UsdtProbe]()
        with contextlib.suppress(UsageError), file.reading() as reader:
            of_file = list(usdt_probes(reader))
        probes += of_file
        matches = matching(of_file, provider, name)
        any_found = any_found or bool(matches)
        if matches:
            yield file, matches
    if any_found:
        return
    if not probes:
        raise UsageError(f"{location} has no USDT probes", hint="they may come with what is loaded later")
    raise none_called(location, provider, name, probes)
