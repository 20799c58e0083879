"""The pins that pytracer makes: programs of running tracers, in a folder of its own.

Below :data:`FOLDER` each program has a folder ``ID-TAG``, accessible to root alone: ``program`` in it, and
``link-ID`` for links that keep it attached. A pin is pytracer's if its name and object agree: a program of
that id and tag, a link that holds it. The kernel keeps no other mark on a pin. Nothing else is ever removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from pytracer.bpf.objects import ObjectKind, open_object
from pytracer.errors import PytracerError
from pytracer.kernel.policy import explain
from pytracer.prog import pins
from pytracer.prog.program_list import KernelProgram
from pytracer.record import record

BPFFS = Path("/sys/fs/bpf")
FOLDER = BPFFS / "pytracer"
_SOURCE = "pytracer"  # the source of a mount that pytracer made
_NAME = re.compile(r"(\d+)-([0-9a-f]{16})")
_KERNELS = {"maps.debug", "progs.debug"}  # put there by the kernel itself (Linux 5.10, d71fa5c9763c)
_LINK = re.compile(r"link-(\d+)")
_PROGRAM = "program"
_NEEDED = ("CAP_SYS_ADMIN",)
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_libc = ctypes.CDLL(None, use_errno=True)


@record
class PinnedProgram:
    """A program that pytracer pinned: its id and tag, its folder, and the ids of the links pinned with it."""

    program: int
    tag: str
    folder: Path
    links: tuple[int, ...]


def pin(program: KernelProgram, links: Iterable[int]) -> Path:
    """Pin a program and these of its links. Returns the folder. If that fails, nothing is left; existing pins
    stay.

    Raises the error that explains the kernel's refusal, or PytracerError if something else has the folder's
    name.
    """
    folder = FOLDER / f"{program.id}-{program.info.tag}"
    paths = list[Path]()
    pin_list = [
        (ObjectKind.PROGRAM, program.id, _PROGRAM),
        *((ObjectKind.LINK, link, f"link-{link}") for link in links),
    ]
    try:
        _prepare()
        if not folder.exists():
            folder.mkdir(mode=0o700)
            paths.append(folder)
        for kind, number, name in pin_list:
            path = folder / name
            if path.exists() and _is_pin_of(path, kind, number):
                continue
            with open_object(kind, number) as descriptor:
                pins.create_pin(descriptor, str(path))
            paths.append(path)
    except BaseException as error:
        for path in reversed(paths):
            with contextlib.suppress(OSError):
                path.rmdir() if path == folder else path.unlink()
        _leave()
        if isinstance(error, OSError):
            raise _explain(error, program, folder) from error
        raise
    return folder


def list_pinned() -> list[PinnedProgram]:
    """List pytracer's pins, by program id. Raises PytracerError if the folder belongs to another user."""
    if not FOLDER.is_dir():
        return []
    _check_folder()
    return sorted(_iter_pinned(), key=lambda pinned: pinned.program)


def unpin(pinned: PinnedProgram) -> None:
    """Remove the pins of a program; it is unloaded unless something else holds it. Raises PytracerError if
    its folder has anything else in it: then nothing is removed."""
    paths = [pinned.folder / _PROGRAM, *(pinned.folder / f"link-{link}" for link in pinned.links)]
    if unknown := sorted(set(pinned.folder.iterdir()) - set(paths)):
        raise PytracerError(f"{unknown[0]} is not pytracer's: nothing was removed", hint="look at what it is")
    try:
        for path in reversed(paths):  # links first: a program without its name is not found again
            path.unlink(missing_ok=True)
        pinned.folder.rmdir()
    except OSError as error:
        raise explain(error, f"removing {pinned.folder}", capabilities=_NEEDED) from error
    _leave()


def restore(pinned: PinnedProgram, links: Iterable[int] | None) -> None:
    """Remove the pins that a program did not have before: all if ``links`` is None, else all but those.

    Raises the errors of ``unpin``.
    """
    if links is None:
        unpin(pinned)
        return
    for link in set(pinned.links) - set(links):
        (pinned.folder / f"link-{link}").unlink(missing_ok=True)


def _iter_pinned() -> Iterator[PinnedProgram]:
    for folder in FOLDER.iterdir():
        name = _NAME.fullmatch(folder.name)
        if name is None or not stat.S_ISDIR(folder.lstat().st_mode):
            continue
        program = int(name[1])
        if not _is_pin_of(folder / _PROGRAM, ObjectKind.PROGRAM, program, tag=name[2]):
            continue
        numbers = [int(match[1]) for path in folder.iterdir() if (match := _LINK.fullmatch(path.name))]
        links = (
            number
            for number in numbers
            if _is_pin_of(folder / f"link-{number}", ObjectKind.LINK, number, program)
        )
        yield PinnedProgram(program, name[2], folder, tuple(sorted(links)))


def _is_pin_of(path: Path, kind: ObjectKind, number: int, program: int = 0, *, tag: str = "") -> bool:
    """Return whether a pin is of that object, and of that ``program`` and ``tag`` if given."""
    with contextlib.suppress(OSError):
        pin = pins.read_pin(str(path))
        is_match = not program or pin.program == program
        return pin.kind is kind and pin.id == number and is_match and tag in ("", pin.tag)
    return False


def _prepare() -> None:
    """Mount a BPF file system if there is none, and make the folder. Raises OSError, or PytracerError."""
    if not any(point == str(BPFFS) for point, _ in pins.list_mounts()):
        # Open to root alone, with a source that identifies it: it is unmounted with the last pin.
        _mount(_SOURCE, str(BPFFS))
    with contextlib.suppress(FileExistsError):
        FOLDER.mkdir(mode=0o700)
    _check_folder()


def _leave() -> None:
    """Remove the folder if it is empty, and unmount the file system if pytracer mounted it and it is
    empty."""
    with contextlib.suppress(OSError):
        FOLDER.rmdir()
        if (str(BPFFS), _SOURCE) in pins.list_mounts() and {
            path.name for path in BPFFS.iterdir()
        } <= _KERNELS:
            _libc.umount2(os.fsencode(BPFFS), 0)


def _check_folder() -> None:
    status = FOLDER.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise PytracerError(
            f"{FOLDER} is not a folder that only this user can use", hint="it was not made by pytracer"
        )


def _mount(source: str, target: str) -> None:
    flags = ctypes.c_ulong(_NOSUID | _NODEV | _NOEXEC)
    if _libc.mount(source.encode(), target.encode(), b"bpf", flags, b"mode=0700") < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def _explain(error: OSError, program: KernelProgram, folder: Path) -> PytracerError:
    action = f"pinning program {program.id}"
    if error.errno == errno.EEXIST:
        return PytracerError(f"{action}: something else is in {folder}", hint="look at what it is")
    if error.errno == errno.ENOENT:
        return PytracerError(f"{action}: it has gone")
    return explain(error, action, capabilities=_NEEDED)
