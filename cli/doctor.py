"""``pytracer doctor``: report what this machine supports, as a table or as JSON, one object per line."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator

from pytracer import doctor
from pytracer.cli.arguments import Parser
from pytracer.features import feature_table
from pytracer.text import harmless

_DESCRIPTION = (
    "Reports what this machine supports, what is missing, and how to fix it. Run it as root for all checks."
)
_WIDTH = 100
_MARKS = {
    doctor.OK: "ok",
    doctor.WARN: "warn",
    doctor.FAIL: "FAIL",
    doctor.UNKNOWN: "?",
    feature_table.GRANTED: "ok",
    feature_table.ABSENT: "absent",
    feature_table.REFUSED: "refused",
    feature_table.UNTRIED: "?",
}
_GROUPS = {
    "hook": "hooks that programs can attach to",
    "program": "program types",
    "map": "map types",
    "helper": "helpers",
}
_LABEL_WIDTH = 8  # of the longest mark and a blank


def run(argv: list[str]) -> int:
    """Check this machine and print the report. Returns 1 if no tracer can run here, else 0."""
    parser = Parser(prog="pytracer doctor", description=_DESCRIPTION)
    parser.add_argument(
        "-f", "--format", choices=("table", "json"), default="table", help="output format (default: table)"
    )
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    report = doctor.examine()
    for line in _json(report) if options.format == "json" else _table(report):
        print(line)
    return 0 if report.can_run else 1


def _json(report: doctor.Report) -> Iterator[str]:
    for check in report.checks:
        yield json.dumps(
            {
                "kind": "check",
                "group": check.group,
                "name": check.name,
                "status": check.status,
                "found": check.found,
                "fix": check.fix,
            }
        )
    for result in report.features:
        yield json.dumps(
            {
                "kind": "feature",
                "group": result.feature.kind,
                "name": result.feature.name,
                "status": result.status,
                "found": result.reason,
                "fix": "",
                "since": result.feature.since,
                "commit": result.feature.commit,
            }
        )


def _table(report: doctor.Report) -> Iterator[str]:
    width = max(len(check.name) for check in report.checks) + 2
    for group in dict.fromkeys(check.group for check in report.checks):
        yield group
        for check in (check for check in report.checks if check.group == group):
            yield from _lines(check.status, check.name, check.found, width)
            if check.fix:
                yield from _lines("", "", f"fix: {check.fix}", width)
        yield ""
    if all(result.status == feature_table.UNTRIED for result in report.features):
        yield "BPF features"
        yield from _lines(feature_table.UNTRIED, "", report.features[0].reason, 0)
        yield ""
    else:
        yield from _features(report)
    yield _verdict(report)


def _features(report: doctor.Report) -> Iterator[str]:
    width = max(len(check.name) for check in report.checks) + 2
    yield _GROUPS["hook"]
    for result in (result for result in report.features if result.feature.kind == "hook"):
        yield from _lines(result.status, result.feature.name, result.reason or "works", width)
    yield ""
    for kind in ("program", "map", "helper"):
        yield _GROUPS[kind]
        yield from _by_status([result for result in report.features if result.feature.kind == kind])
        yield ""


def _by_status(results: list[feature_table.ProbeResult]) -> Iterator[str]:
    """Yield a paragraph for each status, as there are too many features for a line each."""
    for status in dict.fromkeys(result.status for result in results):
        names = [result.feature.name for result in results if result.status == status]
        yield from _lines(status, "", ", ".join(names), 0)


def _lines(status: str, name: str, text: str, width: int) -> Iterator[str]:
    head = f"  {_MARKS.get(status, ''):<{_LABEL_WIDTH}}{name:<{width}}"
    yield from textwrap.wrap(
        harmless(text),
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
    )


def _verdict(report: doctor.Report) -> str:
    failed = [check.name for check in report.checks if check.status == doctor.FAIL]
    if failed:
        return f"pytracer cannot run here: {', '.join(failed)}"
    lacks = any(check.name == doctor.CAPABILITIES and check.status == doctor.WARN for check in report.checks)
    if lacks and any(result.status == feature_table.UNTRIED for result in report.features):
        return "all checks that ran are fine; sudo runs the remaining ones"
    lockdown = next((check for check in report.checks if check.name == doctor.LOCKDOWN), None)
    if lockdown is not None and lockdown.status == doctor.WARN:
        return f"tracers that read no kernel memory can run here; lockdown: {doctor.WITHHELD}"
    return "pytracer can run here"
