"""futexstat: which locks of programs are waited for."""

from pytracer.spec import Column, Duration, Flag, GroupBy, Key, Stacks, Table, Tracer
from pytracer.spec.columns import Unit
from pytracer.spec.common import BY_COMM, BY_PROCESS, MAPPING, RETURN_TIMED, STACK_OPTIONS, times
from pytracer.spec.filters import TASK_FILTERS

VALUES = (
    Column("waits", "calls that waited", unit=Unit.COUNT),
    Column("missed", "calls that found the lock changed", unit=Unit.COUNT, wide=True),
    *times("waits")[::2],
)

TRACER = Tracer(
    name="futexstat",
    group="system",
    summary="waits for user-space locks (futexes): address, process, time, stack",
    description="Adds up the time that threads wait in futex(2), for mutexes, conditions and others.",
    hooks=(RETURN_TIMED,),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy(
            "by",
            "the key of a row; several with commas",
            keys=(
                Key("lock", (Column("lock", "the address that is waited at", decode="register", width=14),)),
                BY_PROCESS,
                BY_COMM,
            ),
            default="lock,comm",
        ),
        Duration("min", "only waits of at least this long", config="min", default=0),
        Flag("stacks", "by the stacks that wait", define="STACKS"),
        *STACK_OPTIONS,
    ),
    outputs=(
        Table("rows", VALUES, sort="total_ns"),
        Stacks("rows", VALUES[:1] + VALUES[2:3], when="stacks", hooks=(RETURN_TIMED, MAPPING)),
    ),
    examples=(
        ("futexstat -p 181", "the locks that one process waits for, a table a second"),
        ("futexstat --stacks --by lock -U -- ./server", "where in the code a program waits for each lock"),
        ("futexstat --min 10ms --by pid -d 10", "which processes wait long, for ten seconds"),
    ),
    notes=(
        "An idle thread waits like one that needs a lock: see the stack.",
        "Addresses belong to a process: two processes may have different locks at the same address.",
        "A free lock, or one acquired by spinning, makes no call. Waits by io_uring are not seen.",
        "Who holds a pthread mutex, and how long, mutexstat shows.",
        "A wait counts when it ends, also by timeout or signal. Waits from before the trace do not count.",
    ),
)
