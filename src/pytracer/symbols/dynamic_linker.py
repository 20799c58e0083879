"""Find the files that the dynamic linker will load for a program, by its rules (ld.so(8)), without running
it.

First come the files in LD_PRELOAD, then the needed libraries, breadth first. Each is looked for in DT_RPATH
of the file that needs it and of those that led there (unless that file has DT_RUNPATH), in LD_LIBRARY_PATH,
in DT_RUNPATH, in the cache, and in the default folders. LD_* are ignored for set-user-ID programs.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pytracer.record import record
from pytracer.symbols import elf_tables, libraries
from pytracer.symbols.commands import Execution, find_execution
from pytracer.symbols.elf_tables import ElfError, Tables
from pytracer.symbols.root import Root
from pytracer.text import to_bytes

_DYNAMIC = 6  # SHT_DYNAMIC
_NEEDED, _SONAME, _RPATH, _RUNPATH = 1, 14, 15, 29  # DT_*
_MOST = 512  # files of a program
_SCRIPTS = 4  # that run one another
_OPENED = {"libjli.so": ("server/libjvm.so", "client/libjvm.so")}  # Java's launcher
_LIBRARIES = {1: "lib", 2: "lib64"}  # what $LIB stands for, by width; Debian has other folders


@record
class _Object:
    """A file that is loaded: its DT_SONAME, the libraries it needs with their search paths, and the file
    that needed it."""

    path: str
    name: str
    kind: tuple[int, int]
    needs: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...] | None
    by: _Object | None


def program_of(execution: Execution) -> str:
    """Return the file that will run: the program, or a script's interpreter; "" if none will."""
    path = _find_program(execution.program, execution)
    for _ in range(_SCRIPTS):
        head = b""
        with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
            head = file.read(256)
        if not head.startswith(b"#!"):
            return path
        words = os.fsdecode(head[2:].split(b"\n")[0]).split()
        if not words:
            return ""
        arguments = [word for word in words[1:] if not word.startswith("-")]
        path = _find_program(arguments[0] if words[0].endswith("/env") and arguments else words[0], execution)
    return ""


def loaded(program: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the paths of a program and of all libraries that are loaded with it, in the order of loading."""
    environment = os.environ if environment is None else environment
    first = _read(program, None)
    if first is None:
        return []
    if _is_setuid_to_other(program):
        environment = {}
    files = [first]
    visited, names = {os.path.realpath(program)}, {first.name} - {""}
    ld_preload = re.split(r"[ :]+", environment.get("LD_PRELOAD", ""))
    with Root() as root:
        queue = [(first, name) for name in ld_preload if name] + [(first, name) for name in first.needs]
        while queue and len(files) < _MOST:
            requester, name = queue.pop(0)
            if name in names:
                continue
            for path in _iter_candidates(name, requester, environment, root):
                other = _read(path, requester)
                if other is None or other.kind != first.kind:
                    continue
                if (real := os.path.realpath(path)) not in visited:
                    visited.add(real)
                    files.append(other)
                    names |= {name, other.name}
                    queue += [(other, needed_name) for needed_name in other.needs]
                break
    return [loaded_file.path for loaded_file in files]


def opened_later(paths: Iterable[str]) -> list[str]:
    """Return the libraries that those in ``paths`` are known to open by dlopen (Java's launcher opens
    libjvm.so)."""
    opened_files = list[str]()
    for path in paths:
        folder, _, name = path.rpartition("/")
        opened_files += [
            f"{folder}/{other}" for other in _OPENED.get(name, ()) if Path(folder, other).is_file()
        ]
    return opened_files


def resolve_library(name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Return the path of the library (or program) ``name`` that a command will load; "" if it loads none,
    and LD_LIBRARY_PATH, which its children inherit, has none."""
    execution = find_execution(command, environment)
    environment = execution.environment
    program = program_of(execution)
    paths = loaded(program, environment) if program else []
    paths += opened_later(paths)
    folders = _parse_folders(environment.get("LD_LIBRARY_PATH", ""), r"[:;]")
    for file_name in (name, f"lib{name}"):
        for path in paths:
            if libraries.is_called(file_name, path.rpartition("/")[2]):
                return path
        for folder in folders:
            with contextlib.suppress(OSError):
                for file in sorted(Path(folder).iterdir()):
                    if libraries.is_called(file_name, file.name) and _read(str(file), None) is not None:
                        return str(file)
    return ""


def _iter_candidates(
    name: str, requester: _Object, environment: Mapping[str, str], root: Root
) -> Iterator[str]:
    if "/" in name:
        yield name
        return
    if requester.runpath is None:
        ancestor: _Object | None = requester
        while ancestor is not None:
            if ancestor.runpath is None:
                yield from (f"{folder}/{name}" for folder in ancestor.rpath)
            ancestor = ancestor.by
    folders = _parse_folders(environment.get("LD_LIBRARY_PATH", ""), r"[:;]")
    yield from (f"{folder}/{name}" for folder in (*folders, *(requester.runpath or ())))
    for path in libraries.find(name, root):
        if path.rpartition("/")[2] == name:
            yield path


def _read(path: str, requester: _Object | None) -> _Object | None:
    """Read what a file needs; None if it is no ELF file for this machine."""
    with contextlib.suppress(OSError, ElfError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            file = elf_tables.read(descriptor)
            entries = _read_dynamic(file)
        finally:
            os.close(descriptor)
        origin = str(Path(path).resolve().parent)
        paths = {
            tag: tuple(
                _expand(folder, origin, file) for folder in _parse_folders(":".join(entries.get(tag, ())))
            )
            for tag in (_RPATH, _RUNPATH)
        }
        return _Object(
            str(Path(path).absolute()),
            "".join(entries.get(_SONAME, ())),
            (file.width, file.machine),
            tuple(entries.get(_NEEDED, ())),
            paths[_RPATH],
            paths[_RUNPATH] if _RUNPATH in entries else None,
            requester,
        )
    return None


def _read_dynamic(file: Tables) -> dict[int, list[str]]:
    """Return the strings of the dynamic section, by tag."""
    entries = dict[int, list[str]]()
    for section in file.sections[file.sections["type"] == _DYNAMIC]:
        link = int(section["link"])
        if link >= len(file.sections):
            continue
        strings = file.content(file.sections[link]) + b"\0"
        raw, size = file.content(section), 8 if file.width == 2 else 4
        numbers = [
            int.from_bytes(raw[offset : offset + size], sys.byteorder)
            for offset in range(0, len(raw) // size * size, size)
        ]
        for tag, value in zip(numbers[::2], numbers[1::2], strict=False):
            if not tag:
                break
            if tag in (_NEEDED, _SONAME, _RPATH, _RUNPATH) and value < len(strings):
                entries.setdefault(tag, []).append(os.fsdecode(to_bytes(elf_tables.name_at(strings, value))))
    return entries


def _parse_folders(text: str, signs: str = ":") -> list[str]:
    """Return the folders of a list; one without a name is where the user stands."""
    return [folder or "." for folder in re.split(signs, text)] if text else []


def _expand(folder: str, origin: str, file: Tables) -> str:
    for name, value in (
        ("ORIGIN", origin),
        ("LIB", _LIBRARIES[file.width]),
        ("PLATFORM", os.uname().machine),
    ):
        folder = folder.replace(f"${name}", value).replace(f"${{{name}}}", value)
    return folder


def _is_setuid_to_other(path: str) -> bool:
    """Return whether a file is set-user-ID or set-group-ID to another user."""
    with contextlib.suppress(OSError):
        status = Path(path).stat()
        is_privileged = (status.st_mode & stat.S_ISUID and status.st_uid != os.getuid()) or (
            status.st_mode & stat.S_ISGID and status.st_gid != os.getgid()
        )
        return bool(is_privileged)
    return False


def _find_program(command: str, execution: Execution) -> str:
    import shutil

    if "/" in command:
        return str(Path(execution.folder, command)) if execution.folder else command
    # Without PATH, execvp(3) looks where the system's programs are.
    return shutil.which(command, path=execution.environment.get("PATH", os.defpath)) or ""
