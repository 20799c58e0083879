"""Options of a tracer, in addition to those that every tracer has.

Options that change the shape of the C are macros, ``-D`` (``define``); what changes from run to run goes
into a map, so that one compiled image serves every value.
"""

from __future__ import annotations

from collections.abc import Mapping

from pytracer.record import default_factory, record
from pytracer.spec.columns import Key
from pytracer.spec.hooks import Hook


@record
class Option:
    """Base: ``--name`` (and ``-short``) with a line of ``help``."""

    name: str
    help: str
    short: str = ""


@record
class Flag(Option):
    """On or off. On defines ``define``, puts programs on ``hooks``, and shows the output that names this flag
    in its ``when``.

    ``excludes`` names a flag that contradicts it.
    """

    define: str = ""
    hooks: tuple[Hook, ...] = ()
    excludes: str = ""


@record
class Number(Option):
    """A whole number from ``minimum`` to ``maximum``. Either ``define``, a macro that has it as its value, or
    ``config``, the name of a run-time value that the C reads as ``PT_CFG_<CONFIG>``."""

    default: int = 0
    minimum: int = 1
    maximum: int = 0xFFFFFFFF
    metavar: str = "N"
    define: str = ""
    config: str = ""


@record
class Duration(Number):
    """A length of time with its unit, ``10ms``; without one it is milliseconds. Its value is nanoseconds."""

    default: int = 1_000_000
    minimum: int = 0
    maximum: int = (1 << 63) - 1
    metavar: str = "TIME"


@record
class Choice(Option):
    """One of ``choices``. Either ``config``, the name of a run-time value that the C reads as
    ``PT_CFG_<CONFIG>`` and that gets the choice's index, or ``program``: the choices are whole programs
    (``c``, the tracer's C file, and others from :mod:`pytracer.bpf.asm.lessons`). With neither, a probe
    names it (:attr:`~pytracer.spec.Probe.choice`).
    """

    choices: tuple[str, ...] = ()
    default: str = ""
    config: str = ""
    program: bool = False


@record
class SeccompProfile(Option):
    """A file with the system calls that the command may make; ``define`` is a macro of the C."""

    define: str = ""


@record
class GroupBy(Option):
    """``--by KEY[,KEY...]``: which dimensions rows are grouped by. Without a ``default`` (keys like
    the user's) all is one row."""

    keys: tuple[Key, ...] = ()
    default: str = ""


@record
class NameSet(Option):
    """A set of names to keep, ``a,b``, or to leave out, ``!a,b``.

    ``encode`` names an encoder of :mod:`pytracer.enrich` (name -> the keys of ``map``, a hash of the
    C file); ``define`` compiles the look-up in, ``define``\\ ``_EXCEPT`` the other sense. Or ``names``
    are all that there are: the key of each is its place among them, a u64.
    """

    names: tuple[str, ...] = ()
    encode: str = ""
    map: str = ""
    define: str = ""


@record
class PacketFilter(Option):
    """A packet filter, in tcpdump's language. It becomes instructions before the program's own: the C does
    not see it.

    ``frames``: the program sees frames as on the wire, not the kernel's metadata of a packet. ``raw``: it
    sees packets from the network header on, whatever the interface.
    """

    frames: bool = False
    raw: bool = False


@record
class ExpressionOption(Option):
    """Expressions in the language of :mod:`pytracer.lang`, of tracers that take probe specs."""


@record
class Arguments:
    """Positional arguments before INTERVAL and COUNT: ``encode`` says what they name.

    ``every``: whether ``any`` means all that exist, now or later.
    """

    name: str
    help: str
    encode: str = ""
    minimum: int = 1
    examples: tuple[str, ...] = ()
    every: bool = True

    @property
    def usage(self) -> str:
        """The usage line's text for them: ``PATTERN...``, in brackets if none is needed."""
        return f"{self.name.upper()}..." if self.minimum else f"[{self.name.upper()}...]"

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions of the C that are attached to what the arguments name."""
        return ()


@record
class Targets(Arguments):
    """Positional arguments that name attach targets, as :mod:`pytracer.spec.sources` spells them.

    ``begin`` is the C function that is attached to each; ``end``, if given, to the return of the same
    functions. ``enter`` is attached to the entry of functions of which only the return was named, if their
    calls have to be known there: then ``PT_TRACKED`` is defined. The C finds its target id by ``pt_target``
    of probes_c/include/target.h.

    ``default`` is attached if the user names nothing: as much of it as the kernel has. ``kinds`` are
    functions that the C tells apart: ``pt_kind`` gives the position of a function's name in it, from 1 on;
    ``NAME*`` is all that begin so. ``mark``, if given, is attached to each site of USDT probes, in the place
    of ``begin`` and ``end``, and the C reads their arguments by probes_c/include/usdt.h. ``wanted`` is the
    hint if there is nothing of the default to attach to: such a run is then not supported.
    """

    encode: str = "sources"
    begin: str = "hit"
    end: str = ""
    enter: str = ""
    default: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    mark: str = ""
    wanted: str = ""

    @property
    def functions(self) -> tuple[str, ...]:
        """See :class:`Arguments`."""
        return tuple(filter(None, (self.begin, self.end, self.mark)))


@record
class Injection(Arguments):
    """A kernel function to fail, and the fault: the name of an error, ``NULL`` or ``TRUE``.

    The C reads the value to return as ``PT_CFG_RETURNS``; the map ``pt_bounds`` names processes to spare,
    and the time at which injection ends.
    """

    encode: str = "injection"
    minimum: int = 2

    @property
    def usage(self) -> str:
        """See :class:`Arguments`."""
        return self.name.upper()


@record
class ProbeSpecArguments(Arguments):
    """Probe specs in the language of :mod:`pytracer.lang`: probe, filter and expressions. The C includes
    ``generated_specs.h``, which is generated for each run (probes_c/include/probe_specs.h). The tracer
    has the option ``string-size``.

    ``distribution``: in argdist's form, not trace's. ``pair``: two of them, a start and an end; the tracer
    has an :class:`ExpressionOption` for each keyword of :func:`pytracer.lang.parse_pair`.
    """

    encode: str = "probe_specs"
    distribution: bool = False
    pair: bool = False

    @property
    def usage(self) -> str:
        """See :class:`Arguments`."""
        return self.name.upper() if self.pair else super().usage


@record
class ScriptArguments(Arguments):
    """A script in the language of :mod:`pytracer.lang.script`, and its parameters. The C includes
    ``generated_script.h``, which is generated for each run (probes_c/include/script_values.h)."""

    encode: str = "script"


@record
class LanguageProbes(Arguments):
    """Positional arguments that choose runtimes: names of languages (:mod:`pytracer.spec.languages`), and
    files of runtimes. The tracer's programs run at their USDT probes.

    ``programs`` has the name of the C function for each event that the tracer needs; one in ``needed_by``
    is needed only with one of its flags. ``partial``: what a build or a start of a runtime does not carry is
    left out with a warning, not refused. The C reads the arguments of probes by
    probes_c/include/language.h.
    """

    encode: str = "languages"
    minimum: int = 0
    programs: Mapping[str, str] = default_factory(factory=dict)
    needed_by: Mapping[str, tuple[str, ...]] = default_factory(factory=dict)
    partial: bool = False

    @property
    def functions(self) -> tuple[str, ...]:
        """See :class:`Arguments`."""
        return tuple(dict.fromkeys(self.programs.values()))
