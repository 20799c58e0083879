"""Make trace events with probes in tracefs, and attach programs to them.

Unlike a descriptor, such an event outlives the process that made it. Its name identifies its owner, so that
leftovers of killed processes are removed when the next event is made. A probe that was left behind is
disarmed: the kernel disabled it with the killed process's descriptor, and it only takes memory.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path

from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.owner import is_dead, name_owner
from pytracer.bpf.attach.perf import attach_program, pack_event_attr
from pytracer.bpf.attach.tracepoint import PERF_TYPE_TRACEPOINT
from pytracer.errors import AttachError, PytracerError
from pytracer.features.table.feature import Feature
from pytracer.kernel import kconfig, tracefs

GROUP = "pytracer"
_OURS = re.compile(rf"^\w+:({GROUP}/\w+?_(\d+_\d+_\d+)) ", re.M)
KPROBES, UPROBES = "kprobe_events", "uprobe_events"  # files of tracefs
_numbers = itertools.count()
_CHUNK = 4095  # WRITE_BUFSIZE of kernel/trace/trace.c holds one more, a NUL


class EventLink(Link):
    """A perf event on a trace event that this process made."""

    def __init__(self, fd: int, event: str, note: str, listing: str = KPROBES) -> None:
        """Own ``fd`` and the trace event ``event``."""
        super().__init__(fd, note)
        self._event, self._listing = event, listing

    @property
    def missed(self) -> int:
        """See :class:`Link`."""
        if self._listing == UPROBES:  # which miss none
            return 0
        profile = (tracefs.root() / "kprobe_profile").read_text()
        name = self._event.partition("/")[2]
        return sum(int(line.split()[2]) for line in profile.splitlines() if line.split()[0] == name)

    def close(self) -> None:
        """See :class:`Link`. The kernel waits for a grace period for each probe."""
        super().close()
        try:
            remove(self._event, self._listing)
        except FileNotFoundError:
            pass
        except OSError as error:  # EBUSY: somebody else has put it to use
            raise AttachError(
                f"cannot take the trace event {self._event} away: {os.strerror(error.errno or 0)}",
                hint=f"echo '-:{self._event}' >> {tracefs.TRACING}/{self._listing} does, once nobody uses it",
            ) from error


def name_event(name: str) -> str:
    """Return a trace event's name that begins with ``name`` and tells that it is of this process."""
    return f"{GROUP}/{name}_{name_owner(os.getpid())}"


def attach_place(
    place: str, program: int, *, at_return: bool = False, process: int = 0, listing: str = KPROBES
) -> EventLink:
    """Attach ``program`` to one place by an event of its own, as kernels take it that have no PMU for such
    probes (Linux before 4.17). ``process``: the only one in which it runs. Raises OSError."""
    event = name_event(f"at{next(_numbers)}")
    sweep(listing)
    line = f"{'r' if at_return else 'p'}:{event} {place}"
    return EventLink(open_event(event, [line], program, process=process, listing=listing), event, "", listing)


def can_probe(pmu: Path, feature: Feature, listing: str) -> bool:
    """Return whether there are probes of a kind: by their perf PMU, or before Linux 4.17 by trace events."""
    if pmu.is_dir():
        return True
    with contextlib.suppress(PytracerError):
        return not kconfig.is_since(feature.since) and (tracefs.root() / listing).exists()
    return False


def open_event(
    event: str,
    lines: Iterable[str],
    program: int,
    cookies: tuple[int, ...] = (),
    *,
    process: int = 0,
    listing: str = KPROBES,
) -> int:
    """Define the event by ``lines`` and attach ``program``; if that fails, no event is left. Raises
    OSError."""
    try:
        _write_commands(lines, listing)
        number = tracefs.event_id(*event.split("/"))
        attr = pack_event_attr(PERF_TYPE_TRACEPOINT, number)
        return attach_program(attr, program, cookies, process=process)
    except BaseException:
        with contextlib.suppress(OSError):
            remove(event, listing)
        raise


def remove(event: str, listing: str = KPROBES) -> None:
    """Remove a trace event with all its probes. Raises OSError."""
    _write_commands([f"-:{event}"], listing)


def sweep(listing: str = KPROBES) -> None:
    """Remove the events that ended processes left. Raises OSError."""
    for event in list_leftovers(listing):
        with contextlib.suppress(FileNotFoundError):  # somebody else was quicker
            remove(event, listing)


def list_leftovers(listing: str = KPROBES) -> list[str]:
    """List the events that ended processes left. Raises OSError."""
    text = (tracefs.root() / listing).read_text()
    return [event_name for event_name, owner_name in sorted(set(_OURS.findall(text))) if is_dead(owner_name)]


def _write_commands(lines: Iterable[str], listing: str = KPROBES) -> None:
    """Write commands to tracefs in chunks of the size that it accepts. Raises OSError."""
    events = os.open(tracefs.root() / listing, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        chunk = b""
        for line in lines:
            command = f"{line}\n".encode()
            if len(chunk) + len(command) > _CHUNK:
                os.write(events, chunk)
                chunk = b""
            chunk += command
        os.write(events, chunk)
    finally:
        os.close(events)
