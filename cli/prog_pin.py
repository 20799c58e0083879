"""``pytracer prog pin`` and ``prog unload``: pin programs of running tracers, and remove the pins."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pytracer.cli.arguments import Parser
from pytracer.cli.output import report
from pytracer.text import harmless

if TYPE_CHECKING:
    from pytracer.prog.pinning import PinnedProgramInfo

_PIN = """\
Pins programs of running tracers below /sys/fs/bpf/pytracer. They and their maps stay in the kernel when the
tracer ends, so that pytracer prog show, bpftool and others can read them. Without --attached, they no longer
run after the tracer's end.

  ID             the id of a program that a running pytracer loaded; others are refused
  tracer-owned   all programs of all running tracers"""
_PIN_NOTES = """\
examples:
  pytracer prog pin 74                       keep the maps of program 74 after the tracer's end
  pytracer prog pin tracer-owned --attached  keep all programs attached and counting
  pytracer prog unload                       remove all pins

notes:
  Attached programs count until prog unload or a reboot. Nothing drains their maps, which may become full.
  Their filters keep the process ids of the tracer's start, which the kernel may give to other processes.
  These cannot stay attached: single kprobes, programs on sockets or attached by netlink, trace events before
  Linux 5.15, and inject. Another alternative of the tracer (--hook), such as raw tracepoints, may.
  If no BPF file system is mounted at /sys/fs/bpf, pytracer mounts one, and unmounts it with the last pin.
  Only root can read the folder (mode 0700)."""
_UNLOAD = """\
Removes pins of prog pin: all of them (as tracer-owned does), or those of the named programs. The kernel
unloads a program that nothing else holds; one of a running tracer stays until the tracer ends. Other pins,
programs and files are left alone. A pin that cannot be removed is reported, and the others are removed."""


def pin(words: Sequence[str]) -> int:
    """Pin programs, and print their paths."""
    parser = Parser(
        prog="pytracer prog pin",
        description=_PIN,
        epilog=_PIN_NOTES,
        usage="pytracer prog pin (ID... | tracer-owned) [--attached] [-f {table,json}]",
    )
    parser.add_argument("ids", metavar="ID", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument(
        "--attached", action="store_true", help="keep them attached, so that they count on without the tracer"
    )
    options = _parse(parser, words)

    from pytracer.kernel.policy import require_capabilities
    from pytracer.prog import pinning

    require_capabilities(pinning.NEEDED, "pytracer prog pin")
    _show("pinned", pinning.pin(options.ids, attached=options.attached), options.format)
    return 0


def unload(words: Sequence[str]) -> int:
    """Remove pins, and print which."""
    parser = Parser(
        prog="pytracer prog unload",
        description=_UNLOAD,
        usage="pytracer prog unload [ID... | tracer-owned] [-f {table,json}]",
    )
    parser.add_argument("ids", metavar="ID", nargs="*", help=argparse.SUPPRESS)
    options = _parse(parser, words)

    from pytracer.kernel.policy import require_capabilities
    from pytracer.prog import pinning

    require_capabilities(pinning.NEEDED, "pytracer prog unload")
    unpinned, errors = pinning.unload(options.ids)
    _show("unpinned", unpinned, options.format)
    if errors:
        gravest = max(errors, key=lambda error: error.exit_code)
        for error in errors:
            if error is not gravest:
                report(error)
        raise gravest
    if not unpinned and options.format == "table":
        print("no programs are pinned")
    return 0


def _parse(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument(
        "-f", "--format", choices=("table", "json"), default="table", help="output format (default: table)"
    )
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def _show(kind: str, pinned_programs: Iterable[PinnedProgramInfo], form: str) -> None:
    for info in pinned_programs:
        path, links, holders = str(info.pin.folder), info.pin.links, [holder.pid for holder in info.holders]
        if form == "json":
            record = {"kind": kind, "id": info.pin.program, "name": info.name, "path": path}
            print(json.dumps(record | {"links": links, "pids": holders}))
            continue
        line = f"{kind} {info.pin.program} {info.name}".rstrip() + f" in {path}" * (kind == "pinned")
        if links and kind == "pinned":
            line += f", attached by {len(links)} link{'s' * (len(links) > 1)}"
        if holders and kind == "unpinned":
            line += f"; still held by {', '.join(map(str, info.holders))}"
        print(harmless(line))
