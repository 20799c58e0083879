"""``pytracer prog``: the BPF programs of this machine, whoever loaded them."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from pytracer.cli.arguments import Parser, positive, seconds, split
from pytracer.cli.output import OutputFile, standard_output
from pytracer.errors import UsageError

_VIEWS = ("list", "top")
_USAGE = "pytracer prog [list [SECONDS] | top [INTERVAL [COUNT]] | show | pin | unload] [options]"
_DESCRIPTION = """\
The BPF programs of this machine, whoever loaded them: whose they are, where they are attached, what they take
and how often they run. The kernel counts runs while pytracer looks, and at no other time.

  list [SECONDS]           all programs, and their runs within SECONDS (default)
  top [INTERVAL [COUNT]]   the same again and again, what runs longest first
  show ID                  one program: its C, instructions, native code, maps and what is in them
  pin ID...                keep programs of a running tracer when it ends
  unload [ID...]           let go of what was pinned so

show, pin and unload have help of their own: pytracer prog pin --help."""
_NOTES = """\
examples:
  pytracer prog                      every program, and what it did within a second
  pytracer prog 10 --sort total_ns   within ten seconds, what runs longest first
  pytracer prog top 2 --top 5        the five that take most time, every two seconds
  pytracer prog -f json              one object a line, with every column

notes:
  While the kernel counts, each run of each program takes two looks at the clock longer.
  Places are spelled as tracers take them: k:vfs_read, t:sched:sched_switch, u:/bin/bash:readline.
  No kernel tells on which socket a program is, nor of samplers on perf events that no link holds.
  Of a program that ends, runs since the last look are not known."""


def run(words: Sequence[str]) -> int:
    """List or watch, as a table, JSON or CSV; show one; pin and unload."""
    action, rest = (words[0], list(words[1:])) if words else ("list", [])
    if action == "show":
        from pytracer.cli import prog_show

        return prog_show.run(rest)
    if action in ("pin", "unload"):
        from pytracer.cli import prog_pin

        return prog_pin.pin(rest) if action == "pin" else prog_pin.unload(rest)
    return _watch(action, rest) if action in _VIEWS else _watch("list", list(words))


def _watch(view: str, words: list[str]) -> int:
    given, rest = _parse(words)
    times = _times(view, rest, given)

    from pytracer.kernel.policy import require
    from pytracer.prog.program_tables import NEEDED, ProgramTable, rank, schema
    from pytracer.prog.run_stats import count_runs
    from pytracer.sinks import make_sink
    from pytracer.trace.program_watch import ProgramCollector, watch_programs
    from pytracer.trace.run import Signals

    sort = given.sort or ("total_ns" if view == "top" else "id")
    rank([], sort)
    require(NEEDED, "pytracer prog")
    with contextlib.ExitStack() as stack:
        name = given.output
        stream = standard_output() if name is None else stack.enter_context(OutputFile(name))
        terminal = view == "top" and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        sink = make_sink(
            given.format,
            stream,
            timestamps=given.timestamp,
            terminal=terminal,
            wide=given.wide,
            raw=given.csv_raw,
        )
        stack.enter_context(count_runs())
        observer = ProgramTable()
        for line in observer.unseen:
            print(f"pytracer: warning: {line}; OWNER and ATTACHED lack theirs", file=sys.stderr)
        collector = ProgramCollector(observer, sort, given.top, summary=view == "top")
        signals = stack.enter_context(Signals().handled())
        sink.open(schema(view))
        for item in watch_programs(collector, times, signals):
            sink.emit(item)
        sink.close()
    return 0


def _parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    from pytracer.prog.program_tables import COLUMNS
    from pytracer.sinks import FORMATS

    columns = "\n".join(f"  {name:<12} {column.help}" for name, column in COLUMNS.items())
    parser = Parser(
        prog="pytracer prog",
        description=_DESCRIPTION,
        usage=_USAGE,
        epilog=f"{_NOTES}\n\ncolumns:\n{columns}",
    )
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("-d", "--duration", type=seconds, metavar="SECONDS", help="top: stop after so long")
    parser.add_argument("-f", "--format", choices=FORMATS, default="table", help="default: table")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of to standard output")
    parser.add_argument("-T", "--timestamp", action="store_true", help="a time column")
    parser.add_argument(
        "--wide", action="store_true", help="tables with every column; json and csv have them"
    )
    parser.add_argument(
        "--csv-raw", action="store_true", help="no apostrophe before text that spreadsheets run"
    )
    parser.add_argument("--top", type=positive, metavar="N", help="only the first N programs")
    parser.add_argument("--sort", metavar="COLUMN", help="the greatest of this column first")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    return given, given.rest


def _times(view: str, words: list[str], given: argparse.Namespace) -> argparse.Namespace:
    """Parse INTERVAL, COUNT and --duration to a ``Schedule`` of :mod:`pytracer.trace.clock`."""
    rest, interval, count = split(words)
    if rest:
        raise UsageError(f"prog {view} takes no {rest[0]!r}", hint="pytracer prog --help")
    if view == "list":
        if count is not None or given.duration is not None:
            raise UsageError(
                "a list is shown once", hint=f"pytracer prog top {interval or 1:g} {count or ''}"
            )
        count = 1
    return argparse.Namespace(interval=interval, count=count, duration=given.duration)
