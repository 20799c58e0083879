"""Places in programs, by the perf PMU 'uprobe' (Linux 4.17, 33ea4b24277b).

The kernel is given the file by a descriptor, and holds the inode from then on: whatever is done to the name,
and whichever processes end, the probe stays where it was put.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pytracer.bpf.attach.kind import LoadAs, Place
from pytracer.bpf.attach.link import Link, all_or_none
from pytracer.bpf.attach.perf import attach_program, event_attr, make_room, retprobe_bit
from pytracer.bpf.attach.refusal import attach_error
from pytracer.bpf.prober import Asking, no, problem, untried
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import EMPTY
from pytracer.errors import PytracerError, UnsupportedError
from pytracer.kernel.facts import Answer
from pytracer.procfs import has_ended
from pytracer.record import replace
from pytracer.spec import Spot, Uprobe, Uretprobe, UretprobeMulti, UserProbe
from pytracer.symbols import files, places, usdt
from pytracer.symbols.files import ProgramFile

PMU = Path("/sys/bus/event_source/devices/uprobe")
ABSENT = "this kernel has no uprobes (CONFIG_UPROBE_EVENTS, Linux 4.17)"
NO_SEMAPHORES = "this kernel does not count up the semaphores of USDT probes (Linux 4.20)"
SEMAPHORE_SHIFT = 32  # where config has the place of a semaphore, which so is in the first 4 GB of a file


def ask(probe: Uprobe, kernel: Asking) -> Answer:
    """Whether there are such places, and programs can be put on them. Tried on a file of our own."""
    if kernel.missing:
        return untried(probe.target)
    return _try_out(kernel) or replace(describe(probe), tells=kernel.tells(probe, ProgType.KPROBE))


def load_as(_: Uprobe) -> LoadAs:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    return LoadAs(ProgType.KPROBE)


def put(probe: Uprobe, place: Place, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    return put_by(attach, probe, place, program)


def put_by(attach: Callable[..., list[Link]], probe: UserProbe, place: Place, program: int) -> list[Link]:
    """The links on the places of all files, by :func:`attach` or what is called like it; all or nothing."""
    links = list[Link]()
    at_return = isinstance(probe, (Uretprobe, UretprobeMulti))
    # The kernel finds a process's memory by its main thread: once that has ended, it would put no breakpoint
    # there. So a probe is put for all processes then, and its program, which filters by process, tells.
    process = 0 if probe.process and has_ended(probe.process) else probe.process
    told = {"at_return": at_return, "process": process, "cookies": place.cookies}
    with all_or_none(links):
        for file, spots, note in located(probe):
            links += attach(file, spots, program, note=note, **told)
    return links


def attach(
    file: ProgramFile,
    spots: Sequence[Spot],
    program: int,
    *,
    at_return: bool = False,
    process: int = 0,
    cookies: Sequence[int] = (),
    note: str = "",
) -> list[Link]:
    """Put ``program`` on all spots of a file, in all processes or in one; all or nothing.

    ``cookies``, one for each spot, are what bpf_get_attach_cookie gives there (Linux 5.15). Raises
    UnsupportedError where the kernel cannot count up a semaphore, AttachError, or what its refusal means.
    """
    if not PMU.is_dir():
        raise UnsupportedError(ABSENT)
    if any(spot.semaphore for spot in spots) and not counts_semaphores():
        raise UnsupportedError(NO_SEMAPHORES)
    make_room(len(spots))
    path = ctypes.create_string_buffer(file.path.encode())
    kind = int((PMU / "type").read_text())
    flag = 1 << retprobe_bit(PMU) if at_return else 0
    links = list[Link]()
    with all_or_none(links):
        for number, spot in enumerate(spots):
            config = flag | spot.semaphore << SEMAPHORE_SHIFT
            attr = event_attr(kind, config, ctypes.addressof(path), spot.offset)
            try:
                cookie = tuple(cookies[number : number + 1])
                links.append(Link(attach_program(attr, program, cookie, process=process), note))
            except OSError as error:
                raise attach_error(error, f"{file.name}:{spot.name}") from error
    return links


def counts_semaphores() -> bool:
    """Whether the kernel counts up the semaphore of a spot while it is probed (Linux 4.20, a6ca88b241d5)."""
    return (PMU / "format/ref_ctr_offset").exists()


def located(probe: UserProbe) -> Iterator[tuple[ProgramFile, tuple[Spot, ...], str]]:
    """The files that a probe is put on, the spots in each, and what is not seen there; each file is closed
    when the next is asked for. Raises UsageError where there are none, NotPermittedError."""
    if probe.mark and not probe.file:
        provider, _, name = probe.mark.rpartition(":")
        for file, marks in usdt.in_process(probe.process, provider, name):
            yield file, tuple(mark.spot for mark in marks), ""
        return
    first = probe.spots[0] if probe.spots else Spot("", 0)
    with files.find(probe.file, first.holder or probe.process, first.identity) as file:
        unseen = (
            "" if file.mapped or not probe.process else f"process {probe.process} has not mapped {file.name}"
        )
        if probe.spots:
            yield file, probe.spots, unseen
        elif probe.mark:
            provider, _, name = probe.mark.rpartition(":")
            yield file, tuple(mark.spot for mark in usdt.find(file, provider, name)), unseen
        else:
            at_return = isinstance(probe, Uretprobe | UretprobeMulti)
            found = places.find(file, probe.symbol, at_return=at_return)
            yield file, found.spots, "; ".join(text for text in (found.note, unseen) if text)


def describe(probe: UserProbe) -> Answer:
    """What the probe is called here: the file's own path; or why there is no such place."""
    names, count, notes = list[str](), 0, list[str]()
    try:
        for file, spots, note in located(probe):
            if any(spot.semaphore for spot in spots) and not counts_semaphores():
                return Answer(False, reason=NO_SEMAPHORES)
            names.append(file.name)
            notes += [note] if note else []
            count += len(spots)
    except PytracerError as reason:
        return problem(reason)
    several = f" ({count} places)" if count > 1 else ""
    name = f"{', '.join(names)}:{probe.symbol or probe.mark}{several}"
    return Answer(True, name, reason="; ".join(notes))


@contextlib.contextmanager
def own_file() -> Iterator[ctypes.Array[ctypes.c_char]]:
    """The path of a file that nobody maps: what is tried on it disturbs nobody."""
    memory = os.memfd_create("pytracer", os.MFD_CLOEXEC)
    try:
        os.write(memory, bytes(4096))
        yield ctypes.create_string_buffer(f"/proc/self/fd/{memory}".encode())
    finally:
        os.close(memory)


def _try_out(kernel: Asking) -> Answer | None:
    """Why no program can be put on a file; None where one can."""
    if not PMU.is_dir():
        return Answer(False, reason=ABSENT)
    try:
        program = kernel.program(ProgType.KPROBE, EMPTY)
        with own_file() as path:
            attr = event_attr(int((PMU / "type").read_text()), 0, ctypes.addressof(path))
            os.close(attach_program(attr, program))
    except OSError as error:
        return no(error, ABSENT)
    return None
