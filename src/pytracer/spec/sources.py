"""The one spelling for what a user names: ``vfs_*`` or ``k:vfs_*``, ``f:vfs_read``, ``t:block:*``.

Parsing is pure: whether there is such a thing is found out later, on the machine that is traced.
"""

from __future__ import annotations

import re

from pytracer.errors import UnknownNameError, UsageError
from pytracer.record import record
from pytracer.spec.points import Point

_FILE = r"[^:*?]+"  # a path, or the name of a library or program
_SYMBOL = r"[\w.*?$@]+"
_OFFSET = re.compile(r"(?P<name>[^+]*)\+(?P<offset>0x[0-9a-fA-F]+|\d+)$")


@record
class Spelling:
    """One kind of source. ``place`` says what stands before the last colon ("": nothing does), ``of`` what is
    named, ``event`` is what the program is run for; ``long`` are its other names, ``example`` shows one.

    ``offset``: ``name+OFFSET`` is a place within it, ``+OFFSET`` one in the file that the place is. ``end``:
    the kind that is the return of what this one is the entry of. ``at`` is where a program for it runs.
    ``places`` and ``names`` are regular expressions of what may be written there.
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
    names: str = r"[\w.*?$]+"  # `.` and `$` are in names that compilers make


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
        ),
        Spelling(
            "usdt",
            "USDT probe",
            "a USDT probe is passed",
            "usdt:python:gc__*, usdt:/usr/bin/python3:python:line",
            place="PROVIDER",
            places=rf"(?:{_FILE}:)?[\w.*?-]+|/[^:*?]+",
            names=r"[\w.*?-]+",
        ),
    )
}
"""Every kind of source by its short name, in the order that help pages name them."""

_KINDS = {name: kind for kind, s in SPELLINGS.items() for name in (kind, *s.long)}


@record
class Source:
    """What a user named: ``kind`` of :data:`SPELLINGS`, the ``place`` it is in (a category, a file; "" where
    the kind has none), a ``name`` with ``*`` and ``?`` for what may be there, an ``offset`` in bytes.

    ``process`` is the one whose files are meant, where it is in programs (0: ours).
    """

    kind: str
    name: str
    place: str = ""
    offset: int = 0
    process: int = 0

    @property
    def spelling(self) -> Spelling:
        """What is known of its kind."""
        return SPELLINGS[self.kind]

    @property
    def text(self) -> str:
        """As it is written."""
        at = f"+{self.offset:#x}" if self.offset else ""
        return ":".join(part for part in (self.kind, self.place, self.name + at) if part)

    @property
    def is_pattern(self) -> bool:
        """Whether it may name more than one."""
        return any(sign in self.place + self.name for sign in "*?")

    def matches(self, name: str, place: str = "") -> bool:
        """Whether something of this name, at this place, is meant."""
        return bool(matcher(self.name).fullmatch(name) and matcher(self.place).fullmatch(place))


def matcher(pattern: str) -> re.Pattern[str]:
    """A name with ``*`` for any characters (not ``:``) and ``?`` for one, as a regular expression."""
    return re.compile(re.escape(pattern).replace(r"\*", "[^:]*").replace(r"\?", "[^:]"))


def parse_source(text: str) -> Source:
    """The source that a word of the command line names; a word without a colon is a function of the kernel.

    Raises UsageError, which points at what cannot be read.
    """
    head, colon, rest = text.partition(":")
    if not colon:
        head, rest = "k", text
    kind = _KINDS.get(head)
    if kind is None:
        raise UnknownNameError("kind of source", head, _KINDS, hint=_near(head, rest))
    spelling = SPELLINGS[kind]
    place, offset = "", 0
    if spelling.place:
        place, _, rest = rest.rpartition(":")
        _check(text, place, spelling.places, f"{spelling.place} of a {spelling.of}", spelling)
    found = _OFFSET.match(rest) if spelling.offset else None
    if found:
        rest, offset = found["name"], int(found["offset"], 0)
    if rest or not (offset and place):
        _check(text, rest, spelling.names, f"name of a {spelling.of}", spelling)
    source = Source(kind, rest, place, offset)
    if offset and source.is_pattern:
        raise UsageError(f"{text!r}: an offset goes with one function, not with a pattern")
    return source


def _check(text: str, part: str, allowed: str, what: str, spelling: Spelling) -> None:
    """A ``part`` of ``text`` must be as it is ``allowed``. Raises UsageError, which says where it is not."""
    good = re.match(allowed, part)
    end = good.end() if good else 0
    if not part or end < len(part):
        at = text.rfind(part) + end
        wrong = f"{text[at:]!r} at character {at + 1} is no {what}" if part else f"there is no {what}"
        raise UsageError(f"{text!r}: {wrong}", hint=f"as in {spelling.example}")


def _near(head: str, rest: str) -> str:
    """What may have been meant by a kind that there is not."""
    if re.fullmatch(r"\w+", head) and re.fullmatch(r"[\w*?]+", rest):
        return f"a trace event is written t:{head}:{rest}; kinds are {', '.join(SPELLINGS)}"
    return ""
