"""Run scripts/bench: measure, print the results, and write docs/performance.md."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence

from bench import sizes
from bench.measure import MissingPeerError, Result
from bench.performance_page import Group, bound, keep, machine

GROUPS = {
    "start": "bench.start",
    "cost": "bench.cost",
    "scripts": "bench.scripts",
    "bystanders": "bench.bystanders",
    "returns": "bench.returns",
    "allocations": "bench.allocations",
    "packets": "bench.packets",
    "frames": "bench.frames",
    "programs": "bench.programs",
    "events": "bench.events",
    "text": "bench.text",
    "maps": "bench.maps",
    "attach": "bench.attach",
    "many": "bench.many",
    "screen": "bench.screen",
    "unwind": "bench.unwind_tables",
    "stacks": "bench.stacks",
}
SIZES = "sizes"
ROUNDS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the requested groups, and update the page. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="pytracer beside its peers, on the same work, in turns. Needs root and a quiet machine.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(GROUPS)}, {SIZES}; default: all"
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"number of rounds (default: {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="measure cost against size with smaller sizes")
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md as it is")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - {*GROUPS, SIZES}
    if unknown:
        parser.error(f"no measures are called {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        print("bench: error: needs root", file=sys.stderr)
        return 1
    as_json = options.format == "json"
    machine_text, order = "" if options.no_page else machine(), [*GROUPS, SIZES]
    for name in (name for name in order if not options.names or name in options.names):
        group = (
            _sized(machine_text, options.quick, as_json)
            if name == SIZES
            else _run(name, machine_text, options.rounds, as_json)
        )
        if not options.no_page:
            keep({name: group}, order)
    return 0


def _run(name: str, machine_text: str, rounds: int, as_json: bool) -> Group:
    group = Group(machine_text)
    for result in importlib.import_module(GROUPS[name]).measures(rounds):
        if isinstance(result, MissingPeerError):
            _leave_out(group, result)
        else:
            group.results.append(result)
            print(json.dumps(result.record()) if as_json else line(result), flush=True)
    return group


def _sized(machine_text: str, quick: bool, as_json: bool) -> Group:
    group = Group(machine_text)
    for row in sizes.rows(quick):
        if isinstance(row, MissingPeerError):
            _leave_out(group, row)
            continue
        group.sizes.append(row)
        description, size, each, unit = row
        record = {"name": "size", "description": description, "size": size, "each": each, "unit": unit}
        print(json.dumps(record) if as_json else f"{description}, {size}: {each:.0f} {unit}", flush=True)
    return group


def _leave_out(group: Group, reason: MissingPeerError) -> None:
    group.missing.append(str(reason))
    print(f"bench: left out: {reason}", file=sys.stderr)


def line(result: Result) -> str:
    """Format a result as one line."""
    text = f"{result.low:.3g} to {result.high:.3g}"
    if result.target is not None:
        text += f"; {bound(result)}: {'holds' if result.holds else 'DOES NOT HOLD'}"
    return f"{result.name:<22} {result.ratio:>8.3g}  ({text})  {result.note}".rstrip()
