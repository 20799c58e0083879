"""How names are written where ``:``, ``*``, ``?`` and others mean something: in double quotes, as themselves.

``u:"/tmp/a:b":"main.(*T).m"`` names one function of one file. In quotes a backslash stands before ``"`` and
``\\``, and begins the escapes of :mod:`pytracer.text`, which tables have for control characters. What
pytracer shows is written so, and can be given back to it.
"""

from __future__ import annotations

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


def quote(name: str, also: str = "") -> str:
    """Write a name so that it stands for itself; characters of ``also`` may stand without quotes."""
    plain = name.translate({ord(sign): "x" for sign in also})
    if _PLAIN.fullmatch(plain) and not _AMBIGUOUS.fullmatch(name):
        return name
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'


def unquote(written: str) -> str:
    """Read what was written as one name: quotes are taken off, the rest stays."""
    return "".join(_bare(token) if _is_quoted(token) else token for token in _TOKEN.findall(written))


def split(written: str, sign: str, most: int = 0) -> list[str]:
    """Split at each ``sign`` that stands outside of quotes, ``most`` times (0: as often as it stands there).

    ``::`` is part of a name, and no sign.
    """
    parts = [""]
    for token in _TOKEN.findall(written):
        if token == sign and (not most or len(parts) <= most):
            parts.append("")
        else:
            parts[-1] += token
    return parts


def either(one: str, other: str) -> str:
    """Write two names of one thing as one: ``libc:aligned_alloc|memalign``."""
    *place, name = split(one, ":", 1)
    names = {*split(name, "|"), *split(split(other, ":", 1)[-1], "|")}
    return ":".join([*place, "|".join(sorted(names))])


def is_pattern(written: str) -> bool:
    """Tell whether ``*`` or ``?`` stands outside of quotes."""
    return any(token in ("*", "?") for token in _TOKEN.findall(written))


def matcher(written: str, any_character: str = ".") -> re.Pattern[str]:
    """A regular expression for whole names: ``*`` is any text, ``?`` one character, quotes are taken off."""
    words = {"*": f"{any_character}*", "?": any_character}
    tokens = _TOKEN.findall(written)
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
    return _ESCAPE.sub(_unescaped, token[1:-1])


def _unescaped(match: re.Match[str]) -> str:
    if match[1] is not None:
        return match[1]
    return to_bytes(match[0]).decode("utf-8", "surrogateescape")
