"""What holds a program where it was put."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping


class Link:
    """A descriptor that keeps a program attached: the kernel lets go when it is closed.

    ``note`` says what the program does not see there; "" where it sees all. ``interface`` is the network
    interface it was put on, by its name, "" for none, and ``how`` says in what way, where there are several.
    """

    how = ""

    def __init__(self, fd: int, note: str = "", interface: str = "") -> None:
        """Own ``fd``."""
        self.fd = fd
        self.note = note
        self.interface = interface

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

    @property
    def trouble(self) -> str:
        """What became of the place since this was last asked, in words; "" for nothing."""
        return ""

    @property
    def is_over(self) -> bool:
        """Whether the program will see nothing more, since its place is gone."""
        return False


def on_each(interfaces: Mapping[int, str], attach: Callable[[int, str], Iterable[Link]]) -> list[Link]:
    """The links that ``attach`` makes for each interface (index, name); all or nothing."""
    made: list[Link] = []
    try:
        for index, name in interfaces.items():
            for link in attach(index, name):
                made.append(link)
    except BaseException:
        while made:
            made.pop().close()
        raise
    return made
