"""scripts/bench: measure, show, and write docs/performance.md."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import sizes
from bench.measure import MissingPeerError, Result
from bench.peers import headers_note

PAGE = Path(__file__).resolve().parent.parent / "docs/performance.md"
GROUPS = {
    "start": "bench.start",
    "cost": "bench.cost",
    "packets": "bench.packets",
    "frames": "bench.frames",
    "programs": "bench.programs",
    "events": "bench.events",
    "maps": "bench.maps",
    "attach": "bench.attach",
}
ROUNDS = 5
LIMITS = {
    "start-first": "Most of a first run is the compiler.",
    "start-later-bpftrace": "The interpreter, and the modules that it loads before programs are attached: "
    "what the kernel does takes a small part of it.",
    "cost-count": "Each call is told from 32-bit ones, and its place looked up, before it is counted.",
    "cost-packet": "Each packet's headers are read, and its place looked up, before it is counted.",
    "events-perf": "One CPU makes no more events: for most of the time our reader waits for them.",
}
"""What keeps a measure from its target, as far as that is known."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; all of it goes into the page as well. The exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="pytracer beside its peers, on the same work, in turns. Needs root and a quiet machine.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(GROUPS)}, sizes; default: all"
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"in turns, so often (default: {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="cost against size up to smaller sizes")
    given = parser.parse_args(arguments)
    unknown = set(given.names) - {*GROUPS, "sizes"}
    if unknown:
        parser.error(f"no measures are called {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        print("bench: error: needs root", file=sys.stderr)
        return 1
    results: list[Result] = []
    missing: list[str] = []

    def leave_out(what: MissingPeerError) -> None:
        missing.append(str(what))
        print(f"bench: left out: {what}", file=sys.stderr)

    for name, module in GROUPS.items():
        if given.names and name not in given.names:
            continue
        for result in importlib.import_module(module).measures(given.rounds):
            if isinstance(result, MissingPeerError):
                leave_out(result)
            else:
                results.append(result)
                print(json.dumps(result.record()) if given.format == "json" else line(result), flush=True)
    grown: list[sizes.Row] = []
    if not given.names or "sizes" in given.names:
        for row in sizes.rows(given.quick):
            if isinstance(row, MissingPeerError):
                leave_out(row)
                continue
            grown.append(row)
            what, size, each, unit = row
            record = {"name": "size", "what": what, "size": size, "each": each, "unit": unit}
            print(
                json.dumps(record) if given.format == "json" else f"{what}, {size}: {each:.0f} {unit}",
                flush=True,
            )
    if not given.names:
        PAGE.write_text(page(results, missing, grown))
    return 0


def line(result: Result) -> str:
    """One result for people."""
    told = f"{result.low:.3g} to {result.high:.3g}"
    if result.target is not None:
        told += f"; {_bound(result)}: {'holds' if result.holds else 'DOES NOT HOLD'}"
    return f"{result.name:<22} {result.ratio:>8.3g}  ({told})  {result.note}".rstrip()


def _bound(result: Result) -> str:
    if result.target is None:
        return ""
    return f"{'at most' if result.at_most else 'at least'} {result.target:g}"


def page(results: Sequence[Result], missing: Sequence[str], grown: Sequence[sizes.Row]) -> str:
    """docs/performance.md."""
    lines = [
        "# Performance",
        "",
        "Written by `scripts/bench`: ratios of pytracer to a peer, or to an empty program on the same hook,",
        "taken in turns on one machine in one run. The ratio is of the medians; the spread is of the rounds.",
        "Ratios carry over to other machines better than the times beside them.",
        "",
        f"{os.cpu_count()} CPUs ({platform.machine()}), Linux {platform.release().partition('-')[0]}; "
        f"{headers_note()}.",
        "",
        "| measure | what | beside | ratio | spread | target | | ours | theirs |",
        "| --- | --- | --- | ---: | --- | --- | --- | ---: | ---: |",
    ]
    for one in results:
        verdict = {None: "", True: "holds", False: "**does not hold**"}[one.holds]
        what = one.what + (f" ({one.note})" if one.note else "")
        lines.append(
            f"| `{one.name}` | {what} | {one.peer_name} | {one.ratio:.3g} | {one.low:.3g} to {one.high:.3g} "
            f"| {_bound(one)} | {verdict} | {one.ours:.4g} {one.unit} | {one.peer:.4g} {one.unit} |"
        )
    lines += ["", *(f"- Left out: {text}" for text in missing), ""] if missing else [""]
    known = [
        f"- `{one.name}`: {LIMITS[one.name]}" for one in results if one.holds is False and one.name in LIMITS
    ]
    lines += ["## What keeps them from it", "", *known, ""] if known else []
    lines += ["## Cost against size", "", "| what | how many | each |", "| --- | ---: | ---: |"]
    lines += [f"| {what} | {size:,} | {each:.3g} {unit} |" for what, size, each, unit in grown]
    return "\n".join(lines) + "\n"
