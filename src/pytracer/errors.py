"""Every error pytracer raises on purpose.

    PytracerError              1  something failed
    ├── UsageError             2  the command line, or a value on it, makes no sense
    │   ├── UnknownNameError   2  a name (tracer, system call, interface, process, ...) that nothing bears
    │   ├── UnknownOptionError 2  an option (of :func:`pytracer.open`) that the tracer does not have
    │   ├── ProbeSpecError     2  a probe spec (trace, argdist) that makes no sense, and where
    │   └── NoProbesError      2  none of a script's probes can be attached
    ├── LossError              3  something was lost and --strict was given
    ├── UnsupportedError       4  this kernel has no way to do it
    │   ├── UnprobeableError   4  functions match, and none of them can be probed
    │   └── UnreadableCodeError 4  the machine code of a function does not tell where it returns
    ├── NotPermittedError      5  the kernel would do it, but not for this process
    │   └── PolicyError        5  refused by lockdown, a security module, seccomp or a sysctl
    ├── ToolchainError         1  BCC is missing, too old, or not BCC at all
    ├── HeadersError           1  no kernel types: neither BTF nor headers
    ├── BuildError             1  the C did not compile
    │   └── SchemaError        1  the C compiled to other columns, or offsets, than were declared
    ├── VerifierError          1  the kernel's verifier refused the program
    ├── AttachError            1  the program loaded but could not be attached
    ├── CacheError             1  the cache folder that was asked for cannot be used
    └── ResourcesError         1  descriptors or memory are used up

Each class carries the exit code of the command line (the number above). Each error is one line;
``hint`` is a second one that says what would help. Long material (compiler output, a verifier's log)
goes to ``detail``, which the command line shows with ``--debug`` only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def suggest_near(name: str, candidates: Iterable[str]) -> str:
    """Suggest similar names among the ``candidates`` for an unknown ``name``, or list all if there are few;
    "" if there is nothing to suggest."""
    import difflib  # for those who err alone

    names = sorted(set(candidates))
    like = difflib.get_close_matches(name, names, n=3)
    if like:
        return "did you mean " + " or ".join(like) + "?"
    return f"there is {', '.join(names)}" if 0 < len(names) <= 24 else ""


class PytracerError(Exception):
    """Base of all errors. ``hint`` is a remedy, ``detail`` holds text that is too long for a line."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


class UsageError(PytracerError):
    """The command line, or a value on it, makes no sense."""

    exit_code = 2


class UnknownNameError(UsageError):
    """No ``noun`` (such as "tracer") has the ``name`` that the user gave.

    The hint lists similar names of the ``candidates``, or all if they are few; else it is ``where_listed``.
    """

    def __init__(
        self, noun: str, name: str, candidates: Iterable[str], *, hint: str = "", where_listed: str = ""
    ) -> None:
        super().__init__(f"no {noun} {name!r}", hint=hint or suggest_near(name, candidates) or where_listed)


class UnknownOptionError(UsageError, TypeError):
    """A keyword argument of :func:`pytracer.open` that the tracer does not have; also a TypeError."""


class ProbeSpecError(UsageError):
    """An invalid probe spec. ``text`` is what the user wrote; the characters from ``start`` to before ``end``
    are wrong. ``place`` says where that is in the files of a script (``stdin:1:9-62``); "" in a probe spec.
    ``warnings`` came before it."""

    def __init__(self, message: str, text: str, start: int, end: int, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.text = text
        self.start = start
        self.end = end
        self.place = ""
        self.warnings: tuple[str, ...] = ()


class NoProbesError(ProbeSpecError):
    """None of a script's probes can be attached here."""

    def __init__(self, text: str, start: int, end: int, *, hint: str = "") -> None:
        super().__init__("No probes to attach", text, start, end, hint=hint)


class LossError(PytracerError):
    """Something was lost, and ``--strict`` makes that an error."""

    exit_code = 3


class UnsupportedError(PytracerError):
    """This kernel (or machine) does not support it; the message gives the reason, the hint an alternative."""

    exit_code = 4


class UnprobeableError(UnsupportedError):
    """Functions match, and none of them can be probed; ``refused`` has the reason for each name."""

    def __init__(self, message: str, refused: Mapping[str, str], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.refused = refused


class UnreadableCodeError(UnsupportedError):
    """The machine code of a function cannot be analysed; the message says which instruction, and why."""


class NotPermittedError(PytracerError):
    """The kernel would do it, but not for this process."""

    exit_code = 5


class PolicyError(NotPermittedError):
    """The kernel's policy refused: lockdown, a security module, seccomp, a sysctl."""


class ToolchainError(PytracerError):
    """BCC is missing, too old, or another package of that name."""


class HeadersError(PytracerError):
    """No kernel types to compile against: neither BTF, nor a header package, nor kheaders."""


class BuildError(PytracerError):
    """The C did not compile; ``detail`` holds the compiler's own words."""


class SchemaError(BuildError):
    """The compiled program disagrees with the declaration: a column, a type, a field's offset."""


class VerifierError(PytracerError):
    """The kernel's verifier refused the program; ``detail`` holds its whole log."""


class AttachError(PytracerError):
    """The program loaded but could not be attached to its hook."""


class CacheError(PytracerError):
    """The requested cache folder cannot be used."""


class ResourcesError(PytracerError):
    """This process, or the machine, has no more descriptors or memory; the kernel's features are unknown."""
