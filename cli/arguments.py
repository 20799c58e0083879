"""Extend argparse: its errors become UsageErrors with a hint, and help looks the same on every Python."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from pytracer.errors import UsageError
from pytracer.request import units

_WIDEST = 100  # columns
# Its headings are English here, as all else is. gettext would look through folders for a translation of each
# heading of each parser, and load the module locale: 1.7 ms of a start.
argparse._ = str  # type: ignore[attr-defined]
_T = TypeVar("_T")


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Formats help as Python 3.13 does, ``-o, --option VALUE``, in every version."""

    def __init__(self, prog: str) -> None:
        # argparse makes a formatter for each declared argument, too: format_help() finds the width.
        super().__init__(prog, max_help_position=30, width=_WIDEST)

    def format_help(self) -> str:
        """Return the help page, as wide as the terminal, but not wider than 100 columns."""
        import shutil

        self._width = min(shutil.get_terminal_size().columns, _WIDEST) - 2
        return super().format_help()

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


class ShowExample(argparse.Action):
    """Print the recorded run of the tracer named by the option's ``const``, and exit as --help does."""

    def __call__(self, parser: argparse.ArgumentParser, *_given: object) -> NoReturn:
        """Print the run. Raises UsageError if none is recorded."""
        from pytracer.explain.recorded import recorded_run

        run = recorded_run(self.const)
        if run is None:
            raise UsageError(f"no run of {self.const} is recorded", hint=f"{parser.prog} --help has examples")
        costs = run.costs()
        print(*run.session(), "", f"Linux {run.release}" + (f"; {costs}" if costs else ""), sep="\n")
        parser.exit()


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
        """Return the help page. A description of one line is wrapped."""
        import textwrap

        if self.description and "\n" not in self.description:
            self.description = textwrap.fill(self.description, 78)
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError for a wrong command line."""
        raise UsageError(message, hint=f"{self.prog} --help")


def _make_type(check: Callable[[str], _T]) -> Callable[[str], _T]:
    """Make an argparse type of a check, whose ValueError becomes an ArgumentTypeError."""

    def convert(text: str) -> _T:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


seconds = _make_type(units.seconds)
duration = _make_type(units.nanoseconds)
positive = _make_type(units.positive)
rows_per_second = _make_type(units.row_count)
size_in_bytes = _make_type(units.byte_count)


def parse_whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return an argparse type for whole numbers from ``minimum`` to ``maximum``."""
    return _make_type(lambda text: units.parse_whole(text, minimum, maximum))


def split(words: Sequence[str], min_words: int = 0) -> tuple[list[str], float | None, int | None]:
    """Split into ARG..., INTERVAL and COUNT, which are the numbers at the end. Raises UsageError.

    The first ``min_words`` words are arguments even if they are numbers.
    """
    words_left = list(words)
    numbers: list[str] = []
    while len(words_left) > min_words and len(numbers) < 2 and is_number(words_left[-1]):
        numbers.insert(0, words_left.pop())
    if not numbers:
        return words_left, None, None
    interval = _check_text(seconds, numbers[0], "INTERVAL")
    return words_left, interval, _check_text(positive, numbers[1], "COUNT") if len(numbers) == 2 else None


def _check_text(convert: Callable[[str], Any], text: str, name: str) -> Any:
    try:
        return convert(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{name}: {error}") from None


def is_number(text: str) -> bool:
    """Return whether a word can be an INTERVAL or a COUNT."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def add_plan_options(group: argparse._ActionsContainer) -> None:
    """Add the options that print the plan or the C, and stop."""
    group.add_argument("--dry-run", action="store_true", help="print the plan for this kernel and stop")
    group.add_argument("--emit-c", action="store_true", help="print the C for the compiler and stop")


def add_debug_options(group: argparse._ActionsContainer) -> None:
    """Add the options for errors, and for the choice of hooks."""
    group.add_argument("--debug", action="store_true", help="print errors with a traceback and logs")
    group.add_argument(
        "--hook",
        metavar="HOOK=ALTERNATIVE",
        action="append",
        default=[],
        help="use this alternative of a hook",
    )
