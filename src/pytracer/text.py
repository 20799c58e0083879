r"""Strings of the traced system: bytes as text, and text on a terminal. Imports nothing: errors need it.

All outputs share one grammar, so that one function, :func:`to_bytes`, reads all of them. A backslash begins
an escape: ``\\`` is a backslash, ``\xNN`` a byte, ``\n``, ``\r`` and ``\t`` are as in C, ``\uNNNN`` and
``\UNNNNNNNN`` a character. Byte strings that differ never have the same text.

:func:`from_bytes` makes the text that Python and JSON have, with escapes for backslashes and bytes that are
no UTF-8. :func:`harmless` escapes what a terminal may obey, too: of text in which backslashes begin escapes.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_CONTROLS = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_CONTROL = {sign[1].encode(): character.encode() for character, sign in _CONTROLS.items()} | {b"\\": b"\\"}
_ESCAPE = re.compile(rb"\\(?:([\\nrt])|x([0-9a-f]{2})|(?:u([0-9a-f]{4})|U([0-9a-f]{8})))")
_UNIT = re.compile(r"\\(?:x[0-9a-f]{2}|\\)|.", re.DOTALL)


def from_bytes(data: bytes) -> str:
    """Decode bytes as UTF-8; a backslash becomes ``\\\\``, a byte that is no UTF-8 ``\\xNN``."""
    # Of bytes without a backslash replace() makes no copy. UTF-8 has no 0x5c within a character.
    return data.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def all_from_bytes(values: Sequence[bytes]) -> list[str]:
    """Decode each as :func:`from_bytes` does, but all at once where none has a newline."""
    joined = b"\n".join(values)
    if not values or joined.count(b"\n") != len(values) - 1:
        return list(map(from_bytes, values))
    return from_bytes(joined).split("\n")


def to_bytes(text: str) -> bytes:
    """Return the bytes that :func:`from_bytes` or :func:`harmless` made ``text`` of.

    A backslash that begins no escape stands for itself.
    """
    return _ESCAPE.sub(_decode_escape, text.encode("utf-8", "surrogateescape"))


def from_path(path: str) -> str:
    """Make the text of a path or another string that Python decoded (PEP 383)."""
    return from_bytes(path.encode("utf-8", "surrogateescape"))


def clip(text: str, length: int) -> str:
    """Return the first ``length`` characters; an escape counts as one, and is never cut."""
    if "\\" not in text:
        return text[:length]
    return "".join(_UNIT.findall(text)[:length])


def harmless(text: str) -> str:
    """Escape each character that a terminal might obey, or that hides."""
    return text if text.isprintable() else text.translate(_HARMLESS)


def all_harmless(texts: Sequence[str]) -> list[str]:
    """Escape each as :func:`harmless` does, but all at once where they are ASCII and none has a newline."""
    joined = "\n".join(texts)
    if not texts or not joined.isascii() or joined.count("\n") != len(texts) - 1:
        return [text if text.isprintable() else harmless(text) for text in texts]
    for control, sign in _ASCII_CONTROLS.items():
        if control in joined:  # a quick search, once for all
            joined = joined.replace(control, sign)
    return joined.split("\n")


class _PrintableCharacters(dict[int, str]):
    """Maps codes of characters to what ``harmless`` shows; caches those of one or two bytes in UTF-8."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        printable = character if character.isprintable() else escape(character)
        if code < 0x800:
            self[code] = printable
        return printable


_HARMLESS = _PrintableCharacters()


def escape(character: str) -> str:
    """Write one character as an escape."""
    code = ord(character)
    if code < 0x80:
        return _CONTROLS.get(character) or f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as in names of files
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_ASCII_CONTROLS = {chr(code): escape(chr(code)) for code in (*range(0x20), 0x7F) if code != ord("\n")}


def _decode_escape(match: re.Match[bytes]) -> bytes:
    sign, byte, hex_4, hex_8 = match.groups()
    if sign:
        return _CONTROL[sign]
    if byte:
        return bytes([int(byte, 16)])
    code = int(hex_4 or hex_8, 16)
    return chr(code).encode("utf-8", "surrogatepass") if code <= 0x10FFFF else match[0]
