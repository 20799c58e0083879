"""What holds a program where it was put."""

from __future__ import annotations

import os


class Link:
    """A descriptor that keeps a program attached: the kernel lets go when it is closed.

    ``note`` says what the program does not see there; "" where it sees all.
    """

    def __init__(self, fd: int, note: str = "") -> None:
        """Own ``fd``."""
        self.fd = fd
        self.note = note

    def detach(self) -> None:
        """Take the program off."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def close(self) -> None:
        """Take the program off, and away what was made for it: that may take seconds."""
        self.detach()

    @property
    def missed(self) -> int:
        """Events that passed without the program, as far as the link counts them."""
        return 0
