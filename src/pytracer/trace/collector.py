"""Collect the results of attached programs: one class for each way in which they come."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

from pytracer.bpf.attach.link import Link
from pytracer.bpf.read.maps import Map
from pytracer.budget import Budget
from pytracer.errors import SchemaError
from pytracer.model import Batch, Item, Loss
from pytracer.plan import Plan

RECORD = "pt_record"  # probes_c/include/stream.h


class Collector(Protocol):
    """Reads and decodes results. The methods defined here suit results that are read at intervals only."""

    @property
    def fileno(self) -> int | None:
        """A descriptor that becomes readable when there may be batches, or None."""
        return None

    @property
    def has_pending(self) -> bool:
        """True if the next batch is out of the ring already."""
        return False

    @property
    def unread_bytes(self) -> int:
        """The bytes that are still in the rings."""
        return 0

    @property
    def is_finished(self) -> bool:
        """True once a result says that the run is over."""
        return False

    @property
    def exit_code(self) -> int:
        """The exit code for such a result."""
        return 0

    @property
    def lost(self) -> int:
        """The number of records that found no room, except those that the C counts itself."""
        return 0

    @property
    def truncated(self) -> int:
        """The number of events without their end, except those that the C counts itself."""
        return 0

    @property
    def poll_interval(self) -> float | None:
        """Seconds until ``poll``, ``drain_rows`` or ``batches`` is due; None: they can wait."""
        return None

    def start(self, links: Sequence[Link]) -> None:
        """Begin, as programs are attached and count; ``links`` keep them there. Loads decoders, which takes
        longer than the rest of a start."""
        ...

    def poll(self) -> None:
        """Collect what may be gone when results are read."""
        return

    def drain_rows(self) -> None:
        """Make room for more rows in the kernel if it is due. Reading results does so, too."""
        return

    def batches(self) -> Iterator[Batch]:
        """Yield the batches that are there now."""
        return iter(())

    def read_interval(self, *, last: bool) -> Iterator[Item]:
        """Yield the results that an interval has at its end. Before the ``last``, programs are detached."""
        ...

    def read_summary(self) -> Iterator[Item]:
        """Yield the results of the whole run, after programs are detached."""
        return iter(())

    def prepare_detach(self) -> None:
        """Read data that exists only while programs are attached."""
        return

    def discard(self) -> int:
        """Read and drop the events that are left, after programs are detached. Returns their number."""
        return 0

    def close(self) -> None:
        """Close descriptors; maps and programs belong to the module."""
        ...


class ResultSource(Protocol):
    """A collector with what else the loop of a run reads: causes of its end, and losses."""

    collector: Collector

    def poll(self) -> None:
        """Collect what may be gone when results are read."""
        self.collector.poll()

    def read_interval(self, *, last: bool) -> Iterator[Item]:
        """Yield the results that an interval has at its end. Before the ``last``, programs are detached."""
        return self.collector.read_interval(last=last)

    def read_summary(self) -> Iterator[Item]:
        """Yield the results of the whole run, after programs are detached."""
        return self.collector.read_summary()

    def losses(self) -> Iterator[Loss]:
        """Yield the losses since the last call, by reason."""
        return iter(())

    def check_links(self) -> bool:
        """Warn of targets that were removed. Returns False once none is left, or all is detached."""
        return True


def open_collector(
    plan: Plan,
    maps: Mapping[str, Map],
    warn: Callable[[str], None],
    budget: Budget,
    *,
    drain: bool,
    readers: Callable[[str], Collection[str]],
) -> Collector:
    """Open the collector of a plan's results, before anything is attached.

    ``warn`` gets messages about missing results, ``budget`` pays for name lookups. ``drain`` False leaves
    rows in the kernel as they are read. ``readers`` returns the programs that refer to a map. Raises
    SchemaError if columns and ``maps`` do not fit each other.
    """
    check_schema(plan, maps)
    if plan.script is not None:
        from pytracer.trace.script_collector import ScriptCollector

        return ScriptCollector(plan, maps, warn, budget, readers)
    if plan.schema.is_stream:
        from pytracer.trace.stream_collector import ListCollector, StreamCollector

        return (ListCollector if plan.schema.is_listing else StreamCollector)(plan, maps, warn, budget)
    if plan.schema.is_stacks:
        from pytracer.trace.stack_collector import StackCollector

        return StackCollector(plan, maps, warn, budget, drain=drain)
    from pytracer.trace.row_collector import RowCollector

    return RowCollector(plan, maps, warn, budget, drain=drain)


def check_schema(plan: Plan, maps: Mapping[str, Map]) -> None:
    """Check that every declared column is a member of the compiled key or value struct.

    Raises SchemaError.
    """
    schema = plan.schema
    table = find_map(plan, maps, RECORD if schema.is_stream else schema.output.map)
    of_key, of_value = table.members
    file = plan.request.tracer.file
    for column in schema.values:
        if column.last and not schema.is_stream and "seen" not in of_value:
            raise SchemaError(
                f"{file}: column {column.name!r} has last=True, but the values of map {table.name!r} have no"
                " member 'seen'",
                hint="add u64 seen to the struct, and set it to bpf_ktime_get_ns() with each value",
            )
    required = [("ns", of_value)] if schema.is_stream else []
    required += [("pid", of_key), ("image", of_key), ("generation", of_key)] if schema.is_stacks else []
    required += [("slot", of_key)] if schema.is_histogram else []
    required += [(column.source, of_key) for column in schema.keys if column.source]
    required += [(column.source, of_value) for column in schema.values if column.source]
    c_file = plan.request.tracer.c_file
    for field, members in required:
        if field not in members:
            raise SchemaError(
                f"{file}: column field {field!r} is no member of map {table.name!r} in {c_file}",
                hint=f"members: {', '.join(members)}",
            )


def find_map(plan: Plan, maps: Mapping[str, Map], name: str) -> Map:
    """Return a map that a plan's program has to have. Raises SchemaError."""
    try:
        return maps[name]
    except KeyError:
        raise SchemaError(f"{plan.request.tracer.c_file} has no map {name!r}") from None
