"""langstat: what programs in Python, Ruby, PHP and Java do: calls, collections and objects, by process."""

from pytracer.spec import Column, Key, LanguageProbes, Table, Tracer, Unit
from pytracer.spec.common import BY_PROCESS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.languages import LANGUAGE

TRACER = Tracer(
    name="langstat",
    group="system",
    summary="calls, collections and objects of programs in Python, Ruby, PHP and Java, by process",
    description="Counts calls, garbage collections and objects of programs in Python, Ruby, PHP and Java.",
    hooks=(),
    arguments=LanguageProbes(
        "LANGUAGE",
        "python, ruby, php or java, or a file of one of their runtimes (default: all that run)",
        programs={
            "call-begin": "calls",
            "gc-end": "collects",
            "allocation": "allocates",
            "enables": "enables",
        },
        partial=True,
    ),
    filters=TASK_FILTERS,
    follow=True,
    keys=(BY_PROCESS, Key("language", (LANGUAGE,))),
    outputs=(
        Table(
            "rows",
            (
                Column("calls", "calls of functions and methods", unit=Unit.COUNT, null=0),
                Column("collections", "garbage collections", unit=Unit.COUNT, null=0),
                Column("objects", "objects allocated (Ruby, Java)", unit=Unit.COUNT, null=0),
            ),
            sort="calls",
        ),
    ),
    examples=(
        ("langstat 1", "all programs that run, a table a second"),
        ("langstat -p 181 1 5", "one process, five times"),
        ("langstat -- ruby report.rb", "a command, in all"),
    ),
    notes=(
        "A dash: none was seen. What a build or a start of a runtime does not carry, a warning says.",
        "Each call and object costs the program a microsecond or more: langgc alone costs next to nothing.",
        "docs/languages.md describes which runtimes have which probes, and what they do not see.",
    ),
)
