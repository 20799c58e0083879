"""The tokens of scripts: C's, maps, ``$1``, durations, comments."""

from __future__ import annotations

import re

from pytracer.lang.lexer import Rules

_SIGNS = r"<<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\.\.|[-+*/%&|^~!<>=.,:;?()\[\]{}]"
MAP, DURATION = "map", "duration"
UNITS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
"""Nanoseconds of the units of durations."""

_TOKEN = re.compile(
    rf"""(?P<{MAP}>@[A-Za-z_]\w*|@)
    |(?P<{DURATION}>\d+(?:ns|us|ms|s|m|h|d)\b)
    |(?P<name>\$(?:\#|\w+)|[A-Za-z_]\w*)
    |(?P<number>0[xX][0-9a-fA-F_]+[uUlL]*\b|0[bB][01_]+[uUlL]*\b|\d[\d_]*(?:e\d+)?[uUlL]*\b)
    |(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<character>'(?:[^'\\]|\\.)[^']*')
    |(?P<sign>{_SIGNS})""",
    re.X | re.A | re.S,
)
_BLANK = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/|\#[^\n]*)*", re.S)
RULES = Rules(_TOKEN, _BLANK, 1 << 20, "a script")
