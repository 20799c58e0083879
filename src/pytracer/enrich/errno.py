"""Error numbers by name."""

from __future__ import annotations

import errno

# include/linux/errno.h: never seen by a program, but by a tracer, where a signal interrupts a call.
_KERNEL = {
    512: "ERESTARTSYS",
    513: "ERESTARTNOINTR",
    514: "ERESTARTNOHAND",
    515: "ENOIOCTLCMD",
    516: "ERESTART_RESTARTBLOCK",
    517: "EPROBE_DEFER",
    518: "EOPENSTALE",
    519: "ENOPARAM",
    521: "EBADHANDLE",
    522: "ENOTSYNC",
    523: "EBADCOOKIE",
    524: "ENOTSUPP",
    525: "ETOOSMALL",
    526: "ESERVERFAULT",
    527: "EBADTYPE",
    528: "EJUKEBOX",
    529: "EIOCBQUEUED",
    530: "ERECALLCONFLICT",
}


def errno_name(number: int) -> str:
    """Decode an errno: ``2`` -> ``ENOENT``; ``errno_N`` if it has no name."""
    return errno.errorcode.get(number) or _KERNEL.get(number) or f"errno_{number}"
