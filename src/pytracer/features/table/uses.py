"""Read the table of helpers, map types and fields that programs use; ``scripts/record --uses`` writes it.

``program_uses.jsonl`` has a line for each tracer, an object: ``tracer``; ``programs``, for each C function
its uses by variant; ``maps``, the types of maps by variant. These variants exist:

- ``HOOK=ALTERNATIVE``: the function of a hook in this alternative.
- "": a function that is attached to targets which the user names.
- ``--FLAG``: what a flag adds to the function.

The table is compiled without the macros ``PT_HAS_...``, which the planner defines only if the helper behind
one may be called.

Other options have no variants. Filters, keys of rows and sets of names compile code in, but with each of them
on, programs call only helpers of Linux 4.11 and before (the current task, its ids and name, its cgroup, the
clock, reads of memory) and use map types of 4.11 and before. Tracing programs may use these on every kernel
that has the hooks. Those of socksnoop, on cgroups, read process and name anyway, and may read the user. A
number, duration or choice is a value in the config map, or of a macro that is always defined.
A packet filter becomes instructions that call skb_load_bytes or skb_load_bytes_relative (Linux 4.18).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from pytracer.features.table.feature import Feature
from pytracer.features.table.helpers import (
    ATTACH_COOKIE,
    CURRENT_TASK,
    CURRENT_TASK_BTF,
    PERF_EVENT_OUTPUT,
    PROBE_READ,
    PROBE_READ_KERNEL,
    PROBE_READ_KERNEL_STR,
    PROBE_READ_STR,
)
from pytracer.features.table.map_types import RINGBUF
from pytracer.record import record

FILE = Path(__file__).with_name("program_uses.jsonl")
REPLACEMENTS: dict[int, Feature] = {
    PROBE_READ.number: PROBE_READ_KERNEL,
    PROBE_READ_STR.number: PROBE_READ_KERNEL_STR,
    PERF_EVENT_OUTPUT.number: RINGBUF,
    CURRENT_TASK.number: CURRENT_TASK_BTF,
}
"""Helpers that the C calls only if the planner did not find something newer: the newer helper or map."""


@record
class ProgramUses:
    """The needs of a program beyond its hook: ``helpers`` and types of ``maps`` by number, the fields of its
    ``context``, as (offset, size), and the ``replaced`` helpers, of which it needs what
    :data:`REPLACEMENTS` names, or themselves."""

    helpers: tuple[int, ...] = ()
    context: tuple[tuple[int, int], ...] = ()
    maps: tuple[int, ...] = ()
    replaced: tuple[int, ...] = ()


NOTHING = ProgramUses()


class TracerUses:
    """The needs of a tracer's programs, by program and alternative."""

    def __init__(self, line: Mapping[str, Any]) -> None:
        """``line`` is a line of the table; empty for a tracer that is not in it."""
        self._programs: Mapping[str, Any] = line.get("programs", {})
        self._maps: Mapping[str, list[int]] = line.get("maps", {})

    def of(self, program: str, alternative: str, flags: Iterable[str] = ()) -> ProgramUses:
        """Return the uses of a function in an alternative (``HOOK=ALTERNATIVE``), with these flags."""
        variants = self._programs.get(program)
        if variants is None:
            return NOTHING
        # Of an alternative that does not compile on every kernel, what another of the same hook uses.
        same_hook = (name for name in variants if name.partition("=")[0] == alternative.partition("=")[0])
        names = [
            alternative if alternative in variants else next(same_hook, ""),
            *(f"--{flag}" for flag in flags),
        ]
        uses = [variants[name] for name in names if name in variants]
        # That of the cookie is called only by programs that get their target id from it, which is decided
        # when they are loaded.
        helpers = {number for use in uses for number in use["helpers"]} - {ATTACH_COOKIE.number}
        replaced = helpers & REPLACEMENTS.keys()
        context = {(offset, size) for use in uses for offset, size in use.get("context", ())}
        maps = {number for name in ("", *names) for number in self._maps.get(name, ())}
        sets = (helpers - replaced, context, maps, replaced)
        return ProgramUses(*(tuple(sorted(one)) for one in sets))


@functools.cache
def uses_of(tracer: str, c_file: str) -> TracerUses:
    """Return the uses of a tracer's programs; empty for a tracer that is not built in."""
    if PurePath(c_file).is_absolute():
        return TracerUses({})
    head = f'{{"tracer": "{tracer}",'
    with FILE.open(encoding="utf-8") as lines:
        line = next((line for line in lines if line.startswith(head)), "{}")
    return TracerUses(json.loads(line))
