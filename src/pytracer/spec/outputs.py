"""The shapes of output. A tracer names one (or several, picked by a flag); sinks know how to show each."""

from __future__ import annotations

from pytracer.record import record
from pytracer.spec.columns import Column, Unit
from pytracer.spec.hooks import Hook

KERNEL_FRAMES = Column(
    "kernel", "functions of the kernel, innermost first", field="kernel_stack", decode="stack"
)
USER_FRAMES = Column("user", "functions of the program, innermost first", field="user_stack", decode="stack")


@record
class Output:
    """Base: the BPF ``map`` it is read from, its value columns, the flag (``when``) that picks it.

    ``keys`` are key columns of this output alone, beside those that rows are grouped by. ``hooks`` are what
    it needs, if not the tracer's. ``balance``: the C counts up and down (signed members), and rows whose
    first column has come to 0 are left out.
    """

    map: str
    columns: tuple[Column, ...]
    when: str = ""
    keys: tuple[Column, ...] = ()
    hooks: tuple[Hook, ...] = ()
    balance: bool = False

    @property
    def takes(self) -> tuple[str, ...]:
        """Which of the options that not every output makes sense of this one does: INTERVAL, --top, --sort,
        --max-rows, --buffer."""
        return ("INTERVAL", "--top", "--sort", "--max-rows")

    @property
    def does(self) -> str:
        """What it does with what the programs see, to complete a sentence that begins with the tracer."""
        return "shows tables"


@record
class Table(Output):
    """Rows of counters, the greatest ``sort`` first, every interval and once for the whole run.

    ``dense`` names a per-CPU array that, where the C has it, holds the rows whose one key column is a small
    number: its index.
    """

    sort: str = ""
    dense: str = ""


@record
class Profile(Table):
    """The calls of rows by system call, as a seccomp profile: of a command alone, and of the whole run."""

    @property
    def takes(self) -> tuple[str, ...]:
        """See :class:`Output`."""
        return ("--max-rows",)

    @property
    def does(self) -> str:
        """See :class:`Output`."""
        return "makes a profile of all calls of the command"


@record
class Histogram(Output):
    """Buckets per row: the map's key has a member ``slot``, the bucket of a value by probes_c/include/log2.h,
    and the first counter column says how many values fell into it.

    Further columns are shown beside the buckets of each row: of ``greatest`` ones the first is the greatest
    value. So are percentiles.
    """

    unit: Unit = Unit.NANOSECONDS
    label: str = ""

    @property
    def percentiles(self) -> dict[float, Column]:
        """The columns of percentiles, by the share of values that they are not exceeded by."""
        names = {0.5: "p50", 0.9: "p90", 0.99: "p99", 0.999: "p999"}
        return {
            share: Column(
                f"{name}_{self.unit.value}".removesuffix("_"),
                f"what {share:.1%} of them did not exceed".replace(".0%", "%"),
                label=name.replace("999", "99.9"),
                unit=self.unit,
            )
            for share, name in names.items()
        }


@record
class Stream(Output):
    """One line an event, as it happens. ``map`` is the ring of probes_c/include/stream.h, the columns are
    members of ``struct event``."""

    map: str = "events"
    columns: tuple[Column, ...] = ()

    @property
    def takes(self) -> tuple[str, ...]:
        """See :class:`Output`."""
        return ("--buffer",)

    @property
    def does(self) -> str:
        """See :class:`Output`."""
        return "shows each event as it happens"


@record
class Listing(Stream):
    """One line for each thing that there is, once: by an :class:`~pytracer.spec.Iterator`, whose program is
    written with probes_c/include/listing.h."""

    map: str = "pt_record"

    @property
    def takes(self) -> tuple[str, ...]:
        """See :class:`Output`."""
        return ()

    @property
    def does(self) -> str:
        """See :class:`Output`."""
        return "lists once what there is"


@record
class Stacks(Output):
    """Counters a stack, the greatest first: probes_c/include/stack.h, the members of whose
    ``struct pt_stacks`` are in the map's key. The first of the columns ranks them, unless another is asked
    for."""

    keys: tuple[Column, ...] = (KERNEL_FRAMES, USER_FRAMES)

    @property
    def takes(self) -> tuple[str, ...]:
        """See :class:`Output`. Where there is one counter, there is one way to rank."""
        several = len([column for column in self.columns if column.ratio is None]) > 1
        return ("INTERVAL", "--top", *(["--sort"] if several else []), "--max-rows")

    @property
    def does(self) -> str:
        """See :class:`Output`."""
        return "ranks stacks by how often they were seen"
