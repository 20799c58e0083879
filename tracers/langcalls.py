"""langcalls: calls of functions and methods of Python, Ruby, PHP and Java, and how long they take."""

from pytracer.spec import Column, Flag, GroupBy, Histogram, Key, LanguageProbes, Table, Tracer, Unit
from pytracer.spec.common import BY_COMM, BY_PROCESS, times
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.languages import CALL_TOTALS, FUNCTION

CALLS = Column("calls", "calls", unit=Unit.COUNT)
RETURNED = Column("calls", "calls that returned", unit=Unit.COUNT)

TRACER = Tracer(
    name="langcalls",
    group="system",
    summary="calls of functions and methods of Python, Ruby, PHP and Java: counts, and latency",
    description="Counts calls of functions and methods in programs in Python, Ruby, PHP and Java.",
    hooks=(),
    arguments=LanguageProbes(
        "LANGUAGE",
        "python, ruby, php or java, or a file of one of their runtimes (default: all that run)",
        programs={"call-begin": "begins", "call-end": "ends", "enables": "enables"},
        needed_by={"call-end": ("latency", "histogram")},
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Flag("latency", "the time of calls, of those that return", define="LATENCY", excludes="histogram"),
        Flag("histogram", "histograms of the time of calls", define="HISTOGRAM"),
        GroupBy(
            "by",
            "what a row stands for; several with commas",
            keys=(Key("function", FUNCTION), BY_PROCESS, BY_COMM),
            default="function",
        ),
    ),
    outputs=(
        Table("rows", (CALLS,), sort="calls"),
        Table("rows", (RETURNED, *times("calls")), sort="total_ns", when="latency"),
        Histogram("rows", (RETURNED, *times("calls")), when="histogram", label="latency"),
    ),
    totals=CALL_TOTALS,
    examples=(
        ("langcalls -p 181 1", "the calls of a process, a table a second"),
        ("langcalls --latency -- python3 job.py", "where a command spends its time"),
        ("langcalls -- env USE_ZEND_DTRACE=1 php page.php", "PHP, which has to be started so"),
        ("langcalls -- java -XX:+ExtendedDTraceProbes -jar app.jar", "Java, likewise"),
    ),
    notes=(
        "Each call costs the program a microsecond or more: it is slower meanwhile.",
        "The time is elapsed time, with that of the calls within and of the probes.",
        "docs/languages.md describes which runtimes have which probes, and what they do not see.",
    ),
)
