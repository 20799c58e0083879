"""Read the kernel's trace events from tracefs.

tracefs is used at either of its mount points; if it is at neither, it is mounted in a mount namespace of
pytracer's own (:mod:`pytracer.kernel.mounts`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path

from pytracer.errors import NotPermittedError, UnsupportedError
from pytracer.kernel import mounts, policy

TRACING = Path("/sys/kernel/tracing")  # Linux 4.1, cc31004a4aff
DEBUG = Path("/sys/kernel/debug")
OLD_TRACING = DEBUG / "tracing"  # the older name, and the only one that BCC looked under up to 0.26

_LIST = "available_events"
_MOUNT = ("CAP_SYS_ADMIN",)
_READ = ("CAP_DAC_READ_SEARCH",)


def root() -> Path:
    """Return the folder of tracefs, and make it visible at both of its paths if possible.

    Raises NotPermittedError (PolicyError) if this process may not mount or read it, UnsupportedError if the
    kernel was built without it.
    """
    tracing = next((path for path in (TRACING, OLD_TRACING) if _exists(path)), None)
    problem: OSError | None = None
    if tracing is None:
        tracing, problem = _mount_tracefs()
    if tracing is None:
        raise _make_error(problem, _MOUNT)
    if not os.access(tracing, os.R_OK | os.X_OK, effective_ids=True):
        raise _make_error(PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tracing)), _READ)
    if not (tracing / _LIST).exists() and policy.is_confidential():
        # tracefs_create_file() makes no files once the kernel is locked down (Linux 5.4, ccbd54ff54e8)
        raise policy.make_lockdown_error("trace events (tracefs)")
    with contextlib.suppress(OSError):  # the other name is a courtesy to BCC
        _mirror_path(tracing)
    return tracing


def event_id(category: str, event: str) -> int:
    """Return the number of a trace event, as perf_event_open(2) takes it.

    Raises UnsupportedError if there is no such event, and the errors of :func:`root`.
    """
    try:
        return int((_event_folder(category, event) / "id").read_text())
    except FileNotFoundError:
        raise UnsupportedError(
            f"this kernel has no trace event {category}:{event}",
            hint=f"what it has is in {TRACING}/available_events",
        ) from None
    except OSError as error:
        raise policy.explain(error, f"trace event {category}:{event}", capabilities=_READ) from error


def event_format(name: str) -> bytes:
    """Return the field layout of the trace event ``category:event``, in tracefs's format.

    Raises the errors of :func:`event_id`.
    """
    category, _, event = name.partition(":")
    event_id(category, event)
    try:
        return (_event_folder(category, event) / "format").read_bytes()
    except OSError as error:
        raise policy.explain(error, f"trace event {name}", capabilities=_READ) from error


def fields(name: str) -> list[str]:
    """Return the fields of the trace event ``category:event`` as C declares them, without the common
    fields.

    Raises the errors of :func:`event_id`.
    """
    declared = re.findall(r"^\tfield:([^;]+);", event_format(name).decode(errors="replace"), re.M)
    return [field for field in declared if not re.search(r"\bcommon_\w+$", field)]


def has_event(category: str, event: str) -> bool:
    """Return whether a trace event exists. Raises the errors of :func:`root`."""
    return (_event_folder(category, event) / "id").exists()


def is_listed(category: str, event: str) -> bool:
    """Return whether :func:`events` has a trace event. Raises the errors of :func:`root`."""
    # Those that it does not have cannot be enabled (the kernel's t_next and event_create_dir).
    return (_event_folder(category, event) / "enable").exists()


def events() -> list[str]:
    """Return all trace events as ``category:event``, sorted. Raises the errors of :func:`root`."""
    try:
        return sorted((root() / _LIST).read_text().split())
    except OSError as error:
        raise policy.explain(error, "the list of trace events", capabilities=_READ) from error


def _event_folder(category: str, event: str) -> Path:
    return root() / "events" / category / event


def _exists(path: Path) -> bool:
    return mounts.is_mounted(mounts.TRACEFS, path)


def _mount_tracefs() -> tuple[Path | None, OSError | None]:
    """Mount tracefs: by itself, or in debugfs, which it was a part of before Linux 4.1."""
    try:
        mounts.ensure_mounted(mounts.TRACEFS, TRACING)
        return TRACING, None
    except OSError as error:
        problem = error
    if problem.errno in (errno.ENODEV, errno.ENOENT):
        with contextlib.suppress(OSError):
            mounts.ensure_mounted(mounts.DEBUGFS, DEBUG)
            if (OLD_TRACING / "events").is_dir():
                return OLD_TRACING, None
    return None, problem


def _mirror_path(tracing: Path) -> None:
    """Make tracefs visible at its other path, too. Raises OSError if that fails."""
    if tracing != TRACING:
        if TRACING.is_dir():
            mounts.ensure_mounted(mounts.TRACEFS, TRACING)
        return
    if _exists(OLD_TRACING):
        return
    mounts.ensure_mounted(mounts.DEBUGFS, DEBUG)
    # debugfs mounts tracefs in itself when somebody looks; a kernel may be built without that
    # (CONFIG_TRACEFS_AUTOMOUNT_DEPRECATED), and then has no folder to mount it on either.
    with contextlib.suppress(OSError):
        next(OLD_TRACING.iterdir(), None)
    if _exists(OLD_TRACING):
        return
    if not OLD_TRACING.is_dir():
        mounts.hide(DEBUG)
        OLD_TRACING.mkdir()
    mounts.ensure_mounted(mounts.TRACEFS, OLD_TRACING)


def _make_error(error: OSError | None, capabilities: tuple[str, ...]) -> NotPermittedError | UnsupportedError:
    if error is None or error.errno in (errno.ENODEV, errno.ENOENT):
        return UnsupportedError(
            "this kernel has no tracefs", hint="trace events need a kernel built with CONFIG_FTRACE"
        )
    policy_error = policy.explain(error, "trace events (tracefs)", capabilities=capabilities)
    if isinstance(policy_error, (NotPermittedError, UnsupportedError)):
        return policy_error
    return UnsupportedError(policy_error.message, hint=policy_error.hint)
