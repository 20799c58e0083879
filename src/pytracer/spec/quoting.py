r"""Quote names that contain ``:``, ``*``, ``?`` and other special characters, in double quotes.

``u:"/tmp/a:b":"main.(*T).m"`` names one function of one file. In quotes a backslash escapes ``"`` and
``\``, and begins the escapes of :mod:`pytracer.text`, which tables use for control characters. pytracer
prints names in this form, and accepts them back.
"""

from __future__ import annotations

import functools
import re

from pytracer.text import to_bytes

_ESCAPE = re.compile(
    r"\\(?:[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|(.))",
    re.DOTALL,
)
_QUOTED = r'"(?:[^"\\]|\\.)*"'
QUOTED = _QUOTED
"""A regular expression for a part in quotes."""
_TOKEN = re.compile(rf"{_QUOTED}|::+|.", re.DOTALL)
_PLAIN = re.compile(r"[\w.$@~/%,=-]+(?:::[\w.$@~/%,=-]+)*")
_AMBIGUOUS = re.compile(r".*(?:\+(?:0x[0-9a-fA-F]+|\d+)|@\d+)", re.DOTALL)


def quote(name: str, extra: str = "") -> str:
    """Quote a name if it needs it; characters of ``extra`` need no quotes."""
    unquoted = name.translate({ord(sign): "x" for sign in extra})
    if _PLAIN.fullmatch(unquoted) and not _AMBIGUOUS.fullmatch(name):
        return name
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'


def unquote(text: str) -> str:
    """Remove quotes from a name; the rest stays."""
    return "".join(_bare(token) if _is_quoted(token) else token for token in _TOKEN.findall(text))


def split(text: str, sign: str, limit: int = 0) -> list[str]:
    """Split at each ``sign`` that stands outside of quotes, ``limit`` times (0: as often as it stands there).

    ``::`` is part of a name, and no sign.
    """
    parts = [""]
    for token in _TOKEN.findall(text):
        if token == sign and (not limit or len(parts) <= limit):
            parts.append("")
        else:
            parts[-1] += token
    return parts


def either(alternative: str, other: str) -> str:
    """Write two names of one thing as one: ``libc:aligned_alloc|memalign``."""
    *place_parts, name = split(alternative, ":", 1)
    names = {*split(name, "|"), *split(split(other, ":", 1)[-1], "|")}
    return ":".join([*place_parts, "|".join(sorted(names))])


def is_pattern(text: str) -> bool:
    """Return whether there is a ``*`` or ``?`` outside of quotes."""
    return any(token in ("*", "?") for token in _TOKEN.findall(text))


@functools.lru_cache(maxsize=64)
def matcher(text: str, any_character: str = ".") -> re.Pattern[str]:
    """Compile a pattern to a regular expression for whole names: ``*`` matches any text, ``?`` one
    character."""
    words = {"*": f"{any_character}*", "?": any_character}
    tokens = _TOKEN.findall(text)
    return re.compile(
        "".join(
            re.escape(_bare(token)) if _is_quoted(token) else words.get(token) or re.escape(token)
            for token in tokens
        ),
        re.DOTALL,
    )


def _is_quoted(token: str) -> bool:
    return len(token) > 1 and token[0] == '"'


def _bare(token: str) -> str:
    return _ESCAPE.sub(_unescape, token[1:-1])


def _unescape(match: re.Match[str]) -> str:
    if match[1] is not None:
        return match[1]
    return to_bytes(match[0]).decode("utf-8", "surrogateescape")
