"""``pytracer list-probes``: list the targets that sources match, and how this kernel attaches to them."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence

from pytracer.cli.arguments import Parser
from pytracer.errors import UnprobeableError, UsageError
from pytracer.features.kernel_facts import RunningKernel
from pytracer.kernel import filter_values, tracefs
from pytracer.kernel.facts import FoundTargets, KernelInfo, NamedTarget
from pytracer.plan.attach_targets import supported_alternatives
from pytracer.plan.named_target import IN_PROGRAMS, name_of
from pytracer.record import replace
from pytracer.spec import SPELLINGS, Source, parse_source
from pytracer.text import harmless

_DESCRIPTION = """\
Lists the functions and events that PATTERNs of tracers such as funccount match, and how this kernel attaches
to each. Nothing is traced."""
_EXAMPLES = """\
examples:
  pytracer list-probes 'k:vfs_*'               kernel functions, for kprobes
  pytracer list-probes 'f:vfs_*'               kernel functions in BTF, for trampolines (fentry)
  pytracer list-probes t:sched:sched_switch    a trace event and its fields
  pytracer list-probes 'rt:block_*' -f json    raw tracepoints, one object per line
  pytracer list-probes -p 1                    all USDT probes of a process and its libraries
  pytracer list-probes -p nginx 'u:nginx:ngx_http_*'    functions of its program"""
_USAGE = "pytracer list-probes [PATTERN...] [-p PID] [-f {table,json}]"
_ALL = "usdt:*"


def run(words: Sequence[str]) -> int:
    """Print the targets of the patterns, as text or (``-f json``) one object per line."""
    parser = Parser(prog="pytracer list-probes", description=_DESCRIPTION, usage=_USAGE, epilog=_EXAMPLES)
    kinds = "; ".join(spelling.example for spelling in SPELLINGS.values())
    parser.add_argument("patterns", metavar="PATTERN", nargs="*", help=kinds)
    text = f"look in the files of these processes, by ids or names with commas (default: for {_ALL})"
    parser.add_argument("-p", "--pid", metavar="PID", help=text)
    parser.add_argument(
        "-f", "--format", choices=("table", "json"), default="table", help="output format (default: table)"
    )
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    with contextlib.closing(RunningKernel()) as facts:
        if not options.patterns and not options.pid:
            raise UsageError("list-probes needs a pattern, or a process", hint="pytracer list-probes --help")
        processes = filter_values.processes(options.pid) if options.pid else [0]
        patterns = list(dict.fromkeys(map(parse_source, options.patterns or [_ALL])))
        sources = [
            replace(pattern, process=process)
            for pattern in patterns
            for process in (processes if pattern.kind in IN_PROGRAMS else [0])
        ]
        shown = set[str]()
        write = _json if options.format == "json" else _text
        for source, targets in [(source, _find(source, facts)) for source in sources]:
            alternatives, reasons = _alternatives(source, targets, facts) if targets.targets else ([], [])
            for target in targets.targets:
                name = name_of(source, target)
                if name not in shown:  # processes of one program have the same
                    write(name, alternatives, _fields(source, target))
                shown.add(name)
            for name, reason in targets.refused.items():
                write(name_of(source, NamedTarget(name)), (), (), reason)
            for count, reason in ((count, reason) for reason, count in targets.skipped.items()):
                print(f"pytracer: {source.text}: left out: {count} {reason}", file=sys.stderr)
            for reason in reasons:
                print(f"pytracer: {source.text}: {harmless(reason)}", file=sys.stderr)
    return 0


def _fields(source: Source, target: NamedTarget) -> list[str]:
    """Return the fields of a trace event, or the arguments of a USDT probe, with their types."""
    if source.kind == "t":
        return tracefs.fields(target.name)
    arguments = target.sites[0].arguments if source.kind == "usdt" and target.sites else ()
    return [
        f"{'s' if argument.size < 0 else 'u'}{8 * abs(argument.size)} arg{number}"
        for number, argument in enumerate(arguments, start=1)
    ]


def _find(source: Source, facts: KernelInfo) -> FoundTargets:
    """Find the targets of a source; none if no function that it names can be probed."""
    try:
        return facts.find(source)
    except UnprobeableError as error:
        return FoundTargets((), refused=error.refused)


def _alternatives(source: Source, targets: FoundTargets, facts: KernelInfo) -> tuple[list[str], list[str]]:
    """Return the alternatives that this kernel supports for the first target, and the reasons against the
    others."""
    alternatives, reasons = list[str](), list[str]()
    for name, support in supported_alternatives(source, targets.targets[0], facts):
        if support.is_supported:
            alternatives.append(name)
        else:
            reasons.append(f"not {name}: {support.reason}")
    return alternatives, reasons


def _text(name: str, alternatives: Sequence[str], fields: Sequence[str], reason: str = "") -> None:
    method = f"- cannot be probed: {harmless(reason)}" if reason else ", ".join(alternatives) or "-"
    print(f"{harmless(name):<40} {method}")
    for field in fields:
        print(f"    {harmless(field)}")


def _json(name: str, alternatives: Sequence[str], fields: Sequence[str], reason: str = "") -> None:
    record = {"kind": "probe", "name": name, "alternatives": list(alternatives), "fields": list(fields)}
    print(json.dumps(record | {"reason": reason} if reason else record))
