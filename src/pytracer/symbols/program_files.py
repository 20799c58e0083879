"""Find the file that a user names: by path, or by the name of a library or program, as a process sees it.

A file stays open from here on, so that later steps read and attach to that very file, even if another one
gets its name.

See "Files and functions" in docs/internals.md.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pytracer.budget import Account, OverBudgetError, current
from pytracer.errors import (
    NotPermittedError,
    PytracerError,
    ResourcesError,
    UnknownNameError,
    UsageError,
)
from pytracer.procfs import living
from pytracer.symbols import elf_tables, libraries, memory_maps, owners, symtab
from pytracer.symbols.elf_tables import ElfError, Tables
from pytracer.symbols.memory_maps import Mapping
from pytracer.symbols.root import Root
from pytracer.symbols.symtab import SymbolTable

_NAMED = 3  # programs, where one is not known
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class ProgramFile:
    """An ELF file, open; a context manager. ``name`` is what people call it.

    ``holder`` is the process that it was found by (0: by us); ``mapped`` says whether that runs code of it.
    """

    def __init__(
        self,
        descriptor: int,
        name: str,
        *,
        holder: int = 0,
        is_mapped: bool = True,
        account: Account | None = None,
    ) -> None:
        """Own ``descriptor``; charge ``account``, or the file's owner. Raises UsageError if it is no ELF
        file for this machine."""
        self.descriptor = descriptor
        self.name = name
        self.holder = holder
        self.mapped = is_mapped
        try:
            self.tables: Tables = self._read(account)
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> str:
        """A path by which the kernel finds this very file, whichever file has its name now."""
        return f"/proc/self/fd/{self.descriptor}"

    @functools.cached_property
    def identity(self) -> tuple[int, int, int]:
        """Device, inode, and when it was last changed, in nanoseconds: no content is trusted longer."""
        stat = os.fstat(self.descriptor)
        return stat.st_dev, stat.st_ino, stat.st_ctime_ns

    @functools.cached_property
    def symbols(self) -> list[SymbolTable]:
        """Its functions. Raises ElfError, OverBudgetError, OSError; ask for them within :meth:`reading`."""
        return symtab.read(self.tables)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Tables]:
        """Yield the file's tables; an error, or more than the budget, becomes a UsageError with the file's
        name."""
        try:
            with self.tables.account.timed():
                yield self.tables
        except OverBudgetError as error:
            raise UsageError(
                f"{self.name} takes too long, or too much memory, to look into: {error}"
            ) from error
        except ElfError as error:
            raise UsageError(f"{self.name} is broken: {error}") from error
        except OSError as error:
            raise UsageError(f"{self.name} cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        if "symbols" in self.__dict__:
            symtab.release(self.tables, self.__dict__.pop("symbols"))
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> ProgramFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, account: Account | None) -> Tables:
        if not stat.S_ISREG(os.fstat(self.descriptor).st_mode):
            raise UsageError(f"{self.name} is no file with code in it")
        try:
            return elf_tables.read(self.descriptor, account)
        except ElfError as error:
            first = os.pread(self.descriptor, 128, 0)
            hint = ""
            if first.startswith(b"#!"):
                words = first[2:].split(b"\n")[0].split()
                hint = f"it is a script: trace what runs it, {os.fsdecode(words[0])}" if words else ""
            raise UsageError(f"{self.name}: {error}", hint=hint) from error
        except OSError as error:
            raise UsageError(f"{self.name} cannot be read: {error.strerror}") from error


def find(name: str, pid: int = 0, identity: tuple[int, int, int] = (0, 0, 0)) -> ProgramFile:
    """Find the file for ``name``: a path, a library (``libc``, ``libssl.so``, ``c``), or a program
    (``bash``).

    Args:
        pid: look as this process does; a file that it has mapped is preferred to the one with the name now.
        identity: device, inode and change time that the file must have, unchanged.

    Raises UsageError (UnknownNameError) if there is none, NotPermittedError if it may not be read.
    """
    try:
        file = _find(name, pid, identity)
    except UsageError:  # the process may have ended: the file need not have
        own_file = _open_own(name) if pid and any(identity) else None
        if own_file is None or own_file.identity != identity:
            if own_file is not None:
                own_file.close()
            raise
        file = own_file
    if any(identity) and file.identity != identity:
        file.close()
        raise UsageError(f"{name} was replaced just now", hint="try again")
    return file


def _find(name: str, pid: int, identity: tuple[int, int, int]) -> ProgramFile:
    """Find a file by its name as given, or with a prefix ``lib``: ``c`` as after a linker's -l."""
    try:
        return _open_named(name, pid, identity)
    except UnknownNameError:
        if "/" in name or name.startswith("lib"):
            raise
        with contextlib.suppress(UnknownNameError):
            return _open_named(f"lib{name}", pid, identity)
        raise


def _open_named(name: str, pid: int, identity: tuple[int, int, int]) -> ProgramFile:
    if not pid:
        with Root() as root:
            return _open_by_path(name, root) if "/" in name else _find_by_name(name, root, ())
    mappings = _read_mappings(pid)
    own_file = _open_own(name)
    if own_file is not None:  # what is written is first what it is here, should the process have mapped that
        with own_file:
            for mapping in mappings:
                file = _open_mapping(pid, mapping) if mapping.inode == own_file.identity[1] else None
                if file is not None and file.identity == own_file.identity:
                    file.name = name  # its own path may lead us elsewhere, as behind a bind mount
                    return file
                if file is not None:
                    file.close()
    # One that was deleted here is known by the path that the kernel shows.
    names = {name, str(Path(name).resolve())} if own_file is None and "/" in name else {name}
    for mapping in mappings:
        if any(identity) and mapping.inode != identity[1]:
            continue
        paths = mapping.path, mapping.path.removesuffix(" (deleted)")
        if names.intersection(paths) or ("/" not in name and libraries.is_called(name, mapping.name)):
            file = _open_mapping(pid, mapping)
            if file is not None:
                return file
    try:
        root = Root(pid)
    except OSError as error:
        raise _explain_missing(pid, error) from error
    with root:
        if "/" not in name:
            return _find_by_name(name, root, mappings)
        if name.startswith("/"):
            with contextlib.suppress(UsageError):
                return _open_by_path(name, root, mappings)
    with Root() as own_root:
        file = _open_by_path(name, own_root)
        file.mapped = False
        return file


def _open_own(path: str) -> ProgramFile | None:
    """Open the file that a path names in our own root and folder; None if there is none."""
    with contextlib.suppress(PytracerError), Root() as root:
        return _open_by_path(path, root) if "/" in path else None
    return None


def open_mapped(pid: int) -> Iterator[ProgramFile]:
    """Yield every file that a process has mapped as code, also deleted ones; each is closed when the next
    is requested. Raises as :func:`find`."""
    for mapping in _read_mappings(pid):
        with contextlib.suppress(UsageError):
            file = _open_mapping(pid, mapping)
            if file is not None:
                with file:
                    yield file


def maps(pid: int, identity: Sequence[int]) -> bool:
    """Return whether a process has mapped code of the file with this identity; False if it has ended."""
    with contextlib.suppress(UsageError):
        # By inode alone: some file systems (btrfs) show another device there.
        return any(mapping.inode == identity[1] for mapping in _read_mappings(pid))
    return False


def running() -> Iterator[ProgramFile]:
    """Yield every file that any process has mapped as code, once, as far as we may read; each is closed
    when the next is requested."""
    visited = set[tuple[str, int]]()
    for process in memory_maps.PROC.glob("[0-9]*"):
        pid = int(process.name)
        credentials = owners.credentials(pid)
        if credentials is None:
            continue
        account = owners.account(current(), pid, credentials)
        with contextlib.suppress(OverBudgetError):
            with account.timed():
                text = memory_maps.read(pid, account.check)
                mappings = [mapping for mapping in memory_maps.parse(text) if mapping.inode]
            for mapping in mappings:
                if (mapping.device, mapping.inode) in visited:
                    continue
                account.charge(entries=1)
                visited.add((mapping.device, mapping.inode))
                with contextlib.suppress(UsageError):
                    file = _open_mapping(pid, mapping, account)
                    if file is not None:
                        with file:
                            yield file


def _read_mappings(pid: int) -> list[Mapping]:
    """Return the files that a process has mapped as code, once each. Raises UsageError, NotPermittedError."""
    try:
        text = memory_maps.read_code(pid)
    except OSError as error:
        raise _explain_missing(pid, error) from error
    by_file = {(m.device, m.inode): m for m in reversed(memory_maps.parse(text)) if m.inode}
    if not by_file:
        raise UsageError(f"process {pid} runs no program: it has just ended, or is the kernel's own")
    return list(reversed(by_file.values()))


def _explain_missing(pid: int, error: OSError) -> UsageError | NotPermittedError:
    if isinstance(error, PermissionError):
        return NotPermittedError(f"process {pid} may not be inspected", hint="run as root")
    return UsageError(f"no process {pid}: it may have just ended", hint="ps -e lists them")


def _open_mapping(pid: int, mapping: Mapping, account: Account | None = None) -> ProgramFile | None:
    handle = memory_maps.find_file(pid, mapping)
    if handle is None:
        return None
    with handle:
        try:
            descriptor = handle.open()
        except OSError:  # not for us to read
            return None
    return ProgramFile(descriptor, mapping.path, holder=pid, account=account)


def _open_by_path(path: str, root: Root, mappings: Iterable[Mapping] = ()) -> ProgramFile:
    try:
        descriptor = root.open(path)
    except PermissionError as error:
        raise NotPermittedError(f"{path} may not be read", hint="run as root") from error
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):  # that is not the file's fault
            hint = "ulimit -n 1024"
            raise ResourcesError(f"{path} cannot be opened: {error.strerror}", hint=hint) from error
        process_text = f" for process {root.pid}" if root.pid else ""
        raise UsageError(f"no file {path}{process_text}: {error.strerror}") from error
    file = ProgramFile(descriptor, path, holder=root.pid)
    if root.pid:
        # By inode alone: some file systems (btrfs) show another device there.
        file.mapped = any(mapping.inode == file.identity[1] for mapping in mappings)
    return file


def _find_by_name(name: str, root: Root, mappings: Iterable[Mapping]) -> ProgramFile:
    machine = _read_machine(f"/proc/{living(root.pid) if root.pid else 'self'}/exe")
    files = dict[str, ProgramFile]()
    with contextlib.ExitStack() as resources:
        for path in [*libraries.find(name, root), *(f"{folder}/{name}" for folder in _PATH)]:
            with contextlib.suppress(UsageError):
                file = resources.enter_context(_open_by_path(path, root, mappings))
                file_name = path.rpartition("/")[2]
                if (file.tables.width, file.tables.machine) == machine and file.identity not in {
                    other.identity for other in files.values()
                }:
                    files.setdefault(file_name, file)
        if len(files) > 1:
            raise UsageError(f"{name} may be {' or '.join(sorted(files))}", hint="say which")
        if files:
            [file] = files.values()
            return ProgramFile(os.dup(file.descriptor), file.name, holder=file.holder, is_mapped=file.mapped)
    libraries_by_name = libraries.names(root)
    candidates = _list_similar_names(name)
    hint = f"did you mean {' or '.join(candidates[:_NAMED])}?" if candidates else ""
    raise UnknownNameError(
        "program or library", name, libraries_by_name, hint=hint, where_listed="a path does, too"
    )


def _list_similar_names(name: str) -> list[str]:
    """Return programs whose names begin with a name, as redis-server does with redis."""
    file_names, pattern = set[str](), re.compile(rf"{re.escape(name)}[-_.\d].*")
    for folder in _PATH:
        with contextlib.suppress(OSError):
            file_names |= {file.name for file in Path(folder).iterdir() if pattern.fullmatch(file.name)}
    return sorted(file_names, key=lambda file: (len(file), file))


def _read_machine(path: str) -> tuple[int, int]:
    """Return the width and machine of a program's file; (0, 0) if it cannot be read."""
    with contextlib.suppress(OSError, ElfError), open(path, "rb", buffering=0) as file:
        tables = elf_tables.read(file.fileno())
        return tables.width, tables.machine
    return 0, 0
