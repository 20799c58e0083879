"""Network interfaces by index."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping


def interface_decoder(named: Mapping[int, str]) -> Callable[[int], str]:
    """A decoder: the name that the user gave an index, else the kernel's, else ``interface_N``."""

    def decode(index: int) -> str:
        if index in named:
            return named[index]
        try:
            return socket.if_indextoname(index)
        except OSError:
            return f"interface_{index}"

    return decode
