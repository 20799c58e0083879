"""tasks: every thread there is, and where in the kernel it waits."""

from pytracer.spec import Alternative, Column, Hook, Iterator, Listing, Tracer
from pytracer.spec.filters import TASK_FILTERS

TRACER = Tracer(
    name="tasks",
    group="processes",
    summary="every thread there is now, and where in the kernel it waits",
    description="Lists each thread once, with its state and its stack in the kernel, and ends.",
    hooks=(
        Hook(
            "tasks",
            "threads are",
            (
                Alternative("iterator", (Iterator("listed", of="task", having="task_struct.__state"),)),
                Alternative("iterator-older", (Iterator("listed", of="task", having="task_struct.state"),)),
            ),
        ),
    ),
    filters=TASK_FILTERS,
    outputs=(
        Listing(
            columns=(
                Column("pid", "process id"),
                Column("tid", "thread id"),
                Column("comm", "name of the thread", decode="text", width=15),
                Column("state", "as in ps: R runs or could, S sleeps, D as for a disk", decode="task_state"),
                Column(
                    "stack",
                    "functions of the kernel, innermost first",
                    field="frames",
                    decode="kernel_stack",
                ),
            )
        ),
    ),
    examples=(
        ("tasks -p 1", "the threads of process 1"),
        ("tasks -f json", "all there are, with the whole stacks, as JSON"),
        ("tasks -u www-data", "where the threads of a user wait"),
    ),
    notes=(
        "It is one pass over all threads, which are read one after the other.",
        "States: T stopped, t traced, Z ended and not waited for, X ending, P parked, I idle.",
        "A running thread has no stack. At most 64 functions are shown.",
        "--cgroup tests 16 levels of ancestors.",
    ),
)
