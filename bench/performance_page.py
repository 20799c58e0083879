"""Write docs/performance.md from docs/performance.json: the results of the latest run of each group."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.measure import Result, Row
from bench.peers import headers_note

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, DATA = DOCS / "performance.md", DOCS / "performance.json"
LIMITS = {
    "start-first": "Most of a first run is the compiler.",
    "start-list": "The time goes to the Python interpreter, the modules, and the files of all tracers, "
    "which are read for their summaries.",
    "start-help": "As `list`, which it shows.",
    "memory-later": "Most of it is Python and NumPy.",
    "start-later-bpftrace": "Most of the time goes to the Python interpreter and the modules that it "
    "loads; the kernel's part is small.",
    "script-later": "The time goes to the Python interpreter, and to the modules and the work of the "
    "language and the planner; NumPy is not loaded.",
    "cost-count": "The program checks for 32-bit system calls and looks up a map entry before it counts.",
    "cost-packet": "The program reads the packet's headers and looks up a map entry before it counts.",
    "events-perf": "One CPU generates no more events: the reader waits for them most of the time.",
    "script-latency": "The kernel takes most of it to put a key into a hash map and to remove it, as for the "
    "peer's program; what is saved is the record of the trace event.",
    "bystander-few-bpftrace": "Both are attached to the same two trace events.",
    "text-table-opens": "Each round misses it by little: a table's columns are padded and aligned as well.",
    "text-json-names": "Paths of their own are decoded together, but each is an object of Python.",
    "text-csv-names": "As for text-json-names.",
    "text-table-names": "As for text-json-names.",
    "text-printf-names": "As for text-json-names.",
}
"""The reason why a measure misses its target, where one is known."""
HEAD = """# Performance

Written by `scripts/bench` (docs/performance.json): ratios of pytracer to a peer, or to an empty program on
the same hook. Each group of measures ran once on one machine, pytracer and its peers in turns. A ratio is the
quotient of the medians; the spread shows its smallest and largest value in a round. Ratios carry over to
other machines better than times do.
"""
GROWTH = """## Cost against size

Each cost is divided by the number. It stays as it is where cost grows with the number, and falls where most
of it is fixed, as are the start of Python, the ring buffer of all CPUs, and maps without values of each CPU.
Machines with many CPUs are emulated, and their clock counts instructions: those times compare with each
other alone.
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
    groups_stored = load(DATA.read_text()) if DATA.exists() else {}
    groups_stored |= new
    groups = {name: groups_stored[name] for name in order if name in groups_stored}
    DATA.write_text(dump(groups))
    PAGE.write_text(page(groups))


def dump(groups: Mapping[str, Group]) -> str:
    """Encode groups as JSON."""
    return json.dumps({name: asdict(group) for name, group in groups.items()}, indent=1) + "\n"


def load(text: str) -> dict[str, Group]:
    """Decode groups from JSON."""

    groups = json.loads(text)
    for group in groups.values():
        group["results"] = [Result(**record) for record in group["results"]]
        group["sizes"] = [tuple(row) for row in group["sizes"]]
    return {name: Group(**group) for name, group in groups.items()}


def page(groups: Mapping[str, Group]) -> str:
    """Return docs/performance.md."""
    machines: dict[str, list[str]] = {}
    for name, group in groups.items():
        machines.setdefault(group.machine, []).append(f"`{name}`")
    several = len(machines) > 1
    results = [result for group in groups.values() for result in group.results]
    lines = [
        HEAD,
        *(
            f"{', '.join(names) + ': ' if several else ''}{machine_text}.\n"
            for machine_text, names in machines.items()
        ),
        "| measure | quantity | peer | ratio | spread | target | | pytracer | peer |",
        "| --- | --- | --- | ---: | --- | --- | --- | ---: | ---: |",
        *map(_row, results),
        "",
    ]
    missing_lines = [f"- Left out: {text}" for group in groups.values() for text in group.missing]
    lines += [*missing_lines, ""] if missing_lines else []
    explained = {result.name: _reason(result) for result in results if result.holds is False}
    reasons = [f"- `{name}`: {reason}" for name, reason in explained.items() if reason]
    lines += ["## Why targets are missed", "", *reasons, ""] if reasons else []
    lines += [GROWTH, "| quantity | number | each |", "| --- | ---: | ---: |"]
    size_rows = [row for group in groups.values() for row in group.sizes]
    lines += [
        f"| {description} | {size:,} | {each:.3g} {unit} |" for description, size, each, unit in size_rows
    ]
    return "\n".join(lines) + "\n"


def _reason(result: Result) -> str:
    """Return why a measure misses its target, "" if that is not known."""
    sentences = [LIMITS[result.name]] if result.name in LIMITS else []
    if result.target is not None and result.low <= result.target <= result.high:
        sentences.append("The target is within the spread of the rounds.")
    return " ".join(sentences)


def _row(result: Result) -> str:
    verdict = {None: "", True: "holds", False: "**does not hold**"}[result.holds]
    description = result.description + (f" ({result.note})" if result.note else "")
    return (
        f"| `{result.name}` | {description} | {result.peer_name} | {result.ratio:.3g} | {result.low:.3g} "
        f"to {result.high:.3g} | {bound(result)} | {verdict} | {result.value:.4g} {result.unit} "
        f"| {result.peer_value:.4g} {result.unit} |"
    )
