"""langalloc: objects that programs in Ruby and Java allocate, by class."""

from pytracer.spec import Column, GroupBy, Key, LanguageProbes, Table, Tracer, Unit
from pytracer.spec.common import BY_COMM, BY_PROCESS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.languages import LANGUAGE

CLASS = (
    LANGUAGE,
    Column("allocated", "what is allocated", label="KIND", decode="language_label", width=8),
    Column("class", "its class, if the probe says it", field="scope", decode="text", null=b"", width=24),
)

TRACER = Tracer(
    name="langalloc",
    group="memory",
    summary="objects that programs in Ruby and Java allocate, by class",
    description="Counts the objects that programs in Ruby and Java allocate.",
    hooks=(),
    arguments=LanguageProbes(
        "LANGUAGE",
        "ruby or java, or a file of one of their runtimes (default: all that run)",
        programs={"allocation": "allocates"},
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy(
            "by",
            "what a row stands for; several with commas",
            keys=(Key("class", CLASS), BY_PROCESS, BY_COMM),
            default="class",
        ),
    ),
    outputs=(Table("rows", (Column("objects", "objects allocated", unit=Unit.COUNT),), sort="objects"),),
    examples=(
        ("langalloc -p 181 1", "of a process, a table a second"),
        ("langalloc -- ruby report.rb", "what a command allocates"),
        ("langalloc -- java -XX:+ExtendedDTraceProbes -jar app.jar", "Java, which has to be started so"),
    ),
    notes=(
        "Each object costs the program a microsecond or more: it is slower meanwhile.",
        "Sizes are not shown: the JVM's probe has them wrong for objects that interpreted code makes.",
        "docs/languages.md describes which runtimes have which probes, and what they do not see.",
    ),
)
