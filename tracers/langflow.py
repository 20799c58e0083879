"""langflow: calls of functions and methods of Python, Ruby, PHP and Java, as they nest."""

from pytracer.spec import Column, LanguageProbes, Number, Stream, Tracer, Unit
from pytracer.spec.common import TASK_COLUMNS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.languages import CALL_TOTALS, FUNCTION

LANGUAGE, SCOPE, NAME = FUNCTION
UNKNOWN = (1 << 64) - 1

TRACER = Tracer(
    name="langflow",
    group="system",
    summary="calls of functions and methods of Python, Ruby, PHP and Java as they nest: each call and return",
    description="Shows each call and each return of functions in programs in Python, Ruby, PHP and Java.",
    hooks=(),
    arguments=LanguageProbes(
        "LANGUAGE",
        "python, ruby, php or java, or a file of one of their runtimes (default: all that run)",
        programs={"call-begin": "begins", "call-end": "ends", "enables": "enables"},
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Number("depth", "only calls up to this depth", default=1 << 20, maximum=1 << 20, config="depth"),
    ),
    outputs=(
        Stream(
            columns=(
                *TASK_COLUMNS[:2],
                Column("comm", TASK_COLUMNS[2].help, decode="text", wide=True),
                Column("language", LANGUAGE.help, decode="language", wide=True),
                Column("depth", "open calls of the thread, with this one; 0: its call was not seen", width=5),
                Column("event", "call or return", field="returned", decode="call_event", wide=True),
                Column("latency_ns", "its time", label="LATENCY", unit=Unit.NANOSECONDS, null=UNKNOWN),
                Column("nesting", "-> a call, <- a return", label="CALL", decode="call_nesting", width=4),
                NAME,
                SCOPE,
                Column("line", "line of the file", null=0, wide=True),
            )
        ),
    ),
    totals=CALL_TOTALS,
    examples=(
        ("langflow -p 181 -d 1", "what a process does for a second"),
        ("langflow --depth 3 -- python3 job.py", "the outer calls of a command"),
        ("langflow -f json -- env USE_ZEND_DTRACE=1 php page.php", "PHP, which has to be started so"),
    ),
    notes=(
        "Each call and each return costs the program some microseconds: it is slower meanwhile.",
        "The depth is counted from the first call that was seen: those that began before are not in it.",
        "docs/languages.md describes which runtimes have which probes, and what they do not see.",
    ),
)
