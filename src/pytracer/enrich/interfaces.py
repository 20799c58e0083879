"""Network interfaces by index."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

from pytracer.text import from_path


def interface_decoder(named: Mapping[int, str]) -> Callable[[int], str]:
    """Make a decoder of indexes: the name that the user gave, else the kernel's, else ``interface_N``."""

    # A name is kept: the interface may be gone when the summary is shown.
    names = {index: from_path(name) for index, name in named.items()}

    def decode(index: int) -> str:
        if index not in names:
            try:
                names[index] = from_path(socket.if_indextoname(index))
            except OSError:
                return f"interface_{index}"
        return names[index]

    return decode
