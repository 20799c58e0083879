"""profile: where CPUs spend their time, by sampling stacks."""

from pytracer.spec import EVENTS, Choice, Column, Flag, Key, Number, Stacks, Tracer, Unit
from pytracer.spec.common import MAPPING, SAMPLES, STACK_OPTIONS, UNWIND_NOTES
from pytracer.spec.filters import TASK_FILTERS

COUNT = Column("samples", "number of samples of the task there", unit=Unit.COUNT)

TRACER = Tracer(
    name="profile",
    group="cpu",
    summary="where CPUs spend their time: stacks of kernel and programs, sampled",
    description="Samples stacks at a fixed rate or when events occur, and counts them.",
    hooks=(SAMPLES, MAPPING),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Choice("event", "what is sampled", choices=EVENTS, default="cpu-clock"),
        Number("frequency", "samples a second, of a CPU or task", short="F", default=99, metavar="HZ"),
        Number("period", "one of N events instead; of cpu-clock: every N nanoseconds", maximum=1 << 40),
        Flag("idle", "the idle threads of CPUs, too (process id 0)", define="IDLE"),
        *STACK_OPTIONS,
    ),
    keys=(
        Key("pid", (Column("pid", "process id"),)),
        Key("comm", (Column("comm", "name of the thread", decode="text"),)),
    ),
    outputs=(Stacks("rows", (COUNT,)),),
    examples=(
        ("profile -d 10", "all CPUs for ten seconds"),
        ("profile -f folded -- make -j2", "a command and its children, for tools that draw flame graphs"),
        ("profile --event page-faults -- ls", "where a command touches memory for the first time"),
        ("profile -p 1 -U --top 5 30", "the five most frequent stacks of process 1, every 30 seconds"),
    ),
    notes=(
        *UNWIND_NOTES,
        "Symbols come from the mapped files; for stripped files, file+0xADDRESS is shown.",
        "C++ and Rust names are demangled if pydemumble is installed (scripts/setup, pytracer[demangle]).",
        "Names are those at the time of the sample; [unloaded] is code that was replaced before it was read.",
        "Memory maps are read while a process lives: one that ends within some 50 ms may show [unknown].",
        "[anon] is code of a JIT without a perf map; jitdump files are not read.",
        "Stacks are limited to 127 functions; a longer one ends with [cut].",
        "Without a rate, each page fault, context switch and migration is sampled.",
        "cycles to branch-misses are hardware counters, which virtual machines may lack.",
        "While interrupts are disabled, cpu-clock is delayed: it shows the code that enables them.",
        "Not sampled: CPUs that come online later, and the time while another BPF program runs.",
    ),
)
