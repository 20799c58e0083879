"""mutexstat: which mutexes of programs are waited for, and how long they are held."""

from pytracer.spec import Column, Duration, GroupBy, Key, Stacks, Targets, Tracer, Unit
from pytracer.spec.common import MAPPING, STACK_OPTIONS
from pytracer.spec.filters import TASK_FILTERS

NAMES = (
    *("pthread_mutex_lock", "pthread_mutex_timedlock", "pthread_mutex_clocklock", "pthread_mutex_trylock"),
    *("pthread_cond_wait", "pthread_cond_timedwait", "pthread_cond_clockwait", "pthread_mutex_unlock"),
)
VALUES = (
    Column("held_ns", "time the mutex was held", label="HELD", unit=Unit.NANOSECONDS),
    Column("holds", "times it was taken and released", unit=Unit.COUNT),
    Column("total_ns", "time in waits for it", label="TOTAL", unit=Unit.NANOSECONDS),
    Column("waits", "calls that found it taken", unit=Unit.COUNT),
)
KEYS = (
    Key("lock", (Column("lock", "the mutex's address", decode="register"),)),
    Key("pid", (Column("pid", "process id"),)),
    Key("comm", (Column("comm", "name of the thread", decode="text"),)),
)

TRACER = Tracer(
    name="mutexstat",
    group="system",
    summary="mutexes of programs (pthread): time that threads wait for them and hold them, by stack",
    description="Adds up the time that threads wait for pthread mutexes and hold them, by the taking stack.",
    hooks=(MAPPING,),
    arguments=Targets(
        "PATTERN",
        "u:FILE:pthread_mutex_lock and the like, of another file than the C library",
        begin="begins",
        end="returns",
        minimum=0,
        default=tuple(f"u:libc:{name}" for name in NAMES),
        kinds=NAMES,
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy("by", "what tells stacks apart that are alike; several with commas", keys=KEYS),
        Duration("min", "only waits, and holds, of at least this long", config="min", default=0),
        STACK_OPTIONS[3],
    ),
    outputs=(Stacks("rows", VALUES),),
    examples=(
        ("mutexstat -p 181 -d 10", "the mutexes of one process for ten seconds"),
        ("mutexstat --min 1ms --by lock -- ./server", "long waits and long holds, by mutex"),
    ),
    notes=(
        "Each lock and each release hits two or three breakpoints, also of free mutexes: futexstat shows",
        "waits alone, at less cost. pthread_cond_wait(3) and the like end a hold and begin another one.",
        "A recursive mutex is held until its last release. A hold ends in the thread that took the mutex.",
        "A call counts as a wait if the mutex is taken as it begins, by glibc's layout (2.34 and newer).",
        "Locks of Go, of Rust's standard library and within the C library are not seen.",
    ),
)
