"""Split a user's text into tokens with positions."""

from __future__ import annotations

import re

from pytracer.errors import ProbeSpecError
from pytracer.record import record

NAME, NUMBER, TEXT, CHARACTER, SIGN, LABEL, END = (
    "name",
    "number",
    "text",
    "character",
    "sign",
    "label",
    "end",
)

_TOKEN = re.compile(
    r"""(?P<name>\$?[A-Za-z_]\w*)
    |(?P<number>0[xX][0-9a-fA-F]+[uUlL]*\b|\d+[uUlL]*\b)
    |(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<character>'(?:[^'\\]|\\.)[^']*')
    |(?P<label>\#.*)
    |(?P<sign>->|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>=.,:?()\[\]@])""",
    re.X | re.A | re.S,
)
_BLANK = re.compile(r"\s*")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.S)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "e": "\x1b"}
_THEMSELVES = "\\'\"?"
MOST = 4096  # characters of a probe spec


@record
class Rules:
    """The tokens of a language: ``token`` has a group for each kind, ``blank`` is what separates
    them. A text has at most ``limit`` characters; ``what`` is such a text, for messages."""

    token: re.Pattern[str]
    blank: re.Pattern[str]
    limit: int
    what: str


PROBE_SPEC = Rules(_TOKEN, _BLANK, MOST, "a probe spec")


@record
class Token:
    """A token from index ``start`` up to, not including, ``end``. ``value`` is that of a literal."""

    kind: str
    text: str
    start: int
    end: int
    value: str | int = ""


def token_at(text: str, at: int, rules: Rules = PROBE_SPEC) -> Token:
    """Return the first token from ``at`` on, of kind END behind the last one. Raises ProbeSpecError."""
    if len(text) > rules.limit:
        message = f"{rules.what} has at most {rules.limit} characters"
        raise ProbeSpecError(message, text, rules.limit, rules.limit + 1)
    blank = rules.blank.match(text, at)
    assert blank is not None
    at = blank.end()
    if at == len(text):
        return Token(END, "", at, at)
    match = rules.token.match(text, at)
    if match is None:
        raise _wrong(text, at)
    assert match.lastgroup is not None
    return _token(text, match.lastgroup, match)


def _wrong(text: str, at: int) -> ProbeSpecError:
    if text[at] in "\"'":
        return ProbeSpecError(f"there is no {text[at]} that ends this", text, at, len(text))
    if text[at].isdigit():
        word = re.compile(r"\w+").match(text, at)
        return ProbeSpecError("this is not a number", text, at, word.end() if word else at + 1)
    return ProbeSpecError(f"{text[at]!r} has no meaning here", text, at, at + 1)


def _token(text: str, kind: str, match: re.Match[str]) -> Token:
    word = match.group()
    value: str | int = ""
    if kind == NUMBER:
        value = _number(text, match)
    elif kind in (TEXT, CHARACTER):
        value = unescape(text, match.start() + 1, match.end() - 1)
        if kind == CHARACTER and (len(value) != 1 or ord(value) > 0x7F):
            raise ProbeSpecError("this is not one character of ASCII", text, match.start(), match.end())
    elif kind == LABEL:
        value = word[1:].strip()
    return Token(kind, word, match.start(), match.end(), value)


def _number(text: str, match: re.Match[str]) -> int:
    digits = match.group().rstrip("uUlL")
    try:
        value = _value_of(digits)
    except ValueError:
        raise ProbeSpecError("this is not a number", text, match.start(), match.end()) from None
    if value >= 1 << 64:
        raise ProbeSpecError("this number has more than 64 bits", text, match.start(), match.end())
    return value


def _value_of(digits: str) -> int:
    """Return the value of a number: decimal, 0x, 0b, octal with a leading 0, or 1e6. Raises ValueError."""
    if re.fullmatch(r"0[\d_]+", digits):
        return int(digits, 8)
    number, exponent, zeros = digits.partition("e")
    if exponent and number.isdecimal():
        return int(number) * int("1" + "0" * min(int(zeros), 20))
    return int(digits, 0)


def unescape(text: str, start: int, end: int) -> str:
    """Decode the inside of a literal, as in C. Raises ProbeSpecError."""

    def replace(match: re.Match[str]) -> str:
        escape = match[1]
        if escape[0] == "x" and len(escape) > 1:
            return chr(int(escape[1:], 16))
        if escape[0] in "01234567":
            return chr(int(escape, 8) & 0xFF)
        if escape in _THEMSELVES or escape in _ESCAPES:
            return _ESCAPES.get(escape, escape)
        at = start + match.start()
        raise ProbeSpecError(f"C has no escape {match.group()}", text, at, at + len(match.group()))

    return _ESCAPE.sub(replace, text[start:end])


def quote(value: str) -> str:
    """Return the literal for a text."""
    letters = {ord(character): f"\\{name}" for name, character in _ESCAPES.items()}
    return '"' + value.translate({**letters, ord("\\"): "\\\\", ord('"'): '\\"'}) + '"'
