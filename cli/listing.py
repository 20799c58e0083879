"""``pytracer list``: the tracers, grouped, one line each. Needs neither root nor BCC."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

from pytracer.errors import UsageError
from pytracer.spec import registry


def run(words: Sequence[str]) -> int:
    """Print the list, as text or (``-f json``) one object a line."""
    if list(words) not in ([], ["-f", "json"], ["--format", "json"], ["--format=json"]):
        raise UsageError(f"list takes no {words[0]!r}", hint="pytracer list [-f json]")
    tracers = sorted(registry.all_tracers(), key=lambda tracer: (tracer.group, tracer.name))
    if words:
        for tracer in tracers:
            record = {"kind": "tracer", "name": tracer.name, "group": tracer.group, "summary": tracer.summary}
            print(json.dumps(record))
        return 0
    width = max(len(tracer.name) for tracer in tracers)
    for group, members in itertools.groupby(tracers, key=lambda tracer: tracer.group):
        print(f"{group}:")
        for tracer in members:
            print(f"  {tracer.name:<{width}}  {tracer.summary}")
    return 0
