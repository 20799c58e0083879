"""Tail calls: ``BPF_PROG_ARRAY(steps, 2)`` holds the functions steps_0 and steps_1.

If a program refers to such an array, its functions are loaded with the program's own type (the kernel accepts
no others into the array), and ``steps.call(ctx, 1)`` jumps to the second.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import MapType, map_update


def functions(name: str, entries: int, known_functions: Collection[str]) -> Iterator[tuple[int, str]]:
    """Yield (index, name) of the ``known_functions`` functions that belong into the array ``name``."""
    for index in range(entries):
        if (function := f"{name}_{index}") in known_functions:
            yield index, function


def tail_call_targets(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the load attributes of a tail-called function: those of its caller, without prologue, log and
    label."""
    return {word: value for word, value in attributes.items() if word not in ("prologue", "on_log", "label")}


class TailCalls:
    """The program arrays of a module, each filled once."""

    def __init__(self, maps: Mapping[str, Map], known_functions: Collection[str]) -> None:
        """``known_functions`` are the module's functions."""
        self._maps, self._known = maps, known_functions
        self._filled = set[str]()

    def fill(self, referenced_maps: Iterable[str], load: Callable[[str], int]) -> None:
        """Fill the program arrays among the maps that a program refers to; ``load`` loads a function."""
        for name in sorted({*referenced_maps} - self._filled):
            table = self._maps[name]
            if table.type == MapType.PROG_ARRAY:
                self._filled.add(name)
                for index, function in functions(name, table.max_entries, self._known):
                    map_update(table.fd, struct.pack("I", index), struct.pack("I", load(function)))
