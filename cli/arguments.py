"""argparse as pytracer speaks: errors are UsageErrors, with where to look as the hint."""

from __future__ import annotations

import argparse
import shutil
from typing import NoReturn

from pytracer.errors import UsageError


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help that looks the same from every Python: ``-o, --option VALUE``, as it is from 3.13 on."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=min(shutil.get_terminal_size().columns, 100) - 2)

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

    def error(self, message: str) -> NoReturn:
        """What is wrong with the command line, as a UsageError."""
        raise UsageError(message, hint=f"{self.prog} --help")
