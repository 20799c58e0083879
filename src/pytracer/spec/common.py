"""Hooks that more than one tracer stands on, with all the ways kernels offer them, best first."""

from __future__ import annotations

from pytracer.record import replace
from pytracer.spec.calls import by_call
from pytracer.spec.columns import Column, Key, Unit
from pytracer.spec.hooks import (
    Alternative,
    Fexit,
    Hook,
    Kprobe,
    KprobeEvents,
    KprobeMulti,
    KretprobeMulti,
    Probe,
    RawTracepoint,
    Tracepoint,
)
from pytracer.spec.options import Choice, Flag, NameSet, Number, SeccompProfile, Targets
from pytracer.spec.outputs import Histogram, Table
from pytracer.spec.sampling import PerfSample, TaskSample

COMPAT_NOTE = "32-bit programs raise no t:syscalls:* events: syscalls counts their calls."
"""The note of every tracer of events that users name."""

# x86's functions of each call and ABI, given the caller's registers (Linux 4.17, fa697140f9a2, ebeb8c82ffaf).
_WRAPPERS = ("__x64_sys_*", "__ia32_sys_*", "__ia32_compat_sys_*", "__x64_compat_sys_*", "__x32_compat_sys_*")
# What every call passes on its way out, given the caller's registers. 5.10 has the second only, which returns
# from interrupts pass, too; from 7.0 on both are inlined.
_EXITS = ("syscall_exit_to_user_mode_prepare", "exit_to_user_mode_prepare")


def _sched(*events: tuple[str, str], preempted: bool = True) -> tuple[Alternative, ...]:
    """Return both alternatives for the scheduler's trace events: (program, event) pairs."""
    raw: tuple[Probe, ...] = tuple(
        RawTracepoint(program, event=event, preempted=preempted) for program, event in events
    )
    formatted: tuple[Probe, ...] = tuple(
        Tracepoint(program, category="sched", event=event) for program, event in events
    )
    return Alternative("raw-tracepoint", raw), Alternative("tracepoint", formatted)


SYSCALL = Hook(
    "syscall",
    "system calls begin and end",
    (
        Alternative(
            "raw-tracepoint",
            (RawTracepoint("enter", event="sys_enter"), RawTracepoint("leave", event="sys_exit")),
        ),
        Alternative(
            "tracepoint",
            (
                Tracepoint("enter", category="raw_syscalls", event="sys_enter"),
                Tracepoint("leave", category="raw_syscalls", event="sys_exit"),
            ),
        ),
        # From the mitigation of Branch History Injection on (1e3ad78334a6, Linux 6.9 and back to 6.1) there
        # is a function for each ABI before its calls; from 7.0 on it may not be traced.
        Alternative(
            "kprobe-dispatch",
            (
                Kprobe("enter", symbols=("x64_sys_call",)),
                Kprobe("enter", symbols=("ia32_sys_call",), optional=True),
                Kprobe("enter", symbols=("x32_sys_call",), optional=True),
                Kprobe("leave", symbols=_EXITS),
            ),
        ),
        Alternative(
            "kprobe-multi", (KprobeMulti("enter", patterns=_WRAPPERS), Kprobe("leave", symbols=_EXITS))
        ),
        # Return probes have a limited number of places before 6.14 (4346ba160409): what they miss is counted.
        Alternative(
            "kprobe-return",
            (KprobeMulti("enter", patterns=_WRAPPERS), KretprobeMulti("leave", patterns=_WRAPPERS)),
        ),
        Alternative(
            "kprobe-events", (KprobeEvents("enter", patterns=_WRAPPERS), Kprobe("leave", symbols=_EXITS))
        ),
    ),
)
"""A system call begins (``enter``) and ends (``leave``); probes_c/include/syscall.h."""


def times(counter: str) -> tuple[Column, Column, Column]:
    """Return the columns of durations: their sum, average and maximum; ``counter`` is their number."""
    return (
        Column("total_ns", "time in them, waiting included", label="TOTAL", unit=Unit.NANOSECONDS),
        Column("avg_ns", "mean time", label="AVG", unit=Unit.NANOSECONDS, ratio=("total_ns", counter)),
        Column("max_ns", "the longest", label="MAX", unit=Unit.NANOSECONDS, max=True),
    )


MAX_STACKS = Number(
    "max-stacks",
    "stacks the kernel keeps, twice (a power of two)",
    default=16384,
    maximum=1 << 20,
    define="PT_STACKS_MAX",
)
"""The capacity of each map of stacks; probes_c/include/stack.h."""
UNWIND = Choice(
    "unwind",
    "how stacks of programs are walked: by tables of their call frame information or by frame pointers",
    choices=("auto", "table", "fp"),
    default="auto",
)
"""The method of walking user stacks; probes_c/include/unwind.h. The planner resolves ``auto``."""
INLINES = Flag("inlines", "show the functions that were inlined, where programs have debug information")
LINES = Flag("lines", "the line that each function of Python is at, not its first", define="PT_PYTHON_LINES")
UNWIND_NOTES = (
    "Stacks of programs are walked by unwind tables (x86-64, Linux 5.17), else by frame pointers.",
    "One that ends early says why: [no frame pointer], [unmapped code], [unwind expression].",
    "By tables, functions of CPython 3.9 to 3.14 are shown among those of C, each where it was called.",
)
"""The notes of tracers whose stacks of programs matter most."""
STACK_OPTIONS = (
    Flag("user-only", "stacks of programs only", short="U", define="USER_ONLY", excludes="kernel-only"),
    Flag("kernel-only", "stacks of the kernel only", short="K", define="KERNEL_ONLY"),
    Flag("annotate", "mark the functions of the kernel with _[k]"),
    Flag("parameters", "show the parameters of C++ functions, which tell overloads apart"),
    INLINES,
    LINES,
    MAX_STACKS,
    UNWIND,
)
"""Options for stacks: which part, how they are walked and shown, and how many; probes_c/include/stack.h."""
TASK_COLUMNS = (
    Column("pid", "process id"),
    Column("tid", "thread id", wide=True),
    Column("comm", "name of the thread", decode="text", width=12),
)
"""The thread of an event: pt_fill_task in probes_c/include/task.h."""
ERROR = Column("err", "the error, by name", field="error", decode="errno", null=0, width=6)
"""The error that a system call returned, by name: the member ``error``, 0 for none."""
BY_PROCESS = Key("pid", (Column("pid", "process id"), Column("comm", "its latest name", last=True)))
"""Rows by process, with its latest name; probes_c/include/task_rows.h."""
BY_COMM = Key("comm", (Column("comm", "name of the thread", decode="text"),))
"""Rows by the name of the thread; probes_c/include/task_rows.h."""
BY_THREAD = Key("tid", (Column("tid", "thread id"),))
"""Rows by thread, whose name is the key comm; probes_c/include/task_rows.h."""
TASK_KEYS = (BY_PROCESS, BY_COMM)
"""Both of these keys; probes_c/include/task_rows.h."""

_HANDLED = Column("count", "handlers that ran to their end", unit=Unit.COUNT)
HANDLER_OUTPUTS = (
    Table("rows", (_HANDLED, *times("count")), sort="total_ns"),
    Histogram("rows", (_HANDLED, *times("count")), when="latency", label="duration"),
)
"""The table and the histogram of interrupt handlers; probes_c/include/interrupts.h."""
HANDLER_LATENCY = Flag("latency", "histograms of the time", define="LATENCY")
"""The option that shows the histogram; probes_c/include/interrupts.h."""
BY_CPU = Key("cpu", (Column("cpu", "the CPU that ran it"),))
"""The grouping of interrupt handlers by CPU; probes_c/include/interrupts.h."""

ONLY_CALLS = NameSet(
    "calls",
    "only these calls ('openat,read'), or all but these ('!futex')",
    short="e",
    encode="syscalls",
    map="wanted",
    define="FILTER_CALLS",
)
"""Filters system calls: pt_is_wanted in probes_c/include/syscall.h."""

ONLY_FAILED = Flag("failed", "only those that failed", short="x", define="FAILED")
"""Shows what failed and nothing else (``-x``): pt_is_shown_return in probes_c/include/returns.h."""

ONLY_NETWORKS = NameSet(
    "net",
    "only where the other end is there ('10.0.0.0/8,2001:db8::1'), or is not ('!10.0.0.0/8')",
    encode="networks",
    map="pt_networks",
    define="ONLY_NETWORKS",
)
"""Filters connections: pt_is_socket_traced in probes_c/include/tcp.h."""

ONLY_PATHS = NameSet(
    "path",
    "only these paths, or what begins so ('/etc/passwd,/srv/*'), or all but these ('!/proc/*')",
    encode="paths",
    map="pt_paths",
    define="ONLY_PATHS",
)
"""Filters paths: pt_path_is_wanted in probes_c/include/paths.h."""

SYSCALL_BEGINS = Hook(
    SYSCALL.name,
    "system calls begin",
    tuple(
        replace(alternative, probes=tuple(probe for probe in alternative.probes if probe.program == "enter"))
        for alternative in SYSCALL.alternatives
    ),
)
"""A system call begins (``enter``); probes_c/include/syscall.h."""

SYSCALL_EVENTS = replace(SYSCALL, alternatives=SYSCALL.alternatives[:2])
"""A system call begins (``enter``) and ends (``leave``), by events alone; probes_c/include/syscall.h."""

SYSCALL_EVENT = replace(SYSCALL_BEGINS, alternatives=SYSCALL_BEGINS.alternatives[:2])
"""A system call begins (``enter``), by events alone; probes_c/include/syscall.h. What costs
more is not worth a count among others."""

SECCOMP = (
    Flag("profile", "what -- COMMAND calls, as a seccomp profile for container runtimes", define="COUNT"),
    SeccompProfile("enforce", "run -- COMMAND under this profile; count what it denies", define="ENFORCE"),
)
"""The options of seccomp profiles; probes_c/include/call_rows.h.

A profile records calls as they begin, so that it has those that never return. A denied call is one that
fails without having begun (:data:`ANSWERED`)."""

SWITCH = Hook(
    "switch",
    "tasks are switched",
    (*_sched(("pt_switched", "sched_switch"), preempted=False), Alternative("none", ())),
)
"""A task is switched away (``pt_switched``); probes_c/include/inflight.h, which can do without."""

SAMPLED = Hook(
    "sampled", "samples of CPUs are to be taken", (Alternative("cpu", (PerfSample("sample", period=""),)),)
)
"""Samples each CPU by the program ``sample``, at the rate of the option ``frequency``."""

TASK_EXIT = Hook("exit", "tasks end", _sched(("gone", "sched_process_exit")))
"""A thread ends, in its own context (``gone``)."""

WAKEUP_AND_SWITCH = Hook(
    "sched",
    "tasks are woken and switched",
    (
        Alternative(
            "raw-tracepoint",
            (
                RawTracepoint("woken", event="sched_wakeup", preempted=False),
                RawTracepoint("woken", event="sched_wakeup_new", preempted=False),
                RawTracepoint("switched", event="sched_switch", arguments=3, preempted=False),
            ),
        ),
    ),
)
"""A task is put on a run queue (``woken``), a CPU goes from one task to another (``switched``);
probes_c/include/sched.h with PT_SEES_WAKEUPS.
The trace events name tasks by number only, so filters could not ask about them."""

CONTEXT_SWITCH = replace(
    WAKEUP_AND_SWITCH,
    what="tasks are switched",
    alternatives=tuple(
        replace(alternative, probes=alternative.probes[-1:]) for alternative in WAKEUP_AND_SWITCH.alternatives
    ),
)
"""A CPU goes from one task to another (``switched``); probes_c/include/sched.h."""

WAKING_AND_SWITCH = replace(
    WAKEUP_AND_SWITCH,
    what="threads go to sleep and are woken",
    alternatives=tuple(
        replace(
            alternative,
            probes=(RawTracepoint("waking", event="sched_waking", preempted=False), alternative.probes[-1]),
        )
        for alternative in WAKEUP_AND_SWITCH.alternatives
    ),
)
"""A sleeping task is woken, in the task or interrupt that wakes it (``waking``), a CPU goes from one task to
another (``switched``); probes_c/include/sched.h has the latter."""

RETURNED = (by_call(SYSCALL, function="fentry", without=(SWITCH.name,)), TASK_EXIT, SWITCH)
"""System calls begin and return, calls of exited tasks are forgotten; probes_c/include/syscall.h. If few
calls are named, those in flight are in a map: a program at each context switch would cost more."""

ANSWERED = (SYSCALL_EVENTS, TASK_EXIT, SWITCH)
"""The same, and calls that a filter answers, which do not begin; probes_c/include/syscall.h."""

_FREED = RawTracepoint("pt_free", event="sched_process_free", preempted=False)
FOLLOW = Hook(
    "follow",
    "processes are created, execute and are freed",
    tuple(
        replace(alternative, probes=(*alternative.probes, _FREED))
        for alternative in _sched(("pt_fork", "sched_process_fork"), ("pt_exec", "sched_process_exec"))
    ),
)
"""Processes are created, execute and are freed: the plan adds it for -- COMMAND; probes_c/include/task.h.

A process executes for ``pt_exec`` before it does for the tracer's own programs, which thus see the command's
execve."""

RETURN = Hook(
    "return",
    "system calls return",
    (
        Alternative("raw-tracepoint", (RawTracepoint("returned", event="sys_exit"),)),
        Alternative(
            "tracepoint",
            (
                Tracepoint("called", category="raw_syscalls", event="sys_enter"),
                Tracepoint("returned", category="raw_syscalls", event="sys_exit"),
                Tracepoint("abandoned", category="sched", event="sched_process_exit"),
            ),
        ),
    ),
)
"""A system call returns (``returned``), with the arguments it was made with; probes_c/include/returns.h."""


def return_of(calls: str) -> Hook:
    """Return :data:`RETURN` for tracers of a few calls, with alternatives that other calls do not pass.

    ``calls`` are the names, with spaces, of all calls of all ABIs for which the C's ``is_wanted`` is true.
    """
    return by_call(RETURN, *calls.split(), function="fexit")


RETURN_TIMED = replace(
    RETURN,
    alternatives=(
        Alternative(
            "raw-tracepoint",
            (
                RawTracepoint("called", event="sys_enter"),
                RawTracepoint("returned", event="sys_exit"),
                RawTracepoint("abandoned", event="sched_process_exit"),
            ),
            defines=("PT_RETURN_TIMED",),
        ),
        replace(RETURN.alternatives[1], defines=("PT_RETURN_TIMED",)),
    ),
)
"""A system call returns, with its arguments and its time (``call->ns``); probes_c/include/returns.h."""

EXECUTED = Hook("executed", "programs are executed", _sched(("executed", "sched_process_exec")))
"""A program is executed, in its own context (``executed``): its memory is that of the new program."""


SAMPLES = Hook(
    "sample",
    "samples are to be taken",
    (
        Alternative("task", (TaskSample("sample", chosen_by="event"),)),
        Alternative("cpu", (PerfSample("sample", chosen_by="event"),)),
    ),
)
"""A sample is due (``sample``), in the task that it is of: by the options event, frequency and period."""


def _of_lock(arguments: int) -> tuple[Probe, ...]:
    events = {"pt_moving": "mmap_lock_start_locking", "pt_mapped": "mmap_lock_released"}
    return tuple(
        RawTracepoint(program, event=event, arguments=arguments, preempted=False)
        for program, event in events.items()
    )


MAPPING = Hook(
    "mapping",
    "code is mapped",
    (
        Alternative(
            "fexit",
            (
                Fexit("pt_mapped", function="perf_event_mmap"),
                Kprobe("pt_moved", symbols=("copy_vma",), optional=True),
            ),
        ),
        # What is missed while a program there is preempted shows in the kernel's own records of mappings.
        # With the path of a cgroup, until Linux 6.14.
        Alternative("raw-tracepoint-path", _of_lock(3)),
        Alternative("raw-tracepoint", _of_lock(2)),
        Alternative("kprobe", (Kprobe("pt_moved", symbols=("copy_vma",)),)),  # of code that is moved, alone
        Alternative("none", ()),
    ),
    unless="kernel-only",
)
"""Code is mapped, or may be run from now on (``pt_mapped``): optional in probes_c/include/mapping.h."""

FUNCTIONS = Targets(
    "PATTERN",
    "which functions: k:vfs_* (or vfs_*), f:vfs_read (by trampolines), u:libc:malloc",
    begin="begins",
    end="returns",
    examples=("vfs_read", "f:vfs_*", "u:libc:malloc"),
)
"""Functions, as they begin (``begins``) and return (``returns``); probes_c/include/calls.h."""

STRING_SIZE = Number(
    "string-size",
    "the maximum size of strings, in bytes",
    short="z",
    default=80,
    minimum=2,
    maximum=4096,
    metavar="BYTES",
    define="PT_SPEC_TEXT_SIZE",
)
"""The size of strings in results; probes_c/include/probe_specs.h."""
