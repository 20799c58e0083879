"""wqlat: how long work items of the kernel wait, and run."""

from pytracer.spec import Column, Flag, GroupBy, Histogram, Key, Table, Tracer, Unit
from pytracer.spec.common import BY_CPU
from pytracer.spec.hooks import Alternative, Hook, RawTracepoint

WORK = Hook(
    "work",
    "work items are queued and run",
    (
        Alternative(
            "raw-tracepoint",
            (
                # Queued and started with interrupts off.
                RawTracepoint("queued", event="workqueue_queue_work", arguments=3, preempted=False),
                RawTracepoint("started", event="workqueue_execute_start", preempted=False),
                RawTracepoint("ended", event="workqueue_execute_end"),
            ),
        ),
    ),
)
ITEMS = Column("items", "work items that began to run", unit=Unit.COUNT)
WAIT_COLUMNS = (
    Column("wait_ns", "time until they ran", label="WAITED", unit=Unit.NANOSECONDS),
    Column("max_wait_ns", "the longest", label="MAX", unit=Unit.NANOSECONDS, max=True),
)
RUN_TIME = Column("run_ns", "time that they ran", label="RAN", unit=Unit.NANOSECONDS)

TRACER = Tracer(
    name="wqlat",
    group="system",
    summary="time that work items of kernel workqueues wait and run",
    description="Adds up how long work items wait from when they are queued, and how long they run.",
    hooks=(WORK,),
    options=(
        GroupBy(
            "by",
            "the key of a row; several with commas",
            keys=(
                Key("function", (Column("function", "what it runs", decode="kernel_function"),)),
                Key("workqueue", (Column("workqueue", "its workqueue", decode="text"),)),
                BY_CPU,
            ),
            default="function",
        ),
        Flag("latency", "histograms of the time they wait", define="LATENCY"),
    ),
    outputs=(
        Table("rows", (ITEMS, *WAIT_COLUMNS, RUN_TIME), sort="run_ns"),
        Histogram("rows", (ITEMS, *WAIT_COLUMNS), when="latency", label="latency"),
    ),
    examples=(
        ("wqlat", "what the kernel does on the side, a table a second"),
        ("wqlat --latency --by workqueue -d 10", "how late work of each workqueue begins"),
    ),
    notes=(
        "Work queued before the trace is not counted. RAN is the time of items that ended.",
        "A delayed work item counts as queued when its timer expires. The kernel does not record its owner.",
    ),
)
