"""Write docs/performance.md from docs/performance.json: the results of the latest run of each group."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.measure import Result
from bench.peers import headers_note
from bench.sizes import Row

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, DATA = DOCS / "performance.md", DOCS / "performance.json"
LIMITS = {
    "start-first": "Most of a first run is the compiler.",
    "start-later-bpftrace": "The interpreter, and the modules that it loads before programs are attached: "
    "what the kernel does takes a small part of it.",
    "cost-count": "Each call is told from 32-bit ones, and its place looked up, before it is counted.",
    "cost-packet": "Each packet's headers are read, and its place looked up, before it is counted.",
    "events-perf": "One CPU makes no more events: for most of the time our reader waits for them.",
}
"""The known reasons why a measure misses its target."""
HEAD = """# Performance

Written by `scripts/bench` (docs/performance.json): ratios of pytracer to a peer, or to an empty program on
the same hook, taken in turns on one machine in one run of each group of measures. The ratio is of the
medians; the spread is of the rounds. Ratios carry over to other machines better than the times beside them.
"""


@dataclass
class Group:
    """The results of a run of a group, and its machine."""

    machine: str
    results: list[Result] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    sizes: list[Row] = field(default_factory=list)


def machine() -> str:
    """Describe this machine."""
    release = platform.release().partition("-")[0]
    return f"{os.cpu_count()} CPUs ({platform.machine()}), Linux {release}; {headers_note()}"


def bound(result: Result) -> str:
    """Describe a measure's target, "" if there is none."""
    if result.target is None:
        return ""
    return f"{'at most' if result.at_most else 'at least'} {result.target:g}"


def keep(new: Mapping[str, Group], order: Iterable[str]) -> None:
    """Replace the stored results of these groups, and write the page again, in this order of groups."""
    kept = load(DATA.read_text()) if DATA.exists() else {}
    kept |= new
    groups = {name: kept[name] for name in order if name in kept}
    DATA.write_text(dump(groups))
    PAGE.write_text(page(groups))


def dump(groups: Mapping[str, Group]) -> str:
    """Encode groups as JSON."""
    return json.dumps({name: asdict(group) for name, group in groups.items()}, indent=1) + "\n"


def load(text: str) -> dict[str, Group]:
    """Decode groups from JSON."""

    groups = json.loads(text)
    for found in groups.values():
        found["results"] = [Result(**one) for one in found["results"]]
        found["sizes"] = [tuple(row) for row in found["sizes"]]
    return {name: Group(**found) for name, found in groups.items()}


def page(groups: Mapping[str, Group]) -> str:
    """Return docs/performance.md."""
    machines: dict[str, list[str]] = {}
    for name, group in groups.items():
        machines.setdefault(group.machine, []).append(f"`{name}`")
    several = len(machines) > 1
    results = [one for group in groups.values() for one in group.results]
    lines = [
        HEAD,
        *(f"{', '.join(names) + ': ' if several else ''}{where}.\n" for where, names in machines.items()),
        "| measure | what | beside | ratio | spread | target | | ours | theirs |",
        "| --- | --- | --- | ---: | --- | --- | --- | ---: | ---: |",
        *map(_row, results),
        "",
    ]
    missing = [f"- Left out: {text}" for group in groups.values() for text in group.missing]
    lines += [*missing, ""] if missing else []
    known = [
        f"- `{one.name}`: {LIMITS[one.name]}" for one in results if one.holds is False and one.name in LIMITS
    ]
    lines += ["## What keeps them from it", "", *known, ""] if known else []
    lines += ["## Cost against size", "", "| what | how many | each |", "| --- | ---: | ---: |"]
    grown = [row for group in groups.values() for row in group.sizes]
    lines += [f"| {what} | {size:,} | {each:.3g} {unit} |" for what, size, each, unit in grown]
    return "\n".join(lines) + "\n"


def _row(one: Result) -> str:
    verdict = {None: "", True: "holds", False: "**does not hold**"}[one.holds]
    what = one.what + (f" ({one.note})" if one.note else "")
    return (
        f"| `{one.name}` | {what} | {one.peer_name} | {one.ratio:.3g} | {one.low:.3g} to {one.high:.3g} "
        f"| {bound(one)} | {verdict} | {one.ours:.4g} {one.unit} | {one.peer:.4g} {one.unit} |"
    )
