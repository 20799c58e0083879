"""The words of a probe's C text, which decide which kernel types it needs.

This is no C parser. Too many words cost only a few lines of header; but the names that the text defines
itself must be recognised, since they must not be defined twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pytracer.bpf.digest import sha256
from pytracer.record import record, replace

# Comments and literals say nothing about types; a literal keeps its place as an argument.
_NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|\\\n', re.S)
_WORD = re.compile(r"\b[A-Za-z_]\w*\b")
_TAG = re.compile(r"\b(struct|union|enum)\s+(?:__attribute__\s*\(\(.*?\)\)\s*)?([A-Za-z_]\w*)(\s*\{)?")
_OWN = (
    re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.M),
    re.compile(r"\btypedef\b[^;{}]*?\b(\w+)\s*(?:\[[^\]]*\]\s*)*;"),
    re.compile(r"\btypedef\b[^;{}]*?\(\s*\*\s*(\w+)\s*\)"),
    re.compile(r"\}\s*(?:__attribute__\s*\(\(.*?\)\)\s*)?(\w+)\s*;"),
    re.compile(r"\b(\w+)\s*\([^;{}]*\)\s*\{"),
    re.compile(r"\b(?:static|const)\b[^;{}()=]*?\b(\w+)\s*(?:\[[^\]]*\]\s*)*="),
    # BCC's map macros: the name is the first argument that is not a string, or the fourth.
    re.compile(r'\bBPF_\w+\s*\(\s*(?:""\s*,\s*)?(\w+)'),
    re.compile(r"\bBPF_\w*TABLE\w*\s*\((?:[^,()]*,){3}\s*(\w+)"),
)
_OWN_ENUM = re.compile(r"\benum\s*\w*\s*\{([^}]*)\}")
_TRACEPOINT = re.compile(r"\bTRACEPOINT_PROBE\s*\(\s*(\w+)\s*,\s*(\w+)\s*\)|\btracepoint__(\w+?)__(\w+)\b")
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]', re.M)
_FIELD = re.compile(r"field:([^;]*?)\w+(?:\[[^\]]*\])?;")

TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))

_KEYWORDS = (
    "auto break case char const continue default do double else enum extern float for goto if inline int "
    "long register restrict return short signed sizeof static struct switch typedef union unsigned void "
    "volatile while asm typeof _Bool _Static_assert "
    "defined define include ifdef ifndef endif elif undef pragma"
)
KEYWORDS = frozenset(_KEYWORDS.split())


@record
class SourceWords:
    """The words of a C text.

    ``words`` are all identifiers except C's own; ``tags`` are the (``struct`` | ``union`` | ``enum``, name)
    pairs that it uses; ``own_tags`` and ``own`` are the tags and the other names that it defines itself;
    ``includes`` are the included files, as written between the angle brackets or quotes.
    """

    words: frozenset[str]
    tags: frozenset[tuple[str, str]]
    own_tags: frozenset[str]
    own: frozenset[str]
    includes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, text: str, *, tracefs: Iterable[Path] = TRACEFS) -> SourceWords:
        """Find the words of ``text``.

        BCC writes a struct for each tracepoint that the text probes, from the event's format file; the types
        in that file count as named too.
        """
        clean = _NOISE.sub(_quiet, text)
        own_tags = {name for _, name, body in _TAG.findall(clean) if body}
        own_names = {name for pattern in _OWN for name in pattern.findall(clean)}
        for body in _OWN_ENUM.findall(clean):
            own_names.update(word.group() for part in body.split(",") if (word := _WORD.search(part)))
        formats = _formats(clean, tuple(tracefs))
        tags = {(kind, name) for kind, name, _ in _TAG.findall(clean) + _TAG.findall(formats)}
        words = set(_WORD.findall(clean)) | set(_WORD.findall(formats))
        return cls(
            frozenset(words - KEYWORDS),
            frozenset(tag for tag in tags if tag[1] not in own_tags),
            frozenset(own_tags),
            frozenset(own_names - KEYWORDS),
            frozenset(_INCLUDE.findall(text)),
        )

    def also(self, text: str) -> SourceWords:
        """Return these words and those used in ``text``."""
        other = SourceWords.of(text, tracefs=())
        return replace(self, words=self.words | other.words, tags=self.tags | other.tags)

    def digest(self) -> str:
        """Return a short hash that is equal for texts with the same words."""
        parts = [sorted(part) for part in (self.words, self.tags, self.own_tags, self.own, self.includes)]
        return sha256(repr(parts).encode()).hexdigest()[:24]


def _quiet(match: re.Match[str]) -> str:
    text = match.group()
    return '""' if text[0] in "\"'" else " "


def trace_events(text: str) -> list[tuple[str, str]]:
    """Return the (category, event) of every tracepoint that ``text`` probes."""
    return sorted({(a or c, b or d) for a, b, c, d in _TRACEPOINT.findall(text)})


def _formats(text: str, tracefs: tuple[Path, ...]) -> str:
    """Return the field types of every tracepoint that ``text`` probes, one a line; "" for unreadable ones."""
    lines = []
    for group, event in trace_events(text):
        for root in tracefs:
            try:
                form = (root / "events" / group / event / "format").read_text()
            except OSError:
                continue
            lines += _FIELD.findall(form.partition("print fmt")[0])
            break
    return "\n".join(lines)
