"""mutexstat: which locks of programs are waited for, and how long they are held."""

from pytracer.spec import Column, Duration, GroupBy, Key, Stacks, Targets, Tracer, Unit
from pytracer.spec.common import MAPPING, MAX_STACKS
from pytracer.spec.filters import TASK_FILTERS

HOW = ("", "timed", "clock", "try")
MUTEX = (*(f"pthread_mutex_{how}lock" for how in HOW), *(f"pthread_cond_{how}wait" for how in HOW[:3]))
RWLOCK = tuple(f"pthread_rwlock_{how}{kind}lock" for kind in ("rd", "wr") for how in HOW)
NAMES = (*MUTEX, "pthread_mutex_unlock", *RWLOCK, "pthread_rwlock_unlock")
FILES = ("libc", "libpthread")  # the latter before glibc 2.34
VALUES = (
    Column("held_ns", "time the lock was held", label="HELD", unit=Unit.NANOSECONDS),
    Column("holds", "times it was taken and released", unit=Unit.COUNT),
    Column("total_ns", "time in waits for it", label="TOTAL", unit=Unit.NANOSECONDS),
    Column("waits", "calls that found it taken", unit=Unit.COUNT),
)
KEYS = (
    Key("lock", (Column("lock", "the lock's address", decode="register"),)),
    Key("pid", (Column("pid", "process id"),)),
    Key("comm", (Column("comm", "name of the thread", decode="text"),)),
)

TRACER = Tracer(
    name="mutexstat",
    group="system",
    summary="mutexes and rwlocks of programs: time that threads wait for them and hold them, by stack",
    description="Adds up the time that threads wait for pthread's locks and hold them, by the taking stack.",
    hooks=(MAPPING,),
    arguments=Targets(
        "PATTERN",
        "u:FILE:pthread_mutex_lock and the like, of another file than the C library",
        begin="begins",
        end="returns",
        minimum=0,
        default=tuple(f"u:{file}:{name}" for file in FILES for name in NAMES),
        kinds=NAMES,
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy("by", "what tells stacks apart that are alike; several with commas", keys=KEYS),
        Duration("min", "only waits, and holds, of at least this long", config="min", default=0),
        MAX_STACKS,
    ),
    outputs=(Stacks("rows", VALUES),),
    examples=(
        ("mutexstat -p 181 -d 10", "the locks of one process for ten seconds"),
        ("mutexstat --min 1ms --by lock -- ./server", "long waits and long holds, by lock"),
    ),
    notes=(
        "Each lock and each release hits two or three breakpoints, also of free locks: futexstat shows waits",
        "alone, at less cost. pthread_cond_wait(3) and the like end a hold and begin another one.",
        "A recursive mutex is held until its last release. A hold ends in the thread that took the lock.",
        "Of an rwlock each reader has a hold of its own; one who takes it twice has one.",
        "A call counts as a wait if the lock is taken as it begins, by glibc's layout (2.25 and newer). If",
        "an rwlock prefers writers (pthread_rwlockattr_setkind_np), readers behind a waiting one do not.",
        "Locks of Go, of Rust's standard library and within the C library are not seen.",
    ),
)
