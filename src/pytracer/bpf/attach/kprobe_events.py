"""Probe many kernel functions by one trace event of tracefs with a probe on each.

See "System calls by kprobes" in docs/internals.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytracer.bpf.attach import kprobe, probe_events
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.probe_events import EventLink
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import FeatureProber, report_error, report_untried
from pytracer.bpf.sys import ProgType
from pytracer.errors import PytracerError
from pytracer.features.table.hook_features import KPROBE_EVENT
from pytracer.kernel import functions, tracefs
from pytracer.kernel.facts import Support, TargetIdSource
from pytracer.kernel.functions import KernelFunctions
from pytracer.spec import KprobeEvents, parse_source

_PLACES = 512  # calls of one function that may be in flight; the kernel's own choice is twice the CPUs


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
    event = probe_events.name_event(name)
    lines = _iter_definitions(event, matches.names)
    return _attach(event, lines, program, f"a kprobe event on {matches.describe}", note=matches.note)


def attach_return(symbol: str, program: int, name: str, cookies: tuple[int, ...]) -> EventLink:
    """Attach ``program`` to the return of a function, by an event whose name begins with ``name``."""
    event = probe_events.name_event(name)
    lines = [f"r{_PLACES}:{event} {symbol}"]
    return _attach(event, lines, program, f"a kretprobe event on {symbol}", cookies)


def _attach(
    event: str,
    lines: Iterable[str],
    program: int,
    description: str,
    cookies: tuple[int, ...] = (),
    note: str = "",
) -> EventLink:
    try:
        probe_events.sweep()
        return EventLink(probe_events.open_event(event, lines, program, cookies), event, note)
    except OSError as error:
        raise make_attach_error(error, description) from error


def _iter_definitions(event: str, addresses: Iterable[int]) -> Iterator[str]:
    """Yield the lines that put a probe of the event on each address.

    Probes are by address, since Linux before 6.6 goes through all its symbols for each name. The kernel takes
    probes by address for duplicates unless their arguments differ: so each gets a number.
    """
    for number, address in enumerate(addresses):
        yield f"p:{event} {address:#x} n=\\{number}"
