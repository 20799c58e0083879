"""Count the machine's processors: those that the kernel may ever have, and those that are online."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path("/sys/devices/system/cpu")


def possible_cpus() -> int:
    """Return the number of copies of a per-CPU value (not the number of online CPUs)."""
    return 1 + max(_parse_cpu_list("possible"))


def online_cpus() -> list[int]:
    """Return the numbers of the online CPUs."""
    return _parse_cpu_list("online")


def _parse_cpu_list(name: str) -> list[int]:
    """Return the numbers in a list such as ``0-3,8``."""
    ranges = (_FOLDER / name).read_text().strip().split(",")
    bounds = [(int(first), int(last or first)) for first, _, last in (part.partition("-") for part in ranges)]
    return [number for first, last in bounds for number in range(first, last + 1)]
