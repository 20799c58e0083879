"""Translate macros of a tracer's C to the options that set them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pytracer.spec import common
from pytracer.spec.filters import Filter
from pytracer.spec.hooks import Hook
from pytracer.spec.options import Flag, GroupBy, NameSet, Number, SeccompProfile
from pytracer.spec.tracer import Tracer

_FACTS = ("PT_HAS_", "PT_COMPAT")  # what a kernel has


def as_command_line(tracer: Tracer, macro: str) -> str:
    """Return the option that sets ``macro`` (``PT_RING_PAGES=16384``): ``--buffer 64M``.

    A macro for a feature of the kernel becomes ``a kernel with ...``; an unknown one stays.
    """
    name, _, value = macro.partition("=")
    if name.startswith(_FACTS):
        return f"a kernel with {name.removeprefix('PT_HAS_').lower().replace('_', ' ')}"
    if name == "PT_RING_PAGES" and value.isdecimal():
        return f"--buffer {_size(int(value) * os.sysconf('SC_PAGE_SIZE'))}"
    for known, words in _options(tracer):
        if known == name:
            return words.format(value=value)
    return macro


def _options(tracer: Tracer) -> Iterator[tuple[str, str]]:
    """Yield each macro that an option of a tracer defines, and how the option is written."""
    yield "PT_ROWS_MAX", "--max-rows {value}"
    yield "PT_FOLLOW", "-- COMMAND"
    yield from ((filter_.define, f"--{filter_.value}") for filter_ in Filter)
    hooks = [*tracer.hooks, common.FOLLOW]
    for output in tracer.outputs:
        hooks += output.hooks
    for option in tracer.options:
        if isinstance(option, GroupBy):
            yield from ((key.define, f"--{option.name} {key.name}") for key in option.keys)
        elif isinstance(option, (Flag, Number, NameSet, SeccompProfile)):
            valued = isinstance(option, Number)
            yield option.define, f"--{option.name}" + " {value}" * valued
            if isinstance(option, NameSet):
                yield f"{option.define}_EXCEPT", f"--{option.name} '!...'"
            if isinstance(option, Flag):
                hooks += option.hooks
    yield from _hooks(hooks)


def _hooks(hooks: list[Hook]) -> Iterator[tuple[str, str]]:
    for hook in hooks:
        for alternative in hook.alternatives:
            yield hook.define(alternative), f"--hook {hook.name}={alternative.name}"


def _size(number: int) -> str:
    for unit, letter in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if number % unit == 0:
            return f"{number // unit}{letter}"
    return str(number)
