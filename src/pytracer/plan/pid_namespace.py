"""Tell programs in which pid namespace pytracer runs, so that they number processes as it does."""

from __future__ import annotations

from pathlib import Path

_OWN = Path("/proc/self/ns/pid")
_FIRST = 0xEFFFFFFC  # the inode of the first one (PROC_PID_INIT_INO)


def defines() -> dict[str, str]:
    """Return the macros of a namespace; none in the first one, where the kernel's own numbers hold."""
    try:
        own = _OWN.stat()
    except OSError:  # a kernel without namespaces
        return {}
    if own.st_ino == _FIRST:
        return {}
    return {"SCRIPT_PID_NAMESPACE": f"{own.st_ino}ULL", "SCRIPT_PID_NAMESPACE_DEVICE": f"{own.st_dev}ULL"}
