"""runqlen: how many threads wait for a CPU, by sampling the run queues."""

from pytracer.spec import Column, GroupBy, Key, Number, Table, Tracer, Unit
from pytracer.spec.common import SAMPLED

LENGTH = Key("length", (Column("length", "threads that wait, beside the one that runs"),))
CPU = Key("cpu", (Column("cpu", "the CPU whose queue it is"),))

TRACER = Tracer(
    name="runqlen",
    group="cpu",
    summary="how long the run queues of CPUs are, sampled",
    description="Samples the run queue of each CPU, and counts the threads that wait there.",
    hooks=(SAMPLED,),
    options=(
        Number("frequency", "samples a second, of each CPU", short="F", default=99, metavar="HZ"),
        GroupBy("by", "the key of a row; several with commas", keys=(LENGTH, CPU), default="length"),
    ),
    outputs=(Table("rows", (Column("samples", "number of samples", unit=Unit.COUNT),), sort="samples"),),
    examples=(
        ("runqlen", "all CPUs, a table a second"),
        ("runqlen --by cpu,length -d 10", "each CPU for ten seconds"),
        ("runqlen -F 997 -d 60", "a finer estimate"),
    ),
    notes=(
        "An estimate: of n samples, a share p is within 2*sqrt(p*(1-p)/n) of the truth 19 times in 20, if",
        "the load is not synchronized with the samples. Short waits may be missed.",
        "All groups of tasks (cgroups, sessions) and scheduling classes of a CPU count together.",
        "Linux 6.12 keeps some sleeping threads on the queue for a while (delayed dequeue), and",
        "they are counted, too. runqlat measures each wait.",
        "CPUs that come online later are not sampled. It needs the kernel's BTF.",
    ),
)
