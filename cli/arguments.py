"""argparse as pytracer speaks: errors are UsageErrors, with where to look as the hint."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from pytracer.errors import UsageError

MILLISECOND = 1_000_000  # nanoseconds
_UNITS = {"ns": 1, "us": 1_000, "ms": MILLISECOND, "s": 1_000_000_000, "": MILLISECOND}


_WIDEST = 100  # columns
_BUFFER_LIMIT = 1 << 30
_ROWS_LIMIT = 1_000_000  # each has a value for every CPU, in memory that cannot be swapped


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help that looks the same from every Python: ``-o, --option VALUE``, as it is from 3.13 on."""

    def __init__(self, prog: str) -> None:
        # argparse makes one for each argument that is declared, too: how wide it is to be can wait.
        super().__init__(prog, max_help_position=30, width=_WIDEST)

    def format_help(self) -> str:
        """The page, as wide as the terminal, within reason."""
        import shutil

        self._width = min(shutil.get_terminal_size().columns, _WIDEST) - 2
        return super().format_help()

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of printing its usage and ending the process. --help still ends it."""

    def __init__(self, prog: str, description: str, usage: str | None = None, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            usage=usage,
            epilog=epilog,
            formatter_class=Formatter,
            allow_abbrev=False,
        )

    def format_help(self) -> str:
        """The page; a description that is one line is broken into several."""
        import textwrap

        if self.description and "\n" not in self.description:
            self.description = textwrap.fill(self.description, 78)
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """What is wrong with the command line, as a UsageError."""
        raise UsageError(message, hint=f"{self.prog} --help")


def seconds(text: str) -> float:
    """A length of time. Raises ArgumentTypeError, as those below do."""
    if not is_number(text) or not 0 < float(text) < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time in seconds")
    return float(text)


def duration(text: str) -> int:
    """A length of time with its unit, in nanoseconds; without a unit it is milliseconds."""
    from decimal import Decimal  # which most starts do without

    found = re.fullmatch(r"(\d{1,18}(?:\.\d{1,9})?)(ns|us|ms|s|)", text, re.ASCII)
    value = round(Decimal(found[1]) * _UNITS[found[2]]) if found else -1
    if not 0 <= value < 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time such as 10ms, 500us or 2s")
    return value


def positive(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)


def rows_per_second(text: str) -> int:
    """Parse a number of rows, at most a million."""
    rows = positive(text)
    if rows > _ROWS_LIMIT:
        raise argparse.ArgumentTypeError(f"{text} rows are more than {_ROWS_LIMIT}")
    return rows


def size_in_bytes(text: str) -> int:
    """Parse a size such as 512k, 8M or 1G; at most 1G."""
    number, unit = (text[:-1], text[-1].lower()) if text[-1:].isalpha() else (text, "")
    shift = {"": 0, "k": 10, "m": 20, "g": 30}.get(unit)
    if shift is None or not number.isdecimal() or not 0 < int(number) << shift <= _BUFFER_LIMIT:
        raise argparse.ArgumentTypeError(f"{text!r} is no size between 1 and 1G")
    return int(number) << shift


def split(words: Sequence[str], keep: int = 0) -> tuple[list[str], float | None, int | None]:
    """Split into ARG..., INTERVAL and COUNT, which are the numbers at the end. Raises UsageError.

    The first ``keep`` words are arguments even if they are numbers.
    """
    rest = list(words)
    numbers: list[str] = []
    while len(rest) > keep and len(numbers) < 2 and is_number(rest[-1]):
        numbers.insert(0, rest.pop())
    if not numbers:
        return rest, None, None
    interval = _checked(seconds, numbers[0], "INTERVAL")
    return rest, interval, _checked(positive, numbers[1], "COUNT") if len(numbers) == 2 else None


def _checked(convert: Callable[[str], Any], text: str, what: str) -> Any:
    try:
        return convert(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{what}: {error}") from None


def is_number(text: str) -> bool:
    """True for what an INTERVAL or a COUNT may look like."""
    try:
        float(text)
    except ValueError:
        return False
    return True
