"""Links: descriptors that keep a program attached."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

from pytracer.kernel import interface_state


class Link:
    """A descriptor that keeps a program attached; the kernel detaches it when it is closed.

    ``note`` says what the program does not see there; "" if it sees all. ``place`` is the name of a target
    that may be removed while the program is attached ("" otherwise), ``target_kind`` is what such a target is
    called, and ``description`` says how the program is attached, if there are several ways.
    """

    description = ""
    target_kind = "interface"
    uncounted = ""
    """What the kernel may skip there and counts nowhere."""

    def __init__(self, fd: int, note: str = "", place: str = "") -> None:
        """Own ``fd``."""
        self.fd = fd
        self.note = note
        self.place = place

    def detach(self) -> None:
        """Detach the program."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def close(self) -> None:
        """Detach the program and remove objects that were created for it, which may take seconds."""
        self.detach()

    @property
    def missed(self) -> int:
        """The number of runs that the kernel skipped, if the link counts them; else 0."""
        return 0

    @property
    def poll_detached(self) -> str:
        """Describe how the target was lost since the last call; "" if it was not."""
        return ""

    @property
    def is_over(self) -> bool:
        """True once the target is removed: the program will see nothing more."""
        return False


def attach_each(interfaces: Mapping[int, str], attach: Callable[[int, str], Iterable[Link]]) -> list[Link]:
    """Attach to each interface (index, name), or to none. Links of an interface that is down get a note."""
    links: list[Link] = []
    with attach_all_or_none(links):
        for index, name in interfaces.items():
            attached_before = len(links)
            for link in attach(index, name):
                links.append(link)
            if index and not interface_state.is_up(name):
                for link in links[attached_before:]:
                    link.note = (
                        f"{name} is down: nothing is seen there before it is up (ip link set {name} up)"
                    )
                    _ = link.poll_detached  # a socket reports the same, once
    return links


@contextlib.contextmanager
def attach_all_or_none(links: list[Link]) -> Iterator[None]:
    """Close the links that were made if the block fails."""
    try:
        yield
    except BaseException:
        while links:
            links.pop().close()
        raise
