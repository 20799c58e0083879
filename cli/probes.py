"""``pytracer list-probes``: what a source names here, and how it can be attached to. Nothing is traced."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from pytracer.cli.arguments import Parser
from pytracer.errors import UnprobeableError
from pytracer.features.kernel_facts import RunningKernel
from pytracer.kernel import tracefs
from pytracer.kernel.facts import FoundTargets, KernelInfo, NamedTarget
from pytracer.plan.attach_targets import supported_alternatives
from pytracer.plan.named_target import name_of
from pytracer.spec import SPELLINGS, Source, parse_source
from pytracer.text import harmless

_DESCRIPTION = (
    "What can be named to tracers such as funccount: each name, and how this kernel attaches to it."
)
_EXAMPLES = """\
examples:
  pytracer list-probes 'k:vfs_*'               functions of the kernel, as kprobes take them
  pytracer list-probes 'f:vfs_*'               those that BTF describes, as trampolines take them
  pytracer list-probes t:sched:sched_switch    a trace event and its fields
  pytracer list-probes 'rt:block_*' -f json    raw tracepoints, one object a line"""
_USAGE = "pytracer list-probes PATTERN... [-f {table,json}]"


def run(words: Sequence[str]) -> int:
    """Print what the patterns name, as text or (``-f json``) one object a line."""
    parser = Parser(prog="pytracer list-probes", description=_DESCRIPTION, usage=_USAGE, epilog=_EXAMPLES)
    kinds = "; ".join(spelling.example for spelling in SPELLINGS.values())
    parser.add_argument("patterns", metavar="PATTERN", nargs="+", help=kinds)
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table", help="how to show it")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    facts = RunningKernel()
    sources = list(dict.fromkeys(map(parse_source, given.patterns)))
    show = _json if given.format == "json" else _text
    for source, found in [(source, _find(source, facts)) for source in sources]:
        alternatives, reasons = _ways(source, found, facts) if found.targets else ([], [])
        for target in found.targets:
            fields = tracefs.fields(target.name) if source.kind == "t" else []
            show(name_of(source, target), alternatives, fields)
        for name, reason in found.refused.items():
            show(name_of(source, NamedTarget(name)), (), (), reason)
        for count, reason in ((count, reason) for reason, count in found.skipped.items()):
            print(f"pytracer: {source.text}: left out: {count} {reason}", file=sys.stderr)
        for reason in reasons:
            print(f"pytracer: {source.text}: {harmless(reason)}", file=sys.stderr)
    return 0


def _find(source: Source, facts: KernelInfo) -> FoundTargets:
    """Find the targets of a source; none if all its functions cannot be probed."""
    try:
        return facts.find(source)
    except UnprobeableError as error:
        return FoundTargets((), refused=error.refused)


def _ways(source: Source, found: FoundTargets, facts: KernelInfo) -> tuple[list[str], list[str]]:
    """Return the alternatives that this kernel supports, and the reasons against the others, for the first
    target."""
    alternatives, reasons = list[str](), list[str]()
    for name, answer in supported_alternatives(source, found.targets[0], facts):
        if answer.is_supported:
            alternatives.append(name)
        else:
            reasons.append(f"not {name}: {answer.reason}")
    return alternatives, reasons


def _text(name: str, alternatives: Sequence[str], fields: Sequence[str], reason: str = "") -> None:
    how = f"- cannot be probed: {harmless(reason)}" if reason else ", ".join(alternatives) or "-"
    print(f"{harmless(name):<40} {how}")
    for field in fields:
        print(f"    {harmless(field)}")


def _json(name: str, alternatives: Sequence[str], fields: Sequence[str], reason: str = "") -> None:
    record = {"kind": "probe", "name": name, "alternatives": list(alternatives), "fields": list(fields)}
    print(json.dumps(record | {"reason": reason} if reason else record))
