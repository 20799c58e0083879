"""argparse as pytracer speaks: errors are UsageErrors, with where to look as the hint."""

from __future__ import annotations

import argparse
from typing import NoReturn

from pytracer.errors import UsageError


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of printing its usage and ending the process. --help still ends it."""

    def error(self, message: str) -> NoReturn:
        """What is wrong with the command line, as a UsageError."""
        raise UsageError(message, hint=f"{self.prog} --help")
