"""The one spelling for what a user names: ``vfs_*`` or ``k:vfs_*``, ``f:vfs_read``, ``t:block:*``.

Parsing is pure: whether there is such a thing is found out later, on the machine that is traced.
"""

from __future__ import annotations

import re

from pytracer.errors import UnknownNameError, UsageError
from pytracer.record import record
from pytracer.spec import quoting
from pytracer.spec.points import Point
from pytracer.spec.quoting import QUOTED

_FILE = rf"(?:{QUOTED}|[^:*?\"])+"  # a path, or the name of a library or program
_SYMBOL = rf"(?:{QUOTED}|[^\0-\x1f])+"  # of C++ and Rust as they are written, and of Go
_OFFSET = re.compile(r"(?P<name>.*)\+(?P<offset>0x[0-9a-fA-F]+|\d+)$", re.DOTALL)


@record
class Spelling:
    """One kind of source. ``place`` describes the part before the last colon ("": there is none), ``of``
    the named thing, ``event`` the event for which the program runs; ``long`` are other names of the kind,
    ``example`` shows one.

    ``offset``: ``name+OFFSET`` is a location inside it, ``+OFFSET`` one in the file that the place names.
    ``end``: the kind of the return of the same function. ``at`` is the point at which its programs run.
    ``of_file``: the text behind the first colon is a name in the file before it, which may begin with a
    unit (``UNIT:NAME``). ``places`` and ``names`` are regular expressions for these parts.
    """

    kind: str
    of: str
    event: str
    example: str
    long: tuple[str, ...] = ()
    place: str = ""
    offset: bool = False
    end: str = ""
    at: Point = Point.OTHER
    places: str = r"[\w*?]+"
    of_file: bool = False
    names: str = r"[\w.*?$|]+(?:@\d+)?"  # `.` and `$` are in names that compilers make


SPELLINGS = {
    spelling.kind: spelling
    for spelling in (
        Spelling(
            "k",
            "function",
            "a function of the kernel begins",
            "k:vfs_read, k:vfs_*",
            long=("kprobe",),
            offset=True,
            end="kr",
            at=Point.ENTRY,
        ),
        Spelling(
            "kr",
            "function",
            "a function of the kernel returns",
            "kr:vfs_*",
            long=("kretprobe",),
            at=Point.RETURN,
        ),
        Spelling(
            "f",
            "function",
            "a function of the kernel begins",
            "f:vfs_read",
            long=("fentry",),
            end="fr",
            at=Point.ENTRY | Point.TRAMPOLINE,
        ),
        Spelling(
            "fr",
            "function",
            "a function of the kernel returns",
            "fr:vfs_read",
            long=("fexit",),
            at=Point.RETURN | Point.TRAMPOLINE,
        ),
        Spelling(
            "lsm",
            "hook of security modules",
            "security modules are asked",
            "lsm:file_open, lsm:inode_*",
            at=Point.ENTRY | Point.TRAMPOLINE,
        ),
        Spelling(
            "t",
            "trace event",
            "a trace event happens",
            "t:sched:sched_switch, t:block:*",
            long=("tracepoint",),
            place="CATEGORY",
        ),
        Spelling("rt", "raw tracepoint", "a tracepoint is passed", "rt:sched_switch", long=("raw",)),
        Spelling(
            "u",
            "function",
            "a function of a program begins",
            "u:libc:malloc, u:/usr/bin/bash:readline*",
            long=("uprobe",),
            place="FILE",
            offset=True,
            end="ur",
            at=Point.ENTRY | Point.PROGRAM,
            places=_FILE,
            names=_SYMBOL,
            of_file=True,
        ),
        Spelling(
            "ur",
            "function",
            "a function of a program returns",
            "ur:libc:malloc",
            long=("uretprobe",),
            place="FILE",
            at=Point.RETURN | Point.PROGRAM,
            places=_FILE,
            names=_SYMBOL,
            of_file=True,
        ),
        Spelling(
            "usdt",
            "USDT probe",
            "a USDT probe is passed",
            "usdt:python:gc__*, usdt:/usr/bin/python3:python:line",
            place="PROVIDER",
            places=rf"(?:{_FILE}:)?[\w.*?-]+|/{_FILE}|{QUOTED}",
            names=rf"[\w.*?-]+|{QUOTED}",
        ),
    )
}
"""Every kind of source by its short name, in the order that help pages name them."""

_KINDS = {name: kind for kind, s in SPELLINGS.items() for name in (kind, *s.long)}


@record
class Source:
    """A pattern for attach targets: ``kind`` of :data:`SPELLINGS`, the ``place`` (a category, a file; "" if
    the kind has none), a ``name`` that may contain ``*`` and ``?``, an ``offset`` in bytes.

    ``process`` is the one whose files are searched, for sources in programs (0: ours); ``command`` is the
    command to start, which decides among several libraries with the name.
    """

    kind: str
    name: str
    place: str = ""
    offset: int = 0
    process: int = 0
    command: tuple[str, ...] = ()

    @property
    def spelling(self) -> Spelling:
        """The spelling of its kind."""
        return SPELLINGS[self.kind]

    @property
    def text(self) -> str:
        """As it is written."""
        offset_text = f"+{self.offset:#x}" if self.offset else ""
        return ":".join(part for part in (self.kind, self.place, self.name + offset_text) if part)

    @property
    def is_pattern(self) -> bool:
        """True if it may match more than one target."""
        return quoting.is_pattern(self.place) or quoting.is_pattern(self.name)

    def matches(self, name: str, place: str = "") -> bool:
        """Return whether the source matches a name at a place."""
        return bool(_matches(self.name, name) and _matches(self.place, place))


def parse_source(text: str) -> Source:
    """Parse a word of the command line as a source; a word without a colon is a function of the kernel.

    Raises UsageError, which points at the mistake.
    """
    head, colon, remainder = text.partition(":")
    if not colon:
        head, remainder = "k", text
    kind = _KINDS.get(head)
    if kind is None:
        raise UnknownNameError("kind of source", head, _KINDS, hint=_near(head, remainder))
    spelling = SPELLINGS[kind]
    if (kind, remainder) == ("usdt", "*"):  # of every provider
        remainder = "*:*"
    place, offset = "", 0
    if spelling.place:
        if spelling.of_file:  # what stands behind the first colon may have colons of its own
            place, *parts = quoting.split(remainder, ":", 1)
            if not parts:
                raise UsageError(
                    f"{text!r}: there is no {spelling.place} of a {spelling.of}, or no {spelling.of} of it",
                    hint=f"{kind}:{remainder}:FUNCTION or {kind}:FILE:{remainder}, as in {spelling.example}",
                )
        else:
            *place_parts, last = quoting.split(remainder, ":")
            place, parts = ":".join(place_parts), [last]
        remainder = parts[0] if quoting.split(parts[0], ":")[-1] else ""
        _check(text, place, spelling.places, f"{spelling.place} of a {spelling.of}", spelling)
    match = _OFFSET.match(remainder) if spelling.offset else None
    if match:
        remainder, offset = match["name"], int(match["offset"], 0)
    elif spelling.of_file and (wrong := _OFFSET.match(remainder)):
        position = len(text) - len(remainder) + len(wrong["name"])
        raise UsageError(
            f"{text!r}: {text[position:]!r} at character {position + 1} is no name of a {spelling.of}",
            hint=f"as in {spelling.example}",
        )
    if remainder or not (offset and place):
        _check(text, remainder, spelling.names, f"name of a {spelling.of}", spelling)
    source = Source(kind, remainder, place, offset)
    if offset and source.is_pattern:
        raise UsageError(f"{text!r}: an offset goes with one function, not with a pattern")
    return source


def _matches(pattern: str, name: str) -> bool:
    return bool(quoting.matcher(pattern, "[^:]").fullmatch(name))


def _check(text: str, part: str, allowed: str, noun: str, spelling: Spelling) -> None:
    """Check that a ``part`` of ``text`` matches ``allowed``. Raises UsageError, which points at the
    mismatch."""
    match = re.match(allowed, part)
    end = match.end() if match else 0
    if not part or end < len(part):
        position = text.rfind(part) + end
        wrong = (
            f"{text[position:]!r} at character {position + 1} is no {noun}" if part else f"there is no {noun}"
        )
        raise UsageError(f"{text!r}: {wrong}", hint=f"as in {spelling.example}")


def _near(head: str, remainder: str) -> str:
    """Suggest kinds of sources for an unknown one."""
    meant = []
    if re.fullmatch(r"\w+", head) and re.fullmatch(r"[\w*?]+", remainder):
        meant.append(f"a trace event is written t:{head}:{remainder}")
    if re.fullmatch(r"[\w./+-]{2,}", head) and remainder and "/" not in remainder:
        meant.append(f"a function of a program is written u:{head}:{remainder}")
    return f"{', '.join(meant)}; kinds are {', '.join(SPELLINGS)}" if meant else ""
