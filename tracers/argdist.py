"""argdist: counts or histograms of the values of expressions at functions and events."""

from pytracer.spec import Column, Flag, Histogram, ProbeSpecArguments, Table, Tracer, Unit
from pytracer.spec.common import COMPAT_NOTE, STRING_SIZE
from pytracer.spec.filters import TASK_FILTERS

PROBE = Column("probe", "probe, or the label of its spec", field="spec", decode="probe_spec")
COUNT = Column("count", "number of occurrences", unit=Unit.COUNT)

TRACER = Tracer(
    name="argdist",
    group="system",
    summary="how often each value of an expression occurs at functions and events; histograms",
    description="Counts how often each value of the named arguments and results occurs.",
    hooks=(),
    arguments=ProbeSpecArguments(
        "SPEC",
        "a probe spec: PROBE(SIGNATURE)[:TYPES:EXPRESSIONS[:FILTER]][#LABEL]",
        distribution=True,
        examples=("t:sched:sched_switch",),
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Flag(
            "values",
            "count how often each value occurs, which is done if nothing is said",
            short="C",
            excludes="histogram",
        ),
        Flag("histogram", "a histogram of the values instead", short="H", define="HISTOGRAM"),
        STRING_SIZE,
    ),
    outputs=(
        Table("rows", (COUNT,), keys=(PROBE,), sort="count"),
        Histogram("rows", (COUNT,), when="histogram", keys=(PROBE,), unit=Unit.NONE, label="values"),
    ),
    examples=(
        ("argdist -C 'p:c:malloc(size_t size):size_t:size' -p 1", "how often each size is requested"),
        ("argdist -H 'r::vfs_read():u64:$latency/1000#us' -d 10", "how long reads take, as a histogram"),
        ("argdist -C 't:syscalls:sys_enter_openat():char*:filename' 1 5", "files, a table a second"),
        ("argdist -H 'k:vfs_read()::count:count > 0' -- ls", "sizes of reads; each type its own"),
        ("argdist 'p:c:fork()#forks' 'r:c:open()#opened'", "several, by names of their own"),
    ),
    notes=(
        "docs/probe-specs.md describes the language, and the differences from BCC's argdist.",
        COMPAT_NOTE,
        "-C and -H apply to all probe specs of a run. Types may be left out: PROBE()::EXPRESSIONS.",
        "Values below 0, and values that cannot be read, are not in a histogram: they are counted as lost.",
    ),
)
