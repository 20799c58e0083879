"""Write the tables of docs/services.md from docs/services.json: the latest run for each server."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from bench.performance_page import DOCS, machine
from bench.questions import UNTRACED, Answer, Service
from bench.service_costs import BY_BPFTRACE

PAGE, DATA = DOCS / "services.md", DOCS / "services.json"
MARK = "<!-- services -->"


def keep(new: Mapping[str, Service], order: Iterable[str]) -> None:
    """Replace what was kept about these servers, and write the tables again, in this order."""
    stored = load(DATA.read_text()) if DATA.exists() else {}
    stored |= {name: (machine(), service) for name, service in new.items()}
    stored = {name: stored[name] for name in order if name in stored}
    DATA.write_text(dump(stored))
    PAGE.write_text(page(PAGE.read_text(), stored))


def dump(stored: Mapping[str, tuple[str, Service]]) -> str:
    """Encode what was asked, as JSON."""
    records = {name: {"machine": place} | asdict(service) for name, (place, service) in stored.items()}
    return json.dumps(records, indent=1) + "\n"


def load(text: str) -> dict[str, tuple[str, Service]]:
    """Decode what was asked, from JSON."""
    stored = dict[str, tuple[str, Service]]()
    for name, record in json.loads(text).items():
        place, answers = record.pop("machine"), record.pop("answers")
        stored[name] = place, Service(**record, answers=[Answer(**answer) for answer in answers])
    return stored


def page(text: str, stored: Mapping[str, tuple[str, Service]]) -> str:
    """Return the page with these tables behind the mark."""
    head, _, _ = text.partition(MARK)
    places = dict.fromkeys(place.partition(";")[0] for place, _ in stored.values())
    lines = [head + MARK, "", f"Taken on {' and '.join(places)}.", ""]
    for _, service in stored.values():
        lines += [f"### {service.name}", "", f"{service.version}. Load: {service.load}.", ""]
        lines += ["| question | asked by | pytracer | the server | |", "| --- | --- | ---: | ---: | --- |"]
        lines += map(_row, service.answers)
        lines += ["", *(_costs(service) if service.costs else ())]
    return "\n".join(lines).rstrip() + "\n"


def _row(answer: Answer) -> str:
    verdict = "" if answer.agrees else " **differs**"
    numbers = f"{answer.said:,} | {answer.counted:,}"
    return f"| {answer.question} | `{_cell(answer.command)}` | {numbers} | {answer.source}{verdict} |"


def _costs(service: Service) -> list[str]:
    """Return the table of how much longer the load takes with each question, and when bpftrace asks it."""
    base = service.costs[UNTRACED]
    head = (
        f"Without a tracer the load takes {statistics.median(base):.3g} s, and so many times that with one:"
    )
    lines = [head, "", "| with | pytracer | bpftrace asking the same |", "| --- | ---: | ---: |"]
    for command, seconds in service.costs.items():
        if command == UNTRACED or command.startswith(BY_BPFTRACE):
            continue
        peer = service.costs.get(BY_BPFTRACE + command)
        by_peer = _ratio(peer, base) if peer else ""
        lines.append(f"| `{_cell(command)}` | {_ratio(seconds, base)} | {by_peer} |")
    return [*lines, ""]


def _ratio(seconds: list[float], base: list[float]) -> str:
    """Return the median of the rounds' ratios, with the least and the greatest."""
    ratios = [one / other for one, other in zip(seconds, base, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
