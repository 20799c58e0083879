"""iouring: operations of io_uring, by process, operation and ring, and how long they take."""

from pytracer.spec import Flag, GroupBy, Table, Tracer
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.io_uring import COUNTS, KEYS, REQUESTS, RINGS, TIMES

TRACER = Tracer(
    name="iouring",
    group="disks",
    summary="operations of io_uring: which, by whom, how many fail, how long they take",
    description="Counts operations of io_uring as they are submitted and completed, with the time between.",
    hooks=(REQUESTS, RINGS),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy("by", "the key of a row; several with commas", keys=KEYS, default="pid,operation"),
        Flag("latency", "histograms of the time", define="LATENCY"),
    ),
    outputs=(Table("rows", COUNTS, sort="submitted"), TIMES),
    examples=(
        ("iouring", "every ring of the machine"),
        ("iouring --by operation --wide -- ./server", "all numbers of one program"),
        ("iouring --latency -p 181", "histograms of the time, of one process"),
    ),
    notes=(
        "A timeout that runs out and a request that is cancelled have results below 0. Times are from the",
        "submission to the completion's event; before Linux 5.18 there are none, as events have no request.",
        "A request whose completion is skipped shows no end. Further results, and all before Linux 5.18, are",
        "of the operation with that ring and user data: none, if several operations in flight have the same.",
        "What was submitted before the trace, or is refused at once, has no process. --latency: known times.",
    ),
)
