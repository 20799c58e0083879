"""The arguments of a program, as one would type them into a shell."""

from __future__ import annotations

from pytracer.text import escape


def arguments(value: bytes) -> str:
    """Join strings that each end with a NUL: ``sh -c 'echo a'``. No two lists have the same result.

    Words that a shell would split are quoted; control characters and invalid text are written as in bash:
    ``$'\\xff'``.
    """
    if not value:
        return ""
    return " ".join(_quote(word) for word in value.removesuffix(b"\0").split(b"\0"))


def _quote(word: bytes) -> str:
    text = word.decode("utf-8", "surrogateescape")
    if text.isprintable():
        import shlex

        return shlex.quote(text)
    return "$'" + "".join(map(_escape, text)) + "'"


def _escape(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    return character if character.isprintable() else escape(character)
