"""Identify the processes of stacks while a trace runs; look up names when results are read.

See "Whose stack it is" in docs/internals.md.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from pytracer import ktime
from pytracer.bpf.attach.link import Link
from pytracer.bpf.load.unwind_maps import UnwindMaps, has_unwinder
from pytracer.bpf.read.maps import Map
from pytracer.bpf.read.stack_ids import SampledProcess, StackMaps
from pytracer.bpf.read.streams.mmap_events import MappingEvents
from pytracer.budget import Budget
from pytracer.enrich import Decoder
from pytracer.enrich.result_rows import Ranking, ReadTime
from pytracer.enrich.stacks import StackNames, shape_stacks
from pytracer.kernel.policy import in_initial_namespace, read_sysctl
from pytracer.model import Schema, StackSnapshot
from pytracer.model.reduce import Rows
from pytracer.plan import Plan
from pytracer.prog.code_ranges import program_ranges
from pytracer.spec import Breakdown
from pytracer.spec.common import INLINES, LINES
from pytracer.symbols import memory_maps
from pytracer.symbols.kernel import KernelSymbols
from pytracer.trace.row_collector import RowCollector
from pytracer.trace.unwinding import TableSupply

_POLL_INTERVAL = 0.05  # seconds
_AGAIN = 1.0  # seconds between two looks at one that runs: it may have loaded more. While it is young, fewer


def _is_probed(plan: Plan) -> bool:
    """Return whether the kernel's part of a stack begins with the frames that led to the program. A
    sample's stack begins with the interrupted code; a breakdown has few of those."""
    kinds = {chosen_probe.probe.kind for chosen_probe in plan.probes}
    if plan.request.options.get("user-only"):
        return False
    return isinstance(plan.schema.output, Breakdown) or not kinds & {"perf_sample", "task_sample"}


class StackCollector(RowCollector):
    """Collects rows of stacks, and what symbolizing them needs: processes that live for less than the time
    between two calls of ``poll`` stay unknown."""

    def __init__(
        self,
        plan: Plan,
        maps: Mapping[str, Map],
        warn: Callable[[str], None],
        budget: Budget,
        *,
        drain: bool,
    ) -> None:
        """See :func:`~pytracer.trace.collector.open_collector`; ``budget`` pays for names of programs."""
        super().__init__(plan, maps, warn, budget, drain=drain)
        self._symbolize = self.symbolize
        self._warned = False
        self._shows_lines = bool(plan.request.options.get(LINES.name))
        self._maps = StackMaps(maps)
        self._names = StackNames(
            self._maps.stack,
            annotate=bool(plan.request.options.get("annotate")),
            parameters=bool(plan.request.options.get("parameters")),
            probed=_is_probed(plan),
            budget=budget,
            kernel=KernelSymbols(programs=program_ranges),
            functions=self._maps.functions,
            inlines=bool(plan.request.options.get(INLINES.name)),
        )
        self._supply = TableSupply(UnwindMaps(maps)) if has_unwinder(maps) else None
        # Of each process: samples at the last look, when the next is due, and what is then waited.
        self._seen: dict[tuple[int, int], tuple[int, float, float]] = {}
        self._looked = 0  # when the last look at sampled processes began
        self._moved: dict[int, int] = {}  # of each the time at which it was last seen to have moved code
        self._parents = set[int]()  # of those, which were not sampled
        self._raised: list[tuple[int, int]] = []  # of each mapping since the last look its process and time
        self._events: MappingEvents | None = None
        if in_initial_namespace("pid"):  # else the kernel records other ids than programs see
            with contextlib.suppress(OSError):
                self._events = MappingEvents()
        self._names.user.blind = self._events is None
        for pid in plan.request.processes:  # before they are sampled: they may end soon after
            self._names.user.notice(pid)
            self._supply_tables(pid, memory_maps.image_of(pid))
        if self._supply is not None:
            self._supply.flush()

    @property
    def poll_interval(self) -> float:
        """See :class:`~pytracer.trace.collector.Collector`."""
        rows = super().poll_interval
        own = _POLL_INTERVAL if self._supply is None else self._supply.poll_interval
        return own if rows is None else min(rows, own)

    def start(self, links: Sequence[Link], /) -> None:
        """See :class:`~pytracer.trace.collector.Collector`. Loads the unwind tables of the command, too."""
        super().start(links)
        if self._supply is not None and self._plan.request.command:
            self._supply.preload(self._plan.request.command, self._budget)

    def poll(self) -> None:
        """Read the mappings of sampled processes that are alive, if it is due."""
        self._poll(due=True)

    def _poll(self, *, due: bool) -> None:
        """Read the mappings of sampled processes that are alive: of those that are ``due``, or all."""
        for gap in [] if self._events is None else self._events.drain():
            self._names.user.add_break(*gap)
        look_time = ktime.monotonic_ns()
        processes = self._maps.images()  # after that: what these map from now on comes with the next look
        unknown = self._learn(processes)
        for pid, sampled in processes.items():
            if sampled.moved > self._moved.get(pid, 0):
                self._moved[pid] = sampled.moved
                self._names.user.add_move(pid, self._looked, sampled.moved)
                unknown.add(pid)
        self._looked = look_time
        if self._shows_lines:  # line tables are read while a process lives
            self._maps.read_functions()
        now, user = time.monotonic(), self._names.user
        for pid, sampled in processes.items():
            process = pid, sampled.image
            previous_samples, next_look, pause = self._seen.get(process, (0, 0.0, _POLL_INTERVAL))
            is_due = sampled.samples > previous_samples and (now >= next_look or not due)
            # What is shown must not be known better, or less, later.
            epoch = not due and user.makes_functions(pid, sampled.image)
            if sampled.image and (is_due or epoch or pid in unknown):
                self._seen[process] = sampled.samples, now + pause, min(2 * pause, _AGAIN)
                user.notice(pid, partial(self._maps.generation, pid) if user.blind else None)
                self._supply_tables(pid, sampled.image)
                if not user.blind and (epoch or user.wants_epoch(pid, sampled.image)):
                    self._begin_epoch(pid, sampled.image)
        if self._supply is not None:
            self._supply.flush()

    def _supply_tables(self, pid: int, image: int) -> None:
        """Load what the stacks of a process need, if they are walked by tables."""
        account = self._names.user.account(pid, image)
        if self._supply is not None and account is not None:
            self._supply.add(pid, image, self._names.user.mappings(pid, image), account)

    def _begin_epoch(self, pid: int, image: int) -> None:
        begin = ktime.monotonic_ns()
        self._maps.begin_epoch(pid, begin)
        self._names.user.add_epoch(pid, image, begin, ktime.monotonic_ns())

    def _learn(self, processes: Mapping[int, SampledProcess]) -> set[int]:
        """Apply new mapping events. Returns the processes whose mappings must be read from /proc."""
        user, unknown = self._names.user, set[int]()
        self._mark_unseen(processes)
        if self._events is None:
            return unknown
        pids: Collection[int] = processes.keys() | self._parents
        while pids:
            parents = set[int]()
            for pid, timestamp, mapping, parent in self._events.mapped_by(pids):
                if parent:
                    user.add_fork(pid, parent, timestamp)
                    parents.add(parent)
                    continue
                self._raised += [(pid, timestamp)] if pid in processes else []
                if self._supply is not None:  # the kernel needs the new code's table
                    unknown.add(pid)
                    if mapping is not None:
                        self._supply.add_file(pid, mapping, self._budget)
                if mapping is None:
                    user.add_exec(pid, timestamp)
                elif not user.add_mapped(pid, mapping, timestamp):
                    unknown.add(pid)
            pids = parents - processes.keys() - self._parents
            self._parents |= pids
            for pid in pids:
                user.notice(pid)
        return unknown

    def _mark_unseen(self, processes: Mapping[int, SampledProcess]) -> None:
        """Mark changes that raised no generation: samples before and after them look alike."""
        for pid, timestamp in self._raised:
            if processes[pid].generation < timestamp:
                self._names.user.mark_unseen(pid, timestamp)
        self._raised.clear()

    def prepare_detach(self) -> None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        self._names.before_detaching()
        super().prepare_detach()

    def symbolize(
        self, rows: Rows, schema: Schema, ranking: Ranking, decoders: Mapping[str, Decoder], moment: ReadTime
    ) -> StackSnapshot:
        """Symbolize these rows."""
        self._poll(due=False)
        self._maps.read_functions()
        if moment.kind == "summary":  # there is no further look, and nothing raises a generation any more
            self._mark_unseen(self._maps.images())
            if self._supply is not None and (warning := self._supply.describe_fallbacks()):
                self._warn(warning)
        item = shape_stacks(rows, schema, ranking, decoders, moment, self._names)
        if not self._warned and any(item.columns["kernel"]) and self._names.kernel.hidden:
            self._warned = True
            restrict = read_sysctl("kernel.kptr_restrict")
            self._warn(
                "the kernel does not say where its functions are, addresses are shown: "
                f"kernel.kptr_restrict={'?' if restrict is None else restrict}, "
                "and what is not root needs CAP_SYSLOG"
            )
        return item

    def close(self) -> None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        with contextlib.ExitStack() as stack:
            stack.callback(super().close)
            if self._events is not None:
                stack.callback(self._events.close)
            stack.callback(self._names.close)
