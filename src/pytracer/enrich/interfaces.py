"""Network interfaces by index."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping


def interface_decoder(named: Mapping[int, str]) -> Callable[[int], str]:
    """A decoder: the name that the user gave an index, else the kernel's, else ``interface_N``."""

    known = dict(named)  # a name is kept: the interface may be gone when the summary is shown

    def decode(index: int) -> str:
        if index not in known:
            try:
                known[index] = socket.if_indextoname(index)
            except OSError:
                return f"interface_{index}"
        return known[index]

    return decode
