"""Names for numbers that C programs have by macros: errors, signals, flags of open, families of sockets."""

from __future__ import annotations

import errno
import functools
import os
import signal
import stat

_OWN = {"NULL": 0, "true": 1, "false": 0}


@functools.cache
def constants() -> dict[str, int]:
    """Return the constants by name, with this machine's values."""
    import socket  # few scripts name a constant

    sources = (
        (errno, ("E",)),
        (signal, ("SIG",)),
        (os, ("O_", "SEEK_", "P_")),
        (socket, ("AF_", "SOCK_", "IPPROTO_", "SOL_", "MSG_")),
        (stat, ("S_I",)),
    )
    found = dict(_OWN)
    for module, prefixes in sources:
        for name in dir(module):
            value = getattr(module, name)
            if name.startswith(prefixes) and name.isupper() and isinstance(value, int):
                found.setdefault(name, int(value))
    return found
