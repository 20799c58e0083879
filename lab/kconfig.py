"""Merge configuration fragments, and compare them with the final configuration of the kernel's tools."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lab.errors import LabError

SET = re.compile(r"CONFIG_(\w+)=(\S.*)")
UNSET = re.compile(r"# CONFIG_(\w+) is not set")


def options(text: str, origin: str = "") -> dict[str, str]:
    """Parse the options of a configuration, by name without CONFIG_; "n" for "is not set".

    Values are as they stand there, strings in their quotes. LabError for a line that is none of an
    option, a comment or empty, since the kernel's tools would pass over it without a word.
    """
    result: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.rstrip()
        if match := SET.fullmatch(line):
            result[match[1]] = match[2]
        elif match := UNSET.fullmatch(line):
            result[match[1]] = "n"
        elif line and (not line.startswith("#") or "CONFIG_" in line):
            raise LabError(f"{origin}:{number}: not an option: {line}", "CONFIG_X=y, # CONFIG_X is not set")
    return result


def merged(files: Iterable[Path]) -> dict[str, str]:
    """Merge the options of all fragments; if two disagree, the later one wins."""
    result: dict[str, str] = {}
    for file in files:
        result |= options(file.read_text(), file.name)
    return result


def text_of(options: dict[str, str]) -> str:
    """Format options as a configuration, in an order that does not depend on the fragments'."""
    lines = (
        f"# CONFIG_{name} is not set" if value == "n" else f"CONFIG_{name}={value}"
        for name, value in sorted(options.items())
    )
    return "".join(f"{line}\n" for line in lines)


def refused(options: dict[str, str], final: str) -> list[str]:
    """List the options that a final .config does not have as requested: "NAME=y (is n)", in order.

    An option whose own conditions are not met, or that does not exist, is not in a .config at all, which
    counts as "n".
    """
    final_options = {match[1]: match[2] for match in map(SET.fullmatch, final.splitlines()) if match}
    return [
        f"{name}={value} (is {final_options.get(name, 'n')})"
        for name, value in options.items()
        if final_options.get(name, "n") != value
    ]
