"""The classes of the time of threads, with what they wait for; probes_c/include/waits.h, thread_time.h."""

from __future__ import annotations

from pytracer.spec.columns import Column, Key, Unit
from pytracer.spec.hooks import Alternative, Hook, Iterator

THREADS = Hook(
    "threads",
    "what threads do as the trace begins, and what goes on at its end",
    (Alternative("iterator", (Iterator("settled", of="task", repeated=True),)),),
)
"""Each thread that there is (``settled``), at the begin and at the end of each interval."""

WAIT_KEYS = (
    Key("class", (Column("class", "where the time went", decode="wait_class"),)),
    Key("call", (Column("call", "the system call", decode="syscall", null=(1 << 64) - 1),)),
    Key(
        "where",
        (Column("where", "file, other end, port, pipe, lock's address", decode="wait_where", null=b""),),
    ),
)
"""The class of time, the system call in which it was spent, and what the call waits for."""

TIME_COLUMNS = (
    Column("total_ns", "time", label="TIME", unit=Unit.NANOSECONDS),
    Column("count", "times that it began, or went on after an interval", unit=Unit.COUNT),
    Column("samples", "samples of CPUs there", unit=Unit.COUNT),
)
"""The members of struct row_value."""

TIME_TOTALS = (
    Column("life_ns", "that threads were there", unit=Unit.NANOSECONDS),
    Column("taken_ns", "of it on CPUs, but taken by interrupts or the hypervisor", unit=Unit.NANOSECONDS),
    Column("threads", "threads", unit=Unit.COUNT),
)
"""The members of struct pt_totals."""

NEXT = (
    ("user", "profile"),
    ("kernel", "profile"),
    ("runnable", "runqlat"),
    ("disk", "fsslower"),
    ("network", "tcptop"),
    ("lock", "futexstat"),
    ("sleep", "offcputime"),
    ("fault", "profile --event page-faults"),
    ("pipe", "offwaketime"),
    ("events", "syscalls"),
    ("child", "execsnoop"),
    ("stopped", "sigsnoop"),
    ("other", "offcputime"),
)
"""The tracer to go on with for each class."""
