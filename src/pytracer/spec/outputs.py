"""The shapes of output. A tracer names one (or several, picked by a flag); sinks know how to show each."""

from __future__ import annotations

from pytracer.record import record
from pytracer.spec.columns import Column, Unit
from pytracer.spec.hooks import Hook

KERNEL_FRAMES = Column(
    "kernel", "functions of the kernel, innermost first", field="kernel_stack", decode="stack"
)
USER_FRAMES = Column("user", "functions of the program, innermost first", field="user_stack", decode="stack")
WAKER_FRAMES = (
    Column("waker_kernel", "the waker's, of the kernel", field="waker_kernel_stack", decode="stack"),
    Column("waker_user", "the waker's, of its program", field="waker_user_stack", decode="stack"),
)
"""A second stack: members that begin with ``waker_``, otherwise as those of ``struct pt_stacks``."""
FURTHER_WAKERS = tuple(
    (
        Column(f"waker{n}", f"name of who woke {woken}", decode="text", null=b"", width=12),
        Column(
            f"waker{n}_kernel", "its stack, of the kernel", field=f"waker{n}_kernel_stack", decode="stack"
        ),
        Column(f"waker{n}_user", "its stack, of its program", field=f"waker{n}_user_stack", decode="stack"),
    )
    for n, woken in ((n, f"waker{n - 1}" if n > 2 else "the waker") for n in range(2, 5))
)
"""The columns of each further waker, ``waker2`` to the last: the waker of the one before it."""


@record
class Output:
    """Base: the BPF ``map`` it is read from, its value columns, the flag (``when``) that selects it.

    ``keys`` are key columns of this output alone, beside those that rows are grouped by. ``hooks`` replace
    the tracer's hooks, if given. ``balance``: the C counts up and down (signed members), and rows whose
    first column is back at 0 are left out.
    """

    map: str
    columns: tuple[Column, ...]
    when: str = ""
    keys: tuple[Column, ...] = ()
    hooks: tuple[Hook, ...] = ()
    balance: bool = False

    @property
    def all_keys(self) -> tuple[Column, ...]:
        """The key columns, with those that only some options show."""
        return self.keys

    @property
    def takes(self) -> tuple[str, ...]:
        """The options that this output takes, of those that not every output does: INTERVAL, --top, --sort,
        --max-rows, --buffer."""
        return ("INTERVAL", "--top", "--sort", "--max-rows")

    @property
    def does(self) -> str:
        """A verb phrase for the output, to complete a sentence that begins with the tracer's name."""
        return "shows tables"


@record
class Table(Output):
    """Rows of counters, the greatest ``sort`` first, every interval and once for the whole run.

    ``dense`` names a per-CPU array that, where the C has it, holds the rows whose one key column is a small
    number: its index. With ``dense_codes`` there are two key columns, the first a small number, the second
    one of these values: the index is the number times their count, plus the position of the value.
    """

    sort: str = ""
    dense: str = ""
    dense_codes: tuple[int, ...] = ()


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
    """Histograms by row: the map's key has a member ``slot``, the bucket of a value by
    probes_c/include/log2.h, and the first counter column is the number of values in it.

    Further columns are shown beside the buckets of each row: the first ``max`` column is the maximum.
    Percentiles are shown, too.
    """

    unit: Unit = Unit.NANOSECONDS
    label: str = ""

    @property
    def percentiles(self) -> dict[float, Column]:
        """The columns of percentiles, by the fraction of values at or below them."""
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
    """One line for each existing object, once: by an :class:`~pytracer.spec.Iterator`, whose program is
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
    """Counters by stack, the largest first: probes_c/include/stack.h; the map's key has the members of
    ``struct pt_stacks``. The first of the columns ranks them, unless the user chooses another. ``further``
    are keys, too: of each level above the first that the tracer's option ``depth`` asks for."""

    keys: tuple[Column, ...] = (KERNEL_FRAMES, USER_FRAMES)
    further: tuple[tuple[Column, ...], ...] = ()

    @property
    def all_keys(self) -> tuple[Column, ...]:
        """See :class:`Output`."""
        return (*self.keys, *(column for level in self.further for column in level))

    @property
    def takes(self) -> tuple[str, ...]:
        """See :class:`Output`. A single counter leaves nothing to sort by."""
        several = len([column for column in self.columns if column.ratio is None]) > 1
        return ("INTERVAL", "--top", *(["--sort"] if several else []), "--max-rows")

    @property
    def does(self) -> str:
        """See :class:`Output`."""
        return "ranks stacks by how often they were seen"


@record
class Breakdown(Stacks):
    """Time by class, as one page: the share of each class, then what each consists of.

    Its rows are stacks. The first of the tracer's keys is the class, the others say what it was spent on.
    The second of the columns counts times, the third samples, by which stacks of measured time rank.
    ``next`` names for each class the tracer to go on with, ``target`` what the run was of, as words of the
    command line; the plan fills it in.
    """

    next: tuple[tuple[str, str], ...] = ()
    target: str = ""

    @property
    def takes(self) -> tuple[str, ...]:
        """See :class:`Output`. A part of the rows would not add up."""
        return ("INTERVAL", "--max-rows")

    @property
    def does(self) -> str:
        """See :class:`Output`."""
        return "divides the whole time"
