"""The folder where pytracer keeps what it need not make twice, and whether it can be trusted.

What is read back from there is compiled and loaded into the kernel by root, so nobody else may have been
able to put it there. A folder is used only if it belongs to the effective user, nobody else can write in it,
and nobody else could have put another in its place: every folder above it belongs to root or the same user
and is either not writable for others or sticky (where others cannot rename what is not theirs).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from pathlib import Path

from pytracer.errors import CacheError
from pytracer.record import record

VARIABLE = "PYTRACER_CACHE_DIR"

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_LAST_RESORTS = ("/run", "/dev/shm")
_temporary: Path | None = None


@record
class CacheDir:
    """A trusted folder. ``note`` is "" or one line for the user: why nothing will be kept."""

    path: Path
    note: str = ""

    def folder(self, name: str) -> Path:
        """A folder of this name in it, made if needed. ``CacheError`` if that is not to be trusted."""
        path = self.path / name
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise CacheError(f"cannot make {path}: {error.strerror}") from error
        if reason := distrust(path):
            raise CacheError(reason, hint=f"remove {path}")
        return path

    def work_folder(self, name: str) -> Path:
        """A folder of this name to put things into: a private one, where in the cache that cannot be done.

        Raises CacheError if nothing can be written anywhere.
        """
        with contextlib.suppress(CacheError):
            folder = self.folder(name)
            if _is_writable(folder):
                return folder
        return private_folder(name)

    def read(self, name: str) -> bytes | None:
        """The contents of a file in it (a path relative to it), or None if there is none to be trusted."""
        return read_trusted(self.path / name)

    def write(self, name: str, data: bytes) -> None:
        """Put a file there, whole or not at all; who reads at the same time sees the old or the new one."""
        import tempfile  # with what it takes as long to load as all that reads the cache

        target = self.path / name
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)  # else a power cut may leave the name, and nothing in it
            try:
                Path(temporary).replace(target)
            except IsADirectoryError:
                remove(target)
                Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def cache_dir() -> CacheDir:
    """The cache folder of the effective user, made if needed.

    ``$PYTRACER_CACHE_DIR`` if that is set (``CacheError`` if it cannot be used); else ``pytracer`` in
    ``$XDG_CACHE_HOME`` or in ``.cache`` of the effective user's home; else a private temporary folder, which
    goes away at exit, with a ``note``.
    """
    asked = os.environ.get(VARIABLE)
    if asked:
        if reason := _prepare(Path(asked).absolute()):
            raise CacheError(
                f"{VARIABLE}: {reason}",
                hint="it must be a folder that belongs to you and that only you can write in",
            )
        return _found(Path(asked))
    reasons = []
    for candidate in _defaults():
        reason = _prepare(candidate)
        if not reason:
            return _found(candidate)
        reasons.append(reason)
    why = "; ".join(reasons) or "the user has no home"
    return CacheDir(_private(), f"no cache folder ({why}): nothing is kept for the next start")


def distrust(path: Path) -> str:
    """Why a folder is not to be trusted, "" if it is. It is looked at as it stands, links not followed."""
    user = os.geteuid()
    for folder in (path, *path.parents):
        try:
            status = folder.lstat()
        except OSError as error:
            return f"{folder}: {error.strerror}"
        if not stat.S_ISDIR(status.st_mode):
            return f"{folder} is not a folder"
        if status.st_uid != user and (folder == path or status.st_uid != 0):
            return f"{folder} belongs to {_user(status.st_uid)}, not to {_user(user)}"
        if status.st_mode & _WRITABLE_BY_OTHERS and (folder == path or not status.st_mode & stat.S_ISVTX):
            return f"{folder} can be written by others"
    return ""


def read_trusted(path: Path) -> bytes | None:
    """A file's contents if it is a plain file, is the effective user's, and only theirs to write; else None.

    The folder it is in must be a trusted one.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return None
        if status.st_mode & _WRITABLE_BY_OTHERS:
            return None
        # Only now: Python makes no file object of a directory, and raises.
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


def _defaults() -> list[Path]:
    found = []
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The convention: what is not absolute is to be ignored.
    if base.startswith("/"):
        found.append(Path(base) / "pytracer")
    # Not $HOME: sudo may leave that of the user who called it.
    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        home = ""
    if home.startswith("/"):
        found.append(Path(home) / ".cache" / "pytracer")
    return found


def _prepare(path: Path) -> str:
    """Make ``path``, and its parent if that is all that is missing; "" or why it cannot be used."""
    for folder in (path.parent, path):
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        except OSError as error:
            return f"cannot make {folder}: {error.strerror}"
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return f"{path} leads nowhere"
    if reason := distrust(real):
        return reason
    return "" if os.access(real, os.R_OK | os.X_OK, effective_ids=True) else f"cannot read {real}"


def _found(path: Path) -> CacheDir:
    """A folder that can be trusted, on a file system that may be read-only: what is kept there is of use."""
    real = path.resolve()
    note = "" if _is_writable(real) else f"cannot write in {real}: nothing new is kept for the next start"
    return CacheDir(real, note)


def _is_writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=True)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def remove(path: Path) -> None:
    """Take a folder, or whatever has its name, away: first its name, so that nobody finds half of it."""
    import shutil
    import tempfile

    with contextlib.suppress(OSError):
        aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=".new-"))
        try:
            path.rename(aside / "old")
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def private_folder(name: str) -> Path:
    """A folder of this name that goes away at exit. Raises CacheError if nothing can be written anywhere."""
    path = _private() / name
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def _private() -> Path:
    """A temporary folder for this process, the same one at every call. Raises CacheError."""
    global _temporary
    if _temporary is None:
        import atexit
        import tempfile

        for folder in (None, *_LAST_RESORTS):
            with contextlib.suppress(OSError):
                _temporary = Path(tempfile.mkdtemp(prefix="pytracer-", dir=folder)).resolve()
                break
        else:
            raise CacheError(
                "no folder can be written in: neither the cache nor a temporary one",
                hint=f"set {VARIABLE} or TMPDIR to one of yours",
            )
        atexit.register(_remove, _temporary, os.getpid())
    return _temporary


def _remove(path: Path, process: int) -> None:
    # A forked child that exits must not take it from its parent.
    if os.getpid() == process:
        import shutil

        shutil.rmtree(path, ignore_errors=True)
