"""Parse format strings into literal text and conversions."""

from __future__ import annotations

import functools
import re
from typing import Any

from pytracer.errors import ProbeSpecError
from pytracer.lang import lexer
from pytracer.record import record
from pytracer.text import clip

_CONVERSION = re.compile(r"%(?P<how>[-+ #0]*\d*(?:\.\d*)?)(?P<length>hh|h|ll|l|z|j|t)?(?P<sign>[A-Za-z%])")
_SCRIPT_CONVERSION = re.compile(_CONVERSION.pattern.replace("[A-Za-z%]", "r[xh]?|gr|[A-Za-z%]"))
_HOW = re.compile(r"([-+ #0]*)(\d*)(?:(\.)(\d*))?")
_WHOLE = "diuxXo"
_SIZES = {"hh": 1, "h": 2, "": 4, "l": 8, "ll": 8, "z": 8, "j": 8, "t": 8}
_WIDEST = 1000  # characters, and digits
KNOWN = "%s %c %d %i %u %x %X %o %p, %K and %U for symbols, %%"


@record
class Conversion:
    """A conversion (``%``): ``how`` are its flags, width and precision, ``sign`` its letter, ``size`` the
    number of bytes that C would read. It stands from ``start`` to before ``end`` of the probe spec."""

    how: str
    sign: str
    size: int
    start: int
    end: int

    @property
    def is_number(self) -> bool:
        """True if it shows a number by its digits."""
        return self.sign in _WHOLE

    @property
    def signed(self) -> bool:
        """True if it shows a signed number."""
        return self.sign in "di"

    def show(self, value: Any) -> str:
        """Show a value (an int, or of ``s``, ``c``, ``K`` and ``U`` a str) as C's printf does."""
        if self.is_number:
            return self._number(value)
        text = f"{value:#x}" if self.sign == "p" else str(value)
        if not self.how:
            return text
        flags, width, precision = _parse(self.how)
        if precision is not None:
            text = clip(text, precision)
        return text.ljust(width) if "-" in flags else text.rjust(width)

    def _number(self, value: int) -> str:
        base = "d" if self.sign in "diu" else self.sign
        if not self.how:
            return format(value, base)
        flags, width, precision = _parse(self.how)
        digits = format(abs(value), base)
        if precision is not None:
            digits = digits.zfill(precision) if value or precision else ""
        before = ""
        if self.signed:
            before = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
        elif "#" in flags and self.sign == "o" and not digits.startswith("0"):
            digits = f"0{digits}"
        elif "#" in flags and self.sign in "xX" and value:
            before = f"0{self.sign}"
        if "-" in flags:
            return (before + digits).ljust(width)
        if "0" in flags and precision is None:
            digits = digits.zfill(width - len(before))
        return (before + digits).rjust(width)


@functools.cache
def _parse(conversion: str) -> tuple[str, int, int | None]:
    """Return flags, width and precision; a precision without digits is 0, as in C."""
    match = _HOW.fullmatch(conversion)
    assert match is not None
    flags, width, point, precision = match.groups()
    return flags, int(width or 0), int(precision or 0) if point else None


def parse_format(text: str, start: int, end: int, *, script: bool = False) -> tuple[str | Conversion, ...]:
    """Parse a format string, whose inside is from ``start`` up to ``end`` of ``text``, to pieces. In a
    ``script``, %r shows bytes (%rx and %rh as hexadecimal digits), and %gr flags of memory allocations.

    Raises ProbeSpecError.
    """
    pieces = list[str | Conversion]()
    at = start

    def say(piece: str) -> None:
        if pieces and isinstance(pieces[-1], str):
            pieces[-1] += piece
        elif piece:
            pieces.append(piece)

    while at < end:
        percent = text.find("%", at, end)
        stop = end if percent < 0 else percent
        say(lexer.unescape(text, at, stop))
        if percent < 0:
            break
        match = (_SCRIPT_CONVERSION if script else _CONVERSION).match(text, percent, end)
        if match is None:
            raise ProbeSpecError(
                "this is not a conversion", text, percent, min(percent + 2, end), hint=f"there is {KNOWN}"
            )
        at = match.end()
        if match.group() == "%%":
            say("%")
            continue
        pieces.append(_conversion(text, match, script=script))
    return tuple(pieces)


def _conversion(text: str, match: re.Match[str], *, script: bool) -> Conversion:
    flags, length, sign = match["how"], match["length"] or "", match["sign"]
    conversion = Conversion(flags, sign, _SIZES[length], match.start(), match.end())
    if script and sign in ("r", "rx", "rh", "gr"):
        return conversion
    if sign not in _WHOLE + "scp" + "KU" * (not script) or (length and sign not in _WHOLE):
        raise ProbeSpecError(
            f"no conversion {match.group()!r}",
            text,
            conversion.start,
            conversion.end,
            hint=f"there is {KNOWN}",
        )
    if any(int(digits) > _WIDEST for digits in re.findall(r"\d+", flags)):
        raise ProbeSpecError(f"wider than {_WIDEST} characters", text, conversion.start, conversion.end)
    return conversion
