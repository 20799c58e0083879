"""What holds a program where it was put."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

from pytracer.kernel import interface_state


class Link:
    """A descriptor that keeps a program attached: the kernel lets go when it is closed.

    ``note`` says what the program does not see there; "" where it sees all. ``place`` is the name of what it
    was put on, where that may go away under it ("" elsewhere), ``sort`` is what such a place is called, and
    ``how`` says in what way, where there are several.
    """

    how = ""
    target_kind = "interface"

    def __init__(self, fd: int, note: str = "", place: str = "") -> None:
        """Own ``fd``."""
        self.fd = fd
        self.note = note
        self.place = place

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
    def poll_detached(self) -> str:
        """What became of the place since this was last asked, in words; "" for nothing."""
        return ""

    @property
    def is_over(self) -> bool:
        """Whether the program will see nothing more, since its place is gone."""
        return False


def attach_each(interfaces: Mapping[int, str], attach: Callable[[int, str], Iterable[Link]]) -> list[Link]:
    """Make the links of each interface (index, name); all or nothing. Of one that is down, they say so."""
    made: list[Link] = []
    with attach_all_or_none(made):
        for index, name in interfaces.items():
            before = len(made)
            for link in attach(index, name):
                made.append(link)
            if index and not interface_state.is_up(name):
                for link in made[before:]:
                    link.note = (
                        f"{name} is down: nothing is seen there before it is up (ip link set {name} up)"
                    )
                    _ = link.poll_detached  # a socket reports the same, once
    return made


@contextlib.contextmanager
def attach_all_or_none(links: list[Link]) -> Iterator[None]:
    """Take the links off again that were made, where not all can be."""
    try:
        yield
    except BaseException:
        while links:
            links.pop().close()
        raise
