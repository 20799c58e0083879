"""Run a tracer for a moment, and ask the kernel for all that it has of it.

See "Explain and prog" in docs/internals.md.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from pytracer.bpf.builder import ProgramLoad, load_program
from pytracer.bpf.obj_info import MapInfo, ProgramInfo, read_map, read_program
from pytracer.bpf.objects import own_file_info
from pytracer.bpf.read.maps import Map
from pytracer.errors import PytracerError
from pytracer.explain.map_entries import MapEntries, entries_of
from pytracer.kernel.facts import KernelInfo
from pytracer.model import Batch
from pytracer.plan import AlternativeReport, Plan, report_alternatives
from pytracer.prog.run_stats import count_runs
from pytracer.record import record, replace
from pytracer.request import Request
from pytracer.trace.event_loop import EventLoop
from pytracer.trace.loop import TraceLoop
from pytracer.trace.run_tracer import Signals
from pytracer.trace.session import Session

SECONDS = 1.0  # the default time for which a tracer is watched


@record
class WatchedProgram:
    """A program of the tracer; ``copies`` is the number of programs that differ only in their target.

    ``log`` is the verifier log, ``time`` (ns) and ``runs`` are totals of all copies while they were watched;
    None if the kernel did not count.
    """

    load: ProgramLoad
    info: ProgramInfo
    copies: int
    log: str
    runs: int | None
    time: int | None
    missed: int


@record
class WatchedMap:
    """A map and its entries at the end; ``memory`` is what the kernel charges for it, in bytes."""

    info: MapInfo
    name: str
    memory: int | None
    entries: MapEntries


@record
class WatchedAttachment:
    """A program's place: ``facts`` is the kernel's information on the descriptor that keeps it there."""

    program: str
    where: str
    facts: tuple[tuple[str, str], ...] = ()


@record
class Observation:
    """The result of ``observe``. ``alternatives`` are those of each hook; ``records`` is the number of events
    from the stream, None if there is none."""

    plan: Plan
    alternatives: tuple[tuple[str, str, tuple[AlternativeReport, ...]], ...]
    programs: tuple[WatchedProgram, ...]
    tables: tuple[WatchedMap, ...]
    attachments: tuple[WatchedAttachment, ...]
    links: tuple[WatchedAttachment, ...]
    seconds: float
    records: int | None
    messages: tuple[str, ...]
    uncounted: str = ""


def observe(
    request: Request,
    facts: Callable[[], KernelInfo],
    *,
    warn: Callable[[str], None],
    event_loop: EventLoop | None = None,
) -> Observation:
    """Run the tracer like any run, for ``duration`` or (without a command) :data:`SECONDS`, and observe it.

    The trace ends early with its command or the last traced process. A signal ends the trace, but not the
    observation of what is in the kernel; with ``event_loop``, an event loop, no signal is handled here.
    Nothing stays attached. Raises what :mod:`pytracer.errors` lists for each step.
    """
    if request.duration is None and not request.command:
        request = replace(request, duration=SECONDS)
    cached_facts = functools.cache(facts)
    messages = list[str]()
    with contextlib.ExitStack() as stack:
        events = stack.enter_context(Signals().handled()) if event_loop is None else event_loop
        trace = stack.enter_context(
            TraceLoop(request, cached_facts, events=events, log=messages.append, warn=warn, keep_rows=True)
        )
        alternatives = tuple(
            (
                resolved_hook.hook.name,
                resolved_hook.hook.what,
                tuple(report_alternatives(resolved_hook, request, cached_facts())),
            )
            for resolved_hook in trace.plan.resolved_hooks
        )
        session = trace.session
        links = tuple(_iter_links(session))
        uncounted = ""
        try:
            stack.enter_context(count_runs())
        except PytracerError as error:
            uncounted = error.message
        start = time.monotonic()
        records = sum(len(item) for item in trace if isinstance(item, Batch))
        return Observation(
            plan=trace.plan,
            alternatives=alternatives,
            programs=tuple(_iter_programs(session, has_counts=not uncounted)),
            tables=tuple(_iter_maps(session)),
            attachments=tuple(_iter_planned(trace.plan)),
            links=links,
            seconds=time.monotonic() - start,
            records=records if trace.schema.is_stream else None,
            messages=tuple(messages),
            uncounted=uncounted,
        )


def _iter_programs(session: Session, *, has_counts: bool) -> Iterator[WatchedProgram]:
    """Yield one program for each function and type: copies differ only in a constant."""
    loaded_programs = session.loaded
    copies = Counter(map(_drop_target, loaded_programs.programs))
    spent = dict[ProgramLoad, list[int]]()
    for load, descriptor in loaded_programs.programs.items():
        info = read_program(descriptor, code=False)
        numbers = info.run_count, info.run_time, info.recursion_misses or 0
        sums = spent.setdefault(_drop_target(load), [0, 0, 0])
        sums[:] = [a + b for a, b in zip(sums, numbers, strict=True)]
    for load, descriptor in loaded_programs.programs.items():
        kind = _drop_target(load)
        if kind not in spent:
            continue
        runs, nanoseconds, misses = spent.pop(kind)
        logs = list[str]()
        load_program(loaded_programs.module, load, logs.append)
        yield WatchedProgram(
            load=load,
            info=read_program(descriptor),
            copies=copies[kind],
            log="".join(logs),
            runs=runs if has_counts else None,
            time=nanoseconds if has_counts else None,
            missed=misses,
        )


def _drop_target(load: ProgramLoad) -> ProgramLoad:
    """Return a load request without the parts that differ between copies: target constants and BTF ids."""
    return replace(load, constants=(), optional=False, as_=replace(load.as_, btf_id=0))


def _iter_maps(session: Session) -> Iterator[WatchedMap]:
    # ``seen`` is when a value's latest columns are of: spec/columns.py.
    max_columns = {"seen", *(column.source for column in session.plan.schema.maxima)}
    for table in session.loaded.module.maps.values():
        memory = own_file_info(table.fd).get("memlock")
        entries = _read_entries(table, max_columns)
        yield WatchedMap(read_map(table.fd), table.name, int(memory) if memory else None, entries)


def _read_entries(table: Map, max_columns: Collection[str]) -> MapEntries:
    try:
        return entries_of(table, max_columns)
    except (OSError, PytracerError) as error:
        return MapEntries(None, reason=str(error))


def _iter_planned(plan: Plan) -> Iterator[WatchedAttachment]:
    for chosen_probe in plan.probes:
        yield WatchedAttachment(chosen_probe.probe.program, chosen_probe.target)


def _iter_links(session: Session) -> Iterator[WatchedAttachment]:
    """Yield the links with the kernel's information on them."""
    for link in session.links:
        facts = own_file_info(link.fd) if link.fd >= 0 else {}
        shown_facts = tuple((name, value) for name, value in facts.items() if name not in _DULL)
        description = f"{link.place}: {link.description}" if link.place and link.description else link.place
        yield WatchedAttachment(_find_descriptor_kind(link.fd), description, shown_facts)


_DULL = ("pos", "flags", "mnt_id", "ino", "scm_fds")


def _find_descriptor_kind(descriptor: int) -> str:
    """Return the kind of a descriptor: ``bpf_link``, ``perf_event``, a socket."""
    try:
        target = str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return "gone"
    return target.removeprefix("anon_inode:").strip("[]").partition(":")[0].replace("-", "_")


def total(programs: Sequence[WatchedProgram]) -> int:
    """Return the total run time of all programs in ns."""
    return sum(program.time or 0 for program in programs)
