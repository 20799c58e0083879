"""langgc: garbage collections of Python, Ruby and Java, and how long they take."""

from pytracer.spec import Column, Flag, GroupBy, Histogram, Key, LanguageProbes, Stream, Tracer, Unit
from pytracer.spec.common import BY_COMM, BY_PROCESS, TASK_COLUMNS, times
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.languages import LANGUAGE, MINIMUM
from pytracer.spec.pairs import PAIR_TOTALS

WHAT = (
    LANGUAGE,
    Column("collection", "the generation, or the part of a collection", decode="language_label", width=13),
)

TRACER = Tracer(
    name="langgc",
    group="memory",
    summary="garbage collections of Python, Ruby and Java: each one and how long it took, or histograms",
    description="Shows each garbage collection of programs in Python, Ruby and Java as it ends.",
    hooks=(),
    arguments=LanguageProbes(
        "LANGUAGE",
        "python, ruby or java, or a file of one of their runtimes (default: all that run)",
        programs={"gc-begin": "begins", "gc-end": "ends"}
        | {"gc-step-begin": "begins", "gc-step-end": "ends"},
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        MINIMUM,
        Flag("latency", "histograms of the time", define="LATENCY"),
        GroupBy(
            "by",
            "what a histogram stands for; several with commas",
            keys=(Key("collection", WHAT), BY_PROCESS, BY_COMM),
            default="collection",
        ),
    ),
    outputs=(
        Stream(
            columns=(
                *TASK_COLUMNS,
                *WHAT,
                Column("latency_ns", "from its begin to its end", label="LATENCY", unit=Unit.NANOSECONDS),
            )
        ),
        Histogram(
            "rows",
            (Column("collections", "collections that ended", unit=Unit.COUNT), *times("collections")),
            when="latency",
            label="latency",
        ),
    ),
    totals=PAIR_TOTALS,
    examples=(
        ("langgc", "all programs that run"),
        ("langgc java -p 181 --min 10ms", "long pauses of one JVM"),
        ("langgc --latency -d 60 -- python3 job.py", "histograms of a command's collections"),
    ),
    notes=("docs/languages.md describes which runtimes have which probes.",),
)
