"""Write the tables of docs/services.md from docs/services.json: the latest run for each server."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from bench.performance_page import DOCS, machine
from bench.questions import Answer, Service

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
        lines += ["", *([_describe_costs(service), ""] if service.costs else ())]
    return "\n".join(lines).rstrip() + "\n"


def _row(answer: Answer) -> str:
    verdict = "" if answer.agrees else " **differs**"
    command = answer.command.replace("|", "\\|")
    numbers = f"{answer.said:,} | {answer.counted:,}"
    return f"| {answer.question} | `{command}` | {numbers} | {answer.source}{verdict} |"


def _describe_costs(service: Service) -> str:
    """Say how much longer the load takes with each tracer, by medians, and the spread of the rounds."""
    base, *others = service.costs.items()
    median = statistics.median(base[1])
    texts = []
    for name, seconds in others:
        ratios = [one / other for one, other in zip(seconds, base[1], strict=True)]
        ratio = statistics.median(seconds) / median
        texts.append(f"{name} {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return f"Time of the load, as a multiple of that without a tracer ({median:.3g} s): {'; '.join(texts)}."
