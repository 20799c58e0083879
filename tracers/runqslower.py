"""runqslower: waits for a CPU that take long, one by one."""

from pytracer.spec import Column, Duration, Stream, Tracer, Unit
from pytracer.spec.common import WAKEUP_AND_SWITCH
from pytracer.spec.filters import TASK_FILTERS

TRACER = Tracer(
    name="runqslower",
    group="cpu",
    summary="threads that wait long for a CPU, one by one",
    description="Shows each thread that waited longer than --min for a CPU, and which thread ran before it.",
    hooks=(WAKEUP_AND_SWITCH,),
    filters=TASK_FILTERS,
    follow=True,
    options=(Duration("min", "only waits of at least this long", config="min", default=10_000_000),),
    outputs=(
        Stream(
            columns=(
                Column("pid", "process id of the thread that waited"),
                Column("tid", "its thread id", wide=True),
                Column("comm", "its name", decode="text", width=15),
                Column("wait_ns", "how long it waited", label="WAIT", unit=Unit.NANOSECONDS),
                Column("cpu", "the CPU that it got", width=3),
                Column("prev_tid", "thread id of the thread that ran there before", label="PREV", width=7),
                Column("prev_comm", "the name of that thread", label="PREVCOMM", decode="text", width=15),
            )
        ),
    ),
    examples=(
        ("runqslower", "waits of 10 ms and more, of all threads"),
        ("runqslower --min 1ms -p 181", "waits of 1 ms and more, of one process"),
    ),
    notes=(
        "The help of runqlat defines a wait.",
        "PREV ran last on that CPU; it need not be the cause of the wait. 0 is the idle thread.",
    ),
)
