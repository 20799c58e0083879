"""The arguments of a program, as one would type them into a shell."""

from __future__ import annotations

import re
import shlex

_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_BYTE = re.compile("[\udc80-\udcff]")


def arguments(value: bytes) -> str:
    """Strings that each end with a NUL -> ``sh -c 'echo a'``: no two lists are shown alike.

    What a shell would take apart is quoted; what is no text, or hides, as bash does it: ``$'\\xff'``.
    """
    if not value:
        return ""
    return " ".join(_quoted(word) for word in value.removesuffix(b"\0").split(b"\0"))


def _quoted(word: bytes) -> str:
    text = word.decode("utf-8", "surrogateescape")
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if _BYTE.match(character):
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
