"""inject: kernel functions that return an error on request."""

from pytracer.spec import (
    Alternative,
    Column,
    Flag,
    Hook,
    Injection,
    Key,
    Number,
    Override,
    Table,
    Tracer,
    Unit,
)
from pytracer.spec.filters import TASK_FILTERS

CALLS = Column("calls", "calls that the filters let through", unit=Unit.COUNT)
FAILED = Column("failed", "of these, those that were made to fail", unit=Unit.COUNT)
CALL = Hook("call", "a function could be answered for", (Alternative("kprobe", (Override("hit"),)),))

TRACER = Tracer(
    name="inject",
    group="system",
    summary="makes a function of the kernel fail, for some processes and for some time",
    description="Makes a function return an error instead of its work, and counts the failures.",
    hooks=(CALL,),
    arguments=Injection("function error", "a function and an error", examples=("should_failslab", "ENOMEM")),
    filters=TASK_FILTERS,
    follow=True,
    duration=60,
    keys=(
        Key("pid", (Column("pid", "process id"),)),
        Key("comm", (Column("comm", "name of the thread", decode="text"),)),
    ),
    options=(
        Number("every", "every Nth call fails", default=1, config="every"),
        Number("probability", "percentage of calls that fail", default=100, maximum=100, config="percent"),
        Number("times", "at most N calls fail; 0: no limit", default=0, minimum=0, config="times"),
        Flag("everyone", "all processes, if there is no filter"),
    ),
    outputs=(Table("rows", (CALLS, FAILED), sort="failed"),),
    examples=(
        ("inject should_failslab ENOMEM --probability 5 -- make", "one allocation of twenty fails"),
        ("inject __x64_sys_openat EACCES -p 1 -d 10", "a process opens no files for ten seconds"),
        ("inject __x64_sys_fsync EIO --comm db --every 7 --times 1", "the seventh fsync, once"),
    ),
    notes=(
        "It stops after 60 seconds, or after -d SECONDS; the program in the kernel checks the time, too.",
        "Only functions in debugfs's error_injection/list can fail, with the errors listed there.",
        "It needs CONFIG_BPF_KPROBE_OVERRIDE, which distributions' kernels lack. pytracer itself is spared.",
        "Calls in an interrupt are counted for, and filtered by, the interrupted process.",
    ),
)
