"""``pytracer list``: list the tracers by group, one line each. Needs neither root nor BCC."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

from pytracer.cli.output import report
from pytracer.spec import registry


def run(words: Sequence[str]) -> int:
    """Print the list, as text or (``-f json``) one object per line."""
    form = _parse_format(words) if words else "table"
    listed = registry.summaries(on_error=functools.partial(report, severity="warning"))
    tracers = sorted(listed, key=lambda tracer: (tracer.group, tracer.name))
    if form == "json":
        import json

        for tracer in tracers:
            print(json.dumps({"kind": "tracer", **tracer._asdict()}))
        return 0
    width = max(len(tracer.name) for tracer in tracers)
    for group, members in itertools.groupby(tracers, key=lambda tracer: tracer.group):
        print(f"{group}:")
        for tracer in members:
            print(f"  {tracer.name:<{width}}  {tracer.summary}")
    return 0


def _parse_format(words: Sequence[str]) -> str:
    import argparse

    from pytracer.cli.arguments import Parser

    parser = Parser(prog="pytracer list", description="Lists the tracers by group, one line each.")
    parser.add_argument(
        "-f", "--format", choices=("table", "json"), default="table", help="output format (default: table)"
    )
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    return str(parser.parse_args(words).format)
