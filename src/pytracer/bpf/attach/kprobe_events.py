"""Probe many kernel functions by one trace event of tracefs with a probe on each.

Unlike a descriptor, such an event outlives the process that made it. Its name identifies its owner, so that
leftovers of killed processes are removed when the next event is made. A probe that was left behind is
disarmed: the kernel disabled it with the killed process's descriptor, and it only takes memory.

See "System calls by kprobes" in docs/internals.md.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator

from pytracer.bpf.attach import kprobe
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.owner import is_dead, name_owner
from pytracer.bpf.attach.perf import attach_program, pack_event_attr
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.attach.tracepoint import PERF_TYPE_TRACEPOINT
from pytracer.bpf.prober import FeatureProber, report_error, report_untried
from pytracer.bpf.sys import ProgType
from pytracer.errors import AttachError, PytracerError
from pytracer.features.table.hook_features import KPROBE_EVENT
from pytracer.kernel import functions, tracefs
from pytracer.kernel.facts import Support, TargetIdSource
from pytracer.kernel.functions import KernelFunctions
from pytracer.spec import KprobeEvents, parse_source

GROUP = "pytracer"
_OURS = re.compile(rf"^\w+:({GROUP}/\w+?_(\d+_\d+_\d+)) ", re.M)
_PLACES = 512  # calls of one function that may be in flight; the kernel's own choice is twice the CPUs
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


def check_support(probe: KprobeEvents, prober: FeatureProber) -> Support:
    """Test whether the functions can be probed by one trace event.

    Makes none. For places within functions, the kprobe PMU tests whether an instruction begins there.
    """
    if not kprobe.is_there():  # built by the same option (CONFIG_KPROBE_EVENTS)
        return kprobe.NO_KPROBES
    if prober.missing_capabilities:
        return report_untried(probe.target)
    try:
        if not takes_many_probes():
            return Support(False, reason=KPROBE_EVENT.absence)
        matches = functions.functions_named(probe.patterns, probe.addresses)
    except PytracerError as reason:
        return report_error(reason)
    for source in map(parse_source, probe.patterns):
        for address in probe.addresses if source.offset else ():
            symbol, start = source.name.partition("@")[0], address - source.offset
            answer = kprobe.explain_refusal(symbol, source.offset, prober, address=start)
            if answer is not None:
                return answer
    return Support(True, matches.describe, reason=matches.note, target_id_source=TargetIdSource.ADDRESS)


def takes_many_probes() -> bool:
    """Return whether a trace event can have many probes. The kernel's own help shows what came with that and
    is used with it: immediate values in definitions. Raises as :func:`tracefs.root`."""
    try:
        return r"\imm-value" in (tracefs.root() / "README").read_text()
    except OSError:
        return False


def load_attributes(_: KprobeEvents) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.KPROBE)


def attach(probe: KprobeEvents, _: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return [attach_event(functions.functions_named(probe.patterns, probe.addresses), program, probe.program)]


def attach_event(matches: KernelFunctions, program: int, name: str) -> EventLink:
    """Attach ``program`` to the entries of all functions, by an event whose name begins with ``name``."""
    event = f"{GROUP}/{name}_{name_owner(os.getpid())}"
    try:
        sweep()
        return EventLink(
            open_event(event, _iter_definitions(event, matches.names), program), event, matches.note
        )
    except OSError as error:
        raise make_attach_error(error, f"a kprobe event on {matches.describe}") from error


def attach_return(symbol: str, program: int, name: str, cookies: tuple[int, ...]) -> EventLink:
    """Attach ``program`` to the return of a function, by an event whose name begins with ``name``."""
    event = f"{GROUP}/{name}_{name_owner(os.getpid())}"
    try:
        sweep()
        lines = [f"r{_PLACES}:{event} {symbol}"]
        return EventLink(open_event(event, lines, program, cookies), event, "")
    except OSError as error:
        raise make_attach_error(error, f"a kretprobe event on {symbol}") from error


def attach_place(
    place: str, program: int, *, at_return: bool = False, process: int = 0, listing: str = KPROBES
) -> EventLink:
    """Attach ``program`` to one place by an event of its own, as kernels take it that have no PMU for such
    probes (Linux before 4.17). ``process``: the only one in which it runs. Raises OSError."""
    event = f"{GROUP}/at{next(_numbers)}_{name_owner(os.getpid())}"
    sweep(listing)
    line = f"{'r' if at_return else 'p'}:{event} {place}"
    return EventLink(open_event(event, [line], program, process=process, listing=listing), event, "", listing)


def has_listing(listing: str) -> bool:
    """Return whether tracefs is there, and makes probes."""
    with contextlib.suppress(PytracerError):
        return (tracefs.root() / listing).exists()
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


def _iter_definitions(event: str, addresses: Iterable[int]) -> Iterator[str]:
    """Yield the lines that put a probe of the event on each address.

    Probes are by address, since Linux before 6.6 goes through all its symbols for each name. The kernel takes
    probes by address for duplicates unless their arguments differ: so each gets a number.
    """
    for number, address in enumerate(addresses):
        yield f"p:{event} {address:#x} n=\\{number}"


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
