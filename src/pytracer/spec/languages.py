"""The languages whose runtimes have USDT probes: what their probes say, and where.

A probe's arguments are put into one order (:data:`ARGUMENTS`) before the C reads them, so the C of a tracer
knows no language (probes_c/include/language.h).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytracer.errors import UsageError
from pytracer.record import default_factory, record, replace
from pytracer.spec import quoting
from pytracer.spec.columns import Column
from pytracer.spec.options import Duration, LanguageProbes
from pytracer.spec.sources import Source

GC_BEGIN, GC_END = "gc-begin", "gc-end"
"""The events of runtimes: a collection begins, and ends."""
STEP_BEGIN, STEP_END = "gc-step-begin", "gc-step-end"
"""A later part of a collection begins, and ends."""
CALL_BEGIN, CALL_END = "call-begin", "call-end"
"""A function is called, and returns."""
ALLOCATION = "allocation"
"""An object is allocated."""
ENABLES = "enables"
"""No event: a probe is wanted so that the runtime raises another one (``enabled_by``)."""

ARGUMENTS = (
    *("language", "label", "labels", "detail"),
    *("name", "name_size", "scope", "scope_size", "file", "line"),
)
"""The arguments that the C reads, in the order of ``enum pt_language_argument``. ``language`` is the index in
:data:`LANGUAGES`. ``label`` is that of the probe's first label in :data:`LABELS`, ``labels`` their number,
``detail`` is added to it. ``name`` is the address of a function's name, ``scope`` that of its class's name,
or of its file's where the probe has no class; each with its size, where it has no NUL."""


@record
class RuntimeProbe:
    """A USDT probe of a runtime, and its ``event``. ``arguments`` has the index of the probe's argument for
    some of :data:`ARGUMENTS`; ``labels`` name what it is about, by the argument ``detail`` if it has that.

    It is raised only in a process that was started with one of the ``flags``, or with the variable
    ``environment`` set ("": always). In the files that ``enabled_in`` matches, it is raised only while the
    probe ``enabled_by`` is wanted, too; ``enabled_beside`` is one that is passed rarely. ``caveat`` says
    what else is not seen, ``lacking`` which builds do not have it.
    """

    name: str
    event: str
    arguments: Mapping[str, int] = default_factory(factory=dict)
    labels: tuple[str, ...] = ("",)
    flags: tuple[str, ...] = ()
    environment: str = ""
    enabled_by: str = ""
    enabled_in: str = ""
    enabled_beside: str = ""
    caveat: str = ""
    lacking: str = ""


@record
class Language:
    """A language, and the provider of its runtime's probes.

    ``files`` is a regular expression for the names of the runtime's programs and libraries, ``runtime`` its
    name in messages. ``lacking`` is the reason why a build has no probes, ``instead`` what would do.
    ``option_variables`` are variables of the environment from which it reads options, too.
    """

    name: str
    provider: str
    runtime: str
    files: str
    probes: tuple[RuntimeProbe, ...] = ()
    lacking: str = "it was built without --enable-dtrace"
    instead: str = ""
    option_variables: tuple[str, ...] = ()

    def source(self, file: str = "") -> Source:
        """Return the source of all its probes, in a file or in what is traced."""
        place = f"{quoting.quote(file)}:{self.provider}" if file else self.provider
        return Source("usdt", "*", place)

    def probes_of(self, events: Iterable[str]) -> tuple[RuntimeProbe, ...]:
        """Return its probes of some events."""
        wanted = frozenset(events)
        return tuple(probe for probe in self.probes if probe.event in wanted)


_GENERATIONS = tuple(f"generation {number}" for number in range(3))
_PAUSES = ("pause", "full")

# The index of each argument in the probes of calls.
_RUBY = {"scope": 0, "name": 1, "file": 2, "line": 3}
_RUBY_KINDS = ("array", "hash", "string", "symbol")
_PHP = {"name": 0, "file": 1, "line": 2, "scope": 3}
_JAVA = {"scope": 1, "scope_size": 2, "name": 3, "name_size": 4}
# CPython 3.11 calls functions of Python without its own function for frames, and sees the probe only where it
# interprets with tracing on, which the probe of lines does (Python/ceval.c, OR_DTRACE_LINE).
_PYTHON_CALL = RuntimeProbe(
    "function__entry",
    CALL_BEGIN,
    {"scope": 0, "file": 0, "name": 1, "line": 2},
    enabled_by="line",
    enabled_beside="import__find__load__done",
    enabled_in=r"(lib)?python3\.11(\.so[\d.]*)?",
    lacking="CPython 3.12 to 3.14 have no probes of functions: 3.11 and older have, and 3.15",
)
_RUBY_CAVEAT = (
    "ruby: methods in C are seen, methods in Ruby only while the program has a TracePoint of calls enabled"
)
_PHP_NEEDS = "USE_ZEND_DTRACE"
_JAVA_NEEDS = ("-XX:+ExtendedDTraceProbes", "-XX:+DTraceMethodProbes")

LANGUAGES = (
    Language(
        "python",
        "python",
        "CPython",
        r"(lib)?python[\d.]*(m|d|t)?(\.so[\d.]*)?",
        (
            RuntimeProbe("gc__start", GC_BEGIN, {"detail": 0}, _GENERATIONS),
            RuntimeProbe("gc__done", GC_END, labels=_GENERATIONS),
            _PYTHON_CALL,
            replace(_PYTHON_CALL, name="function__return", event=CALL_END),
        ),
        "it was built without --with-dtrace",
        "distributions' python3 has them",
    ),
    Language(
        "ruby",
        "ruby",
        "Ruby",
        r"(lib)?ruby[\d.-]*(\.so[\d.]*)?",
        (
            RuntimeProbe("gc__mark__begin", GC_BEGIN, labels=("mark",)),
            RuntimeProbe("gc__mark__end", GC_END, labels=("mark",)),
            RuntimeProbe("gc__sweep__begin", STEP_BEGIN, labels=("sweep",)),
            RuntimeProbe("gc__sweep__end", STEP_END, labels=("sweep",)),
            RuntimeProbe("method__entry", CALL_BEGIN, _RUBY, caveat=_RUBY_CAVEAT),
            RuntimeProbe("method__return", CALL_END, _RUBY),
            RuntimeProbe("cmethod__entry", CALL_BEGIN, _RUBY),
            RuntimeProbe("cmethod__return", CALL_END, _RUBY),
            RuntimeProbe("object__create", ALLOCATION, {"scope": 0}, ("object",)),
            *(RuntimeProbe(f"{kind}__create", ALLOCATION, labels=(kind,)) for kind in _RUBY_KINDS),
        ),
    ),
    Language(
        "php",
        "php",
        "PHP",
        r"(php|php-cgi|php-fpm|libphp)[\d.]*(\.so)?",
        (
            RuntimeProbe("function__entry", CALL_BEGIN, _PHP, environment=_PHP_NEEDS),
            RuntimeProbe("function__return", CALL_END, _PHP, environment=_PHP_NEEDS),
        ),
        instead="distributions' php has them",
    ),
    Language(
        "java",
        "hotspot",
        "the JVM",
        r"libjvm\.so",
        (
            RuntimeProbe("gc__begin", GC_BEGIN, {"detail": 0}, _PAUSES),
            RuntimeProbe("gc__end", GC_END, labels=_PAUSES),
            RuntimeProbe("method__entry", CALL_BEGIN, _JAVA, flags=_JAVA_NEEDS),
            RuntimeProbe("method__return", CALL_END, _JAVA, flags=_JAVA_NEEDS),
            RuntimeProbe(
                "object__alloc",
                ALLOCATION,
                {"scope": 1, "scope_size": 2},
                ("object",),
                ("-XX:+ExtendedDTraceProbes", "-XX:+DTraceAllocProbes"),
            ),
        ),
        option_variables=("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"),
    ),
    Language("node", "node", "Node.js", r"node(js)?|libnode\.so[\d.]*"),
    Language("perl", "perl", "Perl", r"(lib)?perl[\d.]*(\.so[\d.]*)?"),
)
"""All languages that are known. Those without probes are named where one of their programs is traced."""

LABELS = tuple(
    dict.fromkeys(
        (language.name, label)
        for language in LANGUAGES
        for probe in language.probes
        for label in probe.labels
    )
)
"""All labels of probes; those of one probe follow each other."""


LANGUAGE = Column("language", "the language of the runtime", decode="language", width=8)
"""The column of the language: pt_language in probes_c/include/language.h."""
FUNCTION = (
    LANGUAGE,
    Column("scope", "its class, in Python its file", decode="text", null=b"", width=24),
    Column("function", "the function or method", decode="text", width=20),
)
"""The columns of a function: pt_language_text in probes_c/include/language.h."""
CALL_TOTALS = (
    Column("calls", "calls"),
    Column("returns", "returns"),
    Column("left", "calls that were left without a return, as by an exception"),
    Column("unstarted", "returns without a call, which began before the trace or was not seen"),
    Column("open", "calls still open at the end"),
)
"""The totals of calls: calls are returns, left, open, or lost; probes_c/include/language_calls.h."""
MINIMUM = Duration("min", "only those that took at least this long", short="m", config="min", default=0)
"""The option of the shortest time that is shown."""


def label_of(language: Language, probe: RuntimeProbe) -> int:
    """Return the index of a probe's first label."""
    return LABELS.index((language.name, probe.labels[0]))


def languages_with(arguments: LanguageProbes) -> tuple[Language, ...]:
    """Return the languages that have probes for a tracer's first event."""
    first = next(iter(arguments.programs))
    return tuple(language for language in LANGUAGES if language.probes_of((first,)))


def sources_of(arguments: LanguageProbes, words: Iterable[str]) -> tuple[Source, ...]:
    """Return the sources that words name; without words, those of all languages that have probes for this.

    Raises UsageError for a language that has none.
    """
    available = languages_with(arguments)
    names = {language.name: language for language in LANGUAGES}
    sources = list[Source]()
    for word in words:
        language = names.get(word)
        if language is None:
            sources += (one.source(word) for one in available)
        elif language in available:
            sources.append(language.source())
        else:
            there = ", ".join(one.name for one in available)
            raise UsageError(
                f"{language.runtime} has no probes for this", hint=f"languages that have: {there}"
            )
    return tuple(dict.fromkeys(sources or (language.source() for language in available)))


def language_of(source: Source) -> Language:
    """Return the language of a source of :func:`sources_of`."""
    provider = quoting.split(source.place, ":")[-1]
    return next(language for language in LANGUAGES if language.provider == provider)
