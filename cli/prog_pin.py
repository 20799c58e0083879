"""``pytracer prog pin`` and ``prog unload``: programs of tracers that stay, and go."""

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
Keeps programs of tracers that run now, below /sys/fs/bpf/pytracer: they and their maps stay in the kernel
when the tracer has ended, for pytracer prog show, bpftool and others to look at. They do not run any more
then, unless they stay attached.

  ID             a program that a running pytracer loaded, as pytracer prog lists it; no other is pinned
  tracer-owned   all programs of all tracers that run"""
_PIN_NOTES = """\
examples:
  pytracer prog pin 74                       look at what it counted when the tracer is gone
  pytracer prog pin tracer-owned --attached  what runs now counts on after this session
  pytracer prog unload                       and all of that ends

notes:
  What stays attached counts on until prog unload or a restart; nobody empties its maps, which may get full.
  It goes on for the processes that the tracer was started for, whose numbers may be others' one day.
  Single kprobes, what is on sockets or put somewhere by netlink, and before Linux 5.15 trace events cannot
  stay attached: --hook of the tracer may take another way, such as raw tracepoints. inject must not.
  Where no BPF file system is mounted at /sys/fs/bpf one is, and goes with the last pin.
  The folder is for root alone (0700)."""
_UNLOAD = """\
Takes away what prog pin pinned: all (tracer-owned says so, too), or the programs named. A program that
nobody else holds goes; one that its tracer still runs stays until that ends. No other pin, program or file
is touched. Where one of several cannot be taken away, that is said, and the others are."""


def pin(words: Sequence[str]) -> int:
    """Pin programs, and print which and where."""
    parser = Parser(
        prog="pytracer prog pin",
        description=_PIN,
        epilog=_PIN_NOTES,
        usage="pytracer prog pin (ID... | tracer-owned) [--attached] [-f {table,json}]",
    )
    parser.add_argument("ids", metavar="ID", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument(
        "--attached", action="store_true", help="they stay attached, and go on counting without the tracer"
    )
    given = _parse(parser, words)

    from pytracer.kernel.policy import require
    from pytracer.prog import pinning

    require(pinning.NEEDED, "pytracer prog pin")
    _show("pinned", pinning.pin(given.ids, attached=given.attached), given.format)
    return 0


def unload(words: Sequence[str]) -> int:
    """Take pins away, and say which."""
    parser = Parser(
        prog="pytracer prog unload",
        description=_UNLOAD,
        usage="pytracer prog unload [ID... | tracer-owned] [-f {table,json}]",
    )
    parser.add_argument("ids", metavar="ID", nargs="*", help=argparse.SUPPRESS)
    given = _parse(parser, words)

    from pytracer.kernel.policy import require
    from pytracer.prog import pinning

    require(pinning.NEEDED, "pytracer prog unload")
    kept, refused = pinning.unload(given.ids)
    _show("unpinned", kept, given.format)
    if refused:
        worst = max(refused, key=lambda error: error.exit_code)
        for error in refused:
            if error is not worst:
                report(error)
        raise worst
    if not kept and given.format == "table":
        print("pytracer has nothing pinned")
    return 0


def _parse(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table", help="how to show it")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def _show(what: str, kept: Iterable[PinnedProgramInfo], form: str) -> None:
    for one in kept:
        path, links, holders = str(one.pin.folder), one.pin.links, [holder.pid for holder in one.holders]
        if form == "json":
            record = {"kind": what, "id": one.pin.program, "name": one.name, "path": path}
            print(json.dumps(record | {"links": links, "pids": holders}))
            continue
        line = f"{what} {one.pin.program} {one.name}".rstrip() + f" in {path}" * (what == "pinned")
        if links and what == "pinned":
            line += f", attached by {len(links)} link{'s' * (len(links) > 1)}"
        if holders and what == "unpinned":
            line += f"; it stays with {', '.join(map(str, one.holders))}"
        print(harmless(line))
