"""Declare probes in programs and libraries: the sites, and uprobes there."""

from __future__ import annotations

from pytracer.record import record
from pytracer.spec.hooks import Probe


@record
class SiteArgument:
    """The location of a USDT argument at a site, packed for probes_c/include/usdt.h: ``size`` in bytes,
    negative if signed. ``problem`` is the reason why it cannot be read; "" if it can."""

    size: int
    packed: bytes
    problem: str = ""


@record
class ProbeSite:
    """A probe site: ``offset`` bytes from the start of a file that code is loaded from; ``name`` is for
    messages.

    ``semaphore`` is the file offset of the USDT semaphore, 0 if there is none. ``file`` is the file's path
    as the ``holder`` sees it, a process that has it mapped (0: we), and ``identity`` (device, inode, time
    of its last change) tells it from other files with that name, earlier or later. ``arguments`` are those
    of a USDT probe.
    """

    name: str
    offset: int
    semaphore: int = 0
    file: str = ""
    holder: int = 0
    identity: tuple[int, int, int] = (0, 0, 0)
    arguments: tuple[SiteArgument, ...] = ()


@record
class UserProbe(Probe):
    """Places in programs. ``file`` is a path, or the name of a library (``libc``) or program, as ``process``
    sees it (0: as we do, and every process that runs the file is probed).

    ``symbol`` is a function's name, a pattern with ``*``, ``name+0x10`` inside of one, or ``+0x1040`` in the
    file. Or ``mark`` is a USDT probe, ``provider:name``, both of which may be patterns; without a ``file``,
    it is looked for in all that the process (0: any) has mapped. Or they are ``sites`` of one file, that were
    found before. ``g_offset`` is where goroutines are found, if ``at`` says that calls are theirs
    (:class:`~pytracer.spec.code.FunctionCode`).
    """

    file: str = ""
    symbol: str = ""
    usdt: str = ""
    process: int = 0
    sites: tuple[ProbeSite, ...] = ()
    g_offset: int = 0

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return ":".join(part for part in (self.file, self.symbol or self.usdt) if part)


@record
class Uprobe(UserProbe):
    """Places in programs, each with a descriptor of its own."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "uprobe"


@record
class Uretprobe(Uprobe):
    """The returns of functions of programs, each with a descriptor of its own."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "uretprobe"


@record
class UprobeMulti(UserProbe):
    """Places in programs, by one link for each file."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "uprobe_multi"


@record
class UretprobeMulti(UprobeMulti):
    """The returns of functions of programs, by one link for each file."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "uretprobe_multi"
