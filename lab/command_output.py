"""Pass on a command's output from the VM, up to a mark that ends it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable


def new_mark() -> str:
    """Return a word that no command prints by chance."""
    return f"<{secrets.token_hex(16)}>"


class Marked:
    """Passes on bytes up to a mark, and holds back only bytes that may begin the mark."""

    def __init__(self, mark: str, emit: Callable[[bytes], None]) -> None:
        self.ended = False
        self._mark = mark.encode()
        self._emit = emit
        self._kept = b""

    def feed(self, data: bytes) -> None:
        """Process received output."""
        if self.ended:
            return
        data = self._kept + data
        before, mark, _ = data.partition(self._mark)
        self.ended = bool(mark)
        # The longest end of it that could be how the mark begins.
        longest = min(len(self._mark) - 1, len(before)) if not mark else 0
        kept_length = next((n for n in range(longest, 0, -1) if self._mark.startswith(before[-n:])), 0)
        self._kept = before[len(before) - kept_length :]
        if len(before) > kept_length:
            self._emit(before[: len(before) - kept_length])

    def flush(self) -> None:
        """Write the output that was held back, since no more will come."""
        if self._kept:
            self._emit(self._kept)
            self._kept = b""


def writer(descriptor: int) -> Callable[[bytes], None]:
    """Return a function that writes all of its bytes to a descriptor."""

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    return write
