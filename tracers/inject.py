"""inject: kernel functions and system calls that return an error on request."""

from pytracer.spec import (
    Alternative,
    Column,
    Flag,
    Hook,
    Injection,
    Key,
    Lsm,
    ModifyReturn,
    Number,
    Override,
    Table,
    Tracer,
)
from pytracer.spec.call_faults import CALLS, FAILED, NOTES, WHERE
from pytracer.spec.filters import TASK_FILTERS

ANSWERS = {"kprobe": Override("hit"), "modify-return": ModifyReturn("hit"), "lsm": Lsm("hit")}
ALTERNATIVES = tuple(Alternative(name, (probe,)) for name, probe in ANSWERS.items())

TRACER = Tracer(
    name="inject",
    group="system",
    summary="makes a function of the kernel or a system call fail, for some processes and some time",
    description="Makes a function or system call return an error instead of its work, and counts failures.",
    hooks=(Hook("call", "a function could be answered for", ALTERNATIVES),),
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
        WHERE,
        Flag("everyone", "all processes, if there is no filter"),
    ),
    outputs=(Table("rows", (CALLS, FAILED), sort="failed"),),
    examples=(
        ("inject should_failslab ENOMEM --probability 5 -- make", "one allocation of twenty fails"),
        ("inject security_file_open EACCES -p 1 -d 10", "a process opens no files for ten seconds"),
        ("inject __x64_sys_fsync EIO --comm db --every 7 --times 1", "the seventh fsync, once"),
        ("inject fsync EIO --every 7 --times 1 -- app", "the same of a command, on any kernel"),
        ("inject openat EROFS --where 'arg3 & O_CREAT' -- app", "a command creates no files"),
    ),
    notes=(
        "It stops after 60 seconds, or after -d SECONDS; the program in the kernel checks the time, too.",
        "Any kernel with BTF lets permission checks fail, such as security_file_open; other functions",
        "are those of debugfs's error_injection/list, with its errors, with CONFIG_FUNCTION_ERROR_INJECTION.",
        "Calls in an interrupt count for the interrupted process. On an overlay (in containers) an operation",
        "passes its check twice: there, and in the file system below. pytracer itself is spared.",
        *NOTES,
    ),
)
