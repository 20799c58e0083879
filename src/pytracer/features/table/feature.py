"""A feature of the kernel: the record, and its absence for a version or a configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from pytracer.record import record

BTF = "DEBUG_INFO_BTF"
Version = tuple[int, int]


@record
class Feature:
    """A feature: something that a kernel has since a version, if it was built for it.

    ``kind`` is hook, program, map, helper or change. ``since`` is the first Linux version that has it
    (``5.18``; "" if it depends on the configuration alone), ``until`` the first that no longer has it.
    ``commit`` brought it; "" for what depends on the configuration or the machine alone, and for the form
    that an event or a struct had from the beginning. ``options`` are the CONFIG options without which it is
    missing, ``machines`` the only machines that have it (of all: none are named). ``number`` is its number in
    the kernel's enum. ``noun`` names it in messages, if not ``name`` does. ``fallback`` is what pytracer uses
    without it; ``limits`` say what it cannot do.
    """

    kind: str
    name: str
    since: str = ""
    commit: str = ""
    options: tuple[str, ...] = ()
    number: int = 0
    noun: str = ""
    fallback: str = ""
    limits: str = ""
    until: str = ""
    machines: tuple[str, ...] = ()

    @property
    def requirements(self) -> str:
        """The options and the version, for messages: ``CONFIG_FPROBE, Linux 5.18``."""
        parts = [f"CONFIG_{option}" for option in self.options if option != BTF]
        parts += [f"Linux {self.since}"] if self.since else []
        return ", ".join(parts + (["with BTF"] if BTF in self.options else []))

    @property
    def absence(self) -> str:
        """The message about a kernel without the feature."""
        return f"this kernel has no {self.noun or self.name} ({self.requirements})"

    def missing_option(self, value_of: Callable[[str], str | None]) -> str:
        """Return the first option that the kernel is built without; "" if there is none, or that is unknown.
        ``value_of`` returns ``y``, ``m``, ``n``, or None if the configuration is unknown."""
        return next((option for option in self.options if value_of(option) == "n"), "")


def parse_version(text: str) -> Version:
    """Return the first two numbers of a version or release. Raises ValueError."""
    match = re.match(r"(\d+)\.(\d+)", text)
    if match is None:
        raise ValueError(f"{text!r} is no version")
    return int(match[1]), int(match[2])


def latest(features: Iterable[Feature]) -> Feature:
    """Return the feature that the latest kernel version brought."""
    return max(features, key=lambda feature: parse_version(feature.since or "0.0"))
