"""Run a plan: build, load, attach, read, close."""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pytracer import arrays, budget
from pytracer.bpf import process_mark, target_programs
from pytracer.bpf.attach import attacher_of
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.perf import make_room
from pytracer.bpf.builder import LoadedPrograms, ProgramLoad, load_program, open_programs
from pytracer.bpf.cache.image_cache import Recipe
from pytracer.bpf.compile.source import read_source
from pytracer.bpf.load.module import Module
from pytracer.bpf.read.aggregates import AggregateReader
from pytracer.bpf.read.inflight import InflightCalls
from pytracer.bpf.read.maps import Map
from pytracer.bpf.read.streams import StreamReader, open_reader
from pytracer.bpf.sys import ProgType, recursion_misses
from pytracer.errors import SchemaError
from pytracer.kernel import compat
from pytracer.kernel.policy import explain
from pytracer.model import Batch, Histograms, Loss, Snapshot, Stacks
from pytracer.model.items import Kind
from pytracer.model.loss import MISSED, MISSED_MEANING, REASONS, RING_FULL, TRUNCATED, UNWOUND
from pytracer.plan import Plan
from pytracer.plan.alternatives import ChosenProbe
from pytracer.plan.initial_entries import UNKNOWN_RUN, RunFacts
from pytracer.progress import announced
from pytracer.record import replace

if TYPE_CHECKING:
    from pytracer.trace.decoder import ResultDecoder
    from pytracer.trace.stack_collector import StackCollector

_RECORD = "pt_record"  # probes_c/include/stream.h


def discard_line(_line: str) -> None:
    """Ignore a message."""


class Session:
    """A running plan. Closing it, or the end of the process, leaves nothing behind.

    ``say`` gets a line for each step (``-v``), ``warn`` gets warnings for the user. ``run`` has the
    facts that entries of maps depend on. ``keep_rows`` leaves rows in the kernel as they are read.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        run: RunFacts = UNKNOWN_RUN,
        stop_requested: Callable[[], bool] = lambda: False,
        before_attach: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = discard_line,
        warn: Callable[[str], None] = discard_line,
        keep_rows: bool = False,
    ) -> None:
        """Build, load and attach. Raises what :mod:`pytracer.errors` lists for each step."""
        self.plan = plan
        self._run = run
        self._say, self._warn = say, warn
        self._links: list[Link] = []
        self._detached: list[Link] = []
        self._watched: list[Link] = []  # of the links, those whose place may go away
        self._placed = False  # whether there were any
        self.started = self._ended = 0.0
        self._read_at = 0.0
        self._aggregates: AggregateReader | None = None
        self._reported: dict[str, int] = {}
        self._decoder: ResultDecoder | None = None
        self.stream: StreamReader | None = None
        self._stack_collector: StackCollector | None = None
        self._calls: InflightCalls | None = None
        for warning in (*plan.named.warnings, *compat.warnings(plan.named.names, plan.request)):
            warn(warning)
        self._budget = budget.claim(warn)
        loaded = self._build(stop_requested)
        self._module, self._programs = loaded.module, loaded.programs
        self._mark = -1
        try:
            self._mark = process_mark.set_mark(plan.request.tracer.name, self._programs.values())
            self._open_stream()
            self._check_schema()
            if not plan.schema.is_stream:
                self._aggregates = AggregateReader(plan.schema, loaded.module.maps, drain=not keep_rows)
            if plan.schema.is_stacks:
                from pytracer.trace.stack_collector import StackCollector

                self._stack_collector = StackCollector(
                    loaded.module.maps,
                    warn,
                    self._budget,
                    annotate=bool(plan.request.options.get("annotate")),
                    probed=bool(plan.named.names) and not plan.request.options.get("user-only"),
                )
                if plan.request.process:
                    self._stack_collector.watch(plan.request.process)
            if "pt_calls" in loaded.module.maps:
                self._calls = InflightCalls(loaded.module.maps["pt_calls"])
            self._fill()
            before_attach()
            self._attach()
        except BaseException:
            self.close()
            raise

    def read(self, kind: Kind) -> Snapshot | Histograms | Stacks:
        """Read and decode results: those since the last ``row``, or of the whole run (``summary``)."""
        now = self._ended or time.monotonic()
        self._fill(again=True)
        assert self._aggregates is not None, "a stream has no rows"
        quiet = not self._links
        if kind == "row":
            rows, seconds = self._aggregates.read_interval(quiet=quiet), now - self._read_at
            self._read_at = now
        else:
            rows, seconds = self._aggregates.read_total(quiet=quiet), now - self.started
        assert self._decoder is not None, "nothing is read before programs are attached"
        return self._decoder.decode_rows(rows, kind, seconds)

    def poll(self) -> None:
        """Collect what may be gone when results are read; call it every ``poll_interval`` seconds."""
        if self._stack_collector is not None:
            self._stack_collector.poll()
        if self._calls is not None:
            self._calls.sweep()

    def drain_rows(self) -> None:
        """Make room for more rows in the kernel if it is due; call it like ``poll``. ``read`` drains, too."""
        if self._aggregates is not None:
            self._aggregates.drain_rows()

    @property
    def poll_interval(self) -> float | None:
        """Seconds until ``poll`` or ``drain_rows`` is due; None if neither has anything to do."""
        counted = None if self._aggregates is None else self._aggregates.poll_interval
        moments = [counted, None if self._stack_collector is None else self._stack_collector.poll_interval]
        return min((moment for moment in moments if moment is not None), default=None)

    def events(self, *, last: bool = False) -> Iterator[Batch]:
        """Yield the batches in the stream; with ``last``, after ``detach``, all that are left."""
        while self.stream is not None:
            records = self.stream.read(last=last)
            if records is None:
                return
            assert self._decoder is not None, "nothing is read before programs are attached"
            yield self._decoder.decode_batch(records)

    def losses(self) -> Iterator[Loss]:
        """Yield the losses since the last call, by reason."""
        counts = dict.fromkeys(REASONS, 0)
        if "pt_losses" in self._module.maps:
            _, values = self._map("pt_losses").read()
            counts = dict(zip(REASONS, values.sum(axis=1).tolist(), strict=True))
        if self.stream is not None:  # before Linux 5.1 (56201969114f) the C was not told
            counts[RING_FULL] = max(counts[RING_FULL], self.stream.lost)
            counts[TRUNCATED] += self.stream.truncated
        counts[MISSED] = sum(recursion_misses(program) for program in self._programs.values())
        counts[MISSED] += sum(link.missed for link in (*self._links, *self._detached))
        if self._calls is not None:
            counts[UNWOUND] += self._calls.count_unwound(self._say, over=not self._links)
        for reason, count in counts.items():
            new = count - self._reported.get(reason, 0)
            self._reported[reason] = count
            if new:
                yield Loss(reason, new, REASONS.get(reason, MISSED_MEANING), time.time())

    def check_links(self) -> bool:
        """Warn of targets that were removed. Returns False once none is left, or all is detached."""
        if not self._watched:
            return not self._placed
        troubled = [(link, trouble) for link in self._watched if (trouble := link.poll_detached)]
        # Of a place that has several links, once.
        for said in dict.fromkeys(
            f"{link.target_kind} {link.place}: {trouble}" for link, trouble in troubled
        ):
            self._warn(said)
        over = [link for link, _ in troubled if link.is_over]
        self._watched = [link for link in self._watched if link not in over]
        return bool(self._watched)

    def discard(self) -> int:
        """Read and drop what the stream still holds, after ``detach``. Returns the number of events."""
        return 0 if self.stream is None else self.stream.discard()

    def detach(self) -> None:
        """Detach all programs; their results can still be read."""
        if not self._links:
            return
        if self._stack_collector is not None:
            self._stack_collector.prepare_detach()
        self._ended = time.monotonic()
        self._watched = []  # a link without a descriptor cannot be asked
        with announced(self._warn, lambda: f"still detaching: {len(self._links)} probes are left"):
            while self._links:
                self._detached.append(self._links.pop())
                self._detached[-1].detach()

    def close(self) -> None:
        """Detach, and close programs and maps."""
        self.detach()
        try:
            if self._detached:  # what was counted has been shown: this may take its time
                with announced(
                    self._warn, lambda: f"still removing probes: {len(self._detached) + 1} are left"
                ):
                    while self._detached:
                        self._detached.pop().close()
        finally:
            with contextlib.ExitStack() as stack:
                if self._mark >= 0:
                    stack.callback(os.close, self._mark)
                    self._mark = -1
                stack.callback(self._module.close)
                if self._aggregates is not None:
                    stack.callback(self._aggregates.close)
                if self._stack_collector is not None:
                    stack.callback(self._stack_collector.close)
                if self._decoder is not None:
                    stack.callback(self._decoder.close)
                if self.stream is not None:
                    stack.callback(self.stream.close)
                    self.stream = None

    @property
    def loaded(self) -> LoadedPrograms:
        """The loaded programs, and the module that owns them and their maps."""
        return LoadedPrograms(self._module, self._programs)

    @property
    def links(self) -> Sequence[Link]:
        """The links of attached programs; empty once they are detached."""
        return self._links

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _build(self, stop_requested: Callable[[], bool]) -> LoadedPrograms:
        tracer = self.plan.request.tracer
        make_room(2 * len(self.plan.probes))  # a program and what holds it, at the most
        wanted = dict.fromkeys(map(self._load_of, self.plan.probes))
        if self.plan.program != "c":
            lesson = importlib.import_module(f"pytracer.bpf.asm.lessons.{tracer.name}")
            self._say(f"program: {self.plan.program}, from {lesson.__name__}")
            built: Module = lesson.build(self.plan.config, self.plan.rows)
            return LoadedPrograms(built, {one: load_program(built, one) for one in wanted})
        recipe = Recipe(
            name=tracer.c_file,
            text=read_source(tracer.c_file, self.plan.generated),
            cflags=tuple(self.plan.cflags),
            programs=tuple(dict.fromkeys(one.program for one in wanted)),
            events=tuple(
                c.name for c in self.plan.probes if c.probe.kind == "tracepoint" and not c.probe.targets
            ),
            headers=self.plan.request.headers,
            pack=self.plan.request.pack,
        )
        return open_programs(
            recipe, tuple(wanted), say=self._say, warn=self._warn, stop_requested=stop_requested
        )

    def _load_of(self, chosen: ChosenProbe) -> ProgramLoad:
        """Return the load request of a program, with the user's packet filter as prologue if there is one."""
        load = target_programs.program_load(chosen.probe, chosen.target_id_source)
        wanted = self.plan.request.filter
        if wanted is None:
            return load
        from pytracer.bpf.asm.packet_filter import PacketContext, prologue

        context = PacketContext.FRAME if load.as_.type is ProgType.XDP else PacketContext.SKB
        before = prologue(wanted, context, load.as_.result)
        return replace(load, as_=replace(load.as_, prologue=before))

    def _map(self, name: str) -> Map:
        try:
            return self._module.maps[name]
        except KeyError:
            raise SchemaError(f"{self.plan.request.tracer.c_file} has no map {name!r}") from None

    def _check_schema(self) -> None:
        """Check that every declared column is a member of the compiled key or value struct."""
        schema = self.plan.schema
        table = self._map(_RECORD if schema.is_stream else schema.output.map)
        of_key, of_value = table.members
        needed = [("ns", of_value)] if schema.is_stream else []
        needed += [("pid", of_key), ("image", of_key), ("generation", of_key)] if schema.is_stacks else []
        needed += [(column.source, of_key) for column in schema.keys if column.source]
        needed += [(column.source, of_value) for column in schema.values if column.source]
        for field, members in needed:
            if field not in members:
                raise SchemaError(
                    f"column field {field!r} is no member of map {table.name!r} in {schema.tracer}.c",
                    hint=f"members: {', '.join(members)}",
                )

    def _open_stream(self) -> None:
        """Open the stream before the first record is written."""
        if self.plan.schema.is_stream and not self.plan.schema.is_listing:
            arrays.load()
            ring = self._map(self.plan.schema.output.map)
            try:
                self.stream = open_reader(ring, self._map(_RECORD), self.plan.buffer)
            except OSError as error:
                raise explain(error, "the ring of events") from error

    def _list(self) -> None:
        """Open the iterator of a list."""
        from pytracer.bpf.attach.iterator import open_iterator
        from pytracer.bpf.read.streams.iterator_reader import ListingReader

        [link] = self._links
        try:
            self.stream = ListingReader(open_iterator(link), self._map(_RECORD).value)
        except OSError as error:
            raise explain(error, "the list") from error

    def _fill(self, *, again: bool = False) -> None:
        """Write the plan's entries into the maps; ``again``: those that may have changed."""
        for initial in self.plan.initial_entries:
            if (again and not initial.is_refreshed) or (
                initial.is_optional and initial.map not in self._module.maps
            ):
                continue
            table = self._map(initial.map)
            for key, value in initial.entries(self._run):
                table.update(key, value)

    def _attach(self) -> None:
        # What takes a record out of a map stands before what puts it in: a call that began while the first
        # was there and the second not would leave a start behind, to be taken for another call's.
        named = target_programs.TargetAttacher(self._warn)
        iterators: list[Link] = []
        for chosen in reversed(self.plan.probes):
            load = self._load_of(chosen)
            place = AttachTarget(
                chosen.name,
                self.plan.request.interfaces,
                chosen.choice,
                chosen.rate,
                command=self._run.command,
                members=chosen.members,
                cgroups=self.plan.attach_cgroups,
            )
            if chosen.probe.targets:
                links = named.attach(chosen.probe, chosen.target_id_source, place, self._programs.get(load))
            else:
                links = attacher_of(chosen.probe).attach(chosen.probe, place, self._programs[load])
            self._links += links
            iterators += links if chosen.probe.kind == "iterator" else []
            self._watched += [link for link in links if link.place]
            for note in dict.fromkeys(link.note for link in links if link.note):
                self._warn(note)
            places = ", ".join(f"{link.place}: {link.how}" for link in links if link.how)
            where = f"{chosen.probe.kind} {places}" if places else chosen.target
            self._say(f"attached {chosen.probe.program} to {where}")
        self._placed = bool(self._watched)
        named.report_failures()
        if self.plan.schema.is_listing:
            self._list()
        elif iterators:  # behind the events, so that nothing begins between the two
            from pytracer.bpf.attach.iterator import run

            run(iterators)
        self.started = self._read_at = time.monotonic()
        # What shows results takes longer to load than all that was needed so far.
        from pytracer.trace.decoder import ResultDecoder

        self._decoder = ResultDecoder(self.plan, self._stack_collector, self._warn, self._budget)
