"""Find a cache folder that can be trusted.

The cached files are compiled and loaded into the kernel by root, so nobody else may have been able to write
them. A folder is used only if it belongs to the effective user, nobody else can write in it, and nobody else
could have replaced it: every folder above it belongs to root or the same user and is either not writable for
others or sticky (so that others cannot rename foreign files).
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
    """A trusted folder. ``note`` is "" or one line for the user: the reason why nothing will be kept."""

    path: Path
    note: str = ""

    def folder(self, name: str) -> Path:
        """Return a folder of this name in it, made if needed. Raises CacheError if it cannot be trusted."""
        path = self.path / name
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise CacheError(f"cannot make {path}: {error.strerror}") from error
        if reason := explain_distrust(path):
            raise CacheError(reason, hint=f"remove {path}")
        return path

    def work_folder(self, name: str) -> Path:
        """Return a folder of this name to write to: a private one if the cache is not writable.

        Raises CacheError if nothing can be written anywhere.
        """
        with contextlib.suppress(CacheError):
            folder = self.folder(name)
            if _is_writable(folder):
                return folder
        return private_folder(name)

    def read(self, name: str) -> bytes | None:
        """Return the contents of a file in it (a relative path), or None if there is no trusted one."""
        return read_trusted(self.path / name)

    def write(self, name: str, data: bytes) -> None:
        """Write a file atomically: concurrent readers see the old or the new one."""
        import tempfile  # imported late: it takes as long as reading the cache

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
    """Return the cache folder of the effective user, made if needed.

    ``$PYTRACER_CACHE_DIR`` if that is set (CacheError if it cannot be used); else ``pytracer`` in
    ``$XDG_CACHE_HOME`` or in ``.cache`` of the effective user's home; else a private temporary folder, which
    is removed at exit, with a ``note``.
    """
    requested = os.environ.get(VARIABLE)
    if requested:
        if reason := _prepare_folder(Path(requested).absolute()):
            raise CacheError(
                f"{VARIABLE}: {reason}",
                hint="it must be a folder that belongs to you and that only you can write in",
            )
        return _use_folder(Path(requested))
    reasons = []
    for candidate in _default_folders():
        reason = _prepare_folder(candidate)
        if not reason:
            return _use_folder(candidate)
        reasons.append(reason)
    problem = "; ".join(reasons) or "the user has no home"
    return CacheDir(
        _make_private_folder(), f"no cache folder ({problem}): nothing is cached for the next start"
    )


def explain_distrust(path: Path) -> str:
    """Return the reason why a folder cannot be trusted, "" if it can. Links are not followed."""
    user = os.geteuid()
    for folder in (path, *path.parents):
        try:
            status = folder.lstat()
        except OSError as error:
            return f"{folder}: {error.strerror}"
        if not stat.S_ISDIR(status.st_mode):
            return f"{folder} is not a folder"
        if status.st_uid != user and (folder == path or status.st_uid != 0):
            return f"{folder} belongs to {_describe_user(status.st_uid)}, not to {_describe_user(user)}"
        if status.st_mode & _WRITABLE_BY_OTHERS and (folder == path or not status.st_mode & stat.S_ISVTX):
            return f"{folder} can be written by others"
    return ""


def read_trusted(path: Path) -> bytes | None:
    """Return the contents of a plain file that only the effective user owns and can write; else None.

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
        # Only after the check: os.fdopen raises for a directory.
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


def _default_folders() -> list[Path]:
    defaults = []
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The convention: what is not absolute is to be ignored.
    if base.startswith("/"):
        defaults.append(Path(base) / "pytracer")
    # Not $HOME: sudo may leave that of the user who called it.
    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        home = ""
    if home.startswith("/"):
        defaults.append(Path(home) / ".cache" / "pytracer")
    return defaults


def _prepare_folder(path: Path) -> str:
    """Make ``path``, and its parent if only that is missing. Returns "" or why it cannot be used."""
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
    if reason := explain_distrust(real):
        return reason
    return "" if os.access(real, os.R_OK | os.X_OK, effective_ids=True) else f"cannot read {real}"


def _use_folder(path: Path) -> CacheDir:
    """Return a trusted folder; it may be on a read-only file system, where only old entries are of use."""
    real = path.resolve()
    note = "" if _is_writable(real) else f"cannot write in {real}: nothing new is cached for the next start"
    return CacheDir(real, note)


def _is_writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=True)


def _describe_user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def remove(path: Path) -> None:
    """Remove a folder or file: it is renamed first, so that no process finds it half removed."""
    import shutil
    import tempfile

    with contextlib.suppress(OSError):
        renamed = Path(tempfile.mkdtemp(dir=path.parent, prefix=".new-"))
        try:
            path.rename(renamed / "old")
        finally:
            shutil.rmtree(renamed, ignore_errors=True)


def private_folder(name: str) -> Path:
    """Return a folder of this name that is removed at exit. Raises CacheError if nothing is writable."""
    path = _make_private_folder() / name
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def _make_private_folder() -> Path:
    """Return this process's temporary folder, the same at every call. Raises CacheError."""
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
