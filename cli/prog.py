"""``pytracer prog``: list, show, pin and unload the BPF programs of this machine, whoever loaded them."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from pytracer.cli.arguments import Parser, positive, seconds, split
from pytracer.cli.output import OutputFile, standard_output
from pytracer.errors import UnsupportedError, UsageError

_VIEWS = ("list", "top")
_USAGE = "pytracer prog [list [SECONDS] | top [INTERVAL [COUNT]] | show | pin | unload] [options]"
_DESCRIPTION = """\
Lists the BPF programs of this machine, whoever loaded them: owner, attach targets, memory and run counts. The
kernel counts runs only while pytracer prog runs.

  list [SECONDS]           list all programs, and count their runs for SECONDS (default: 1)
  top [INTERVAL [COUNT]]   list them every INTERVAL, longest run time first
  show ID                  show a program: its C, instructions, native code, maps and their entries
  pin ID...                pin programs of a running tracer, so that they stay when it ends
  unload [ID...]           remove such pins

show, pin and unload have help pages of their own: pytracer prog pin --help."""
_NOTES = """\
examples:
  pytracer prog                      all programs, and their runs within a second
  pytracer prog 10 --sort total_ns   the same within ten seconds, longest run time first
  pytracer prog top --live           the same on a live screen (docs/live.md)
  pytracer prog top 2 --top 5        the five programs with most run time, every two seconds
  pytracer prog -f json              one object per line, with every column

notes:
  While runs are counted, the kernel reads its clock twice more in each run of each program.
  Targets are spelled as tracers take them: k:vfs_read, t:sched:sched_switch, u:/bin/bash:readline.
  The kernel does not report the socket of a program, nor programs on perf events without a link.
  Runs of a program between the last reading and its end are not counted."""


def run(words: Sequence[str]) -> int:
    """Run an action of ``prog``."""
    action, arguments = (words[0], list(words[1:])) if words else ("list", [])
    if action == "show":
        from pytracer.cli import prog_show

        return prog_show.run(arguments)
    if action in ("pin", "unload"):
        from pytracer.cli import prog_pin

        return prog_pin.pin(arguments) if action == "pin" else prog_pin.unload(arguments)
    return _watch(action, arguments) if action in _VIEWS else _watch("list", list(words))


def _watch(view: str, words: list[str]) -> int:
    options, arguments = _parse(words)
    times = _times(view, arguments, options)

    from pytracer.kernel.policy import require_capabilities
    from pytracer.prog.program_tables import NEEDED, ProgramTable, rank, schema
    from pytracer.prog.run_stats import count_runs
    from pytracer.sinks import make_sink
    from pytracer.trace.program_watch import ProgramCollector, watch_programs
    from pytracer.trace.run_tracer import Signals

    sort_column = options.sort or ("total_ns" if view == "top" else "id")
    rank([], sort_column)
    require_capabilities(NEEDED, "pytracer prog")
    if options.live:
        return _show_live(view, words, times, options, sort_column)
    with contextlib.ExitStack() as stack:
        name = options.output
        stream = standard_output() if name is None else stack.enter_context(OutputFile(name))
        terminal = view == "top" and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        sink = make_sink(
            options.format,
            stream,
            timestamps=options.timestamp,
            terminal=terminal,
            wide=options.wide,
            raw=options.csv_raw,
        )
        try:
            stack.enter_context(count_runs())
        except UnsupportedError as error:
            if view == "top":
                raise
            print(f"pytracer: warning: {error.message}; the columns of runs lack theirs", file=sys.stderr)
        observer = ProgramTable()
        for line in observer.unseen:
            print(f"pytracer: warning: {line}; OWNER and ATTACHED lack theirs", file=sys.stderr)
        collector = ProgramCollector(observer, sort_column, options.top, summary=view == "top")
        signals = stack.enter_context(Signals().handled())
        sink.open(schema(view))
        for item in watch_programs(collector, times, signals):
            sink.emit(item)
        sink.close()
    return 0


def _show_live(
    view: str, words: Sequence[str], times: argparse.Namespace, options: argparse.Namespace, sort: str
) -> int:
    from pytracer.cli.running import warn
    from pytracer.prog.program_tables import PROGRAMS, ProgramTable, live_schema
    from pytracer.prog.run_stats import count_runs
    from pytracer.screen.run import show_items
    from pytracer.trace.event_loop import EventLoop
    from pytracer.trace.program_watch import ProgramCollector, watch_programs

    if view != "top" or options.output is not None or options.format != "table":
        raise UsageError("--live is for prog top, without -f and -o", hint="pytracer prog top --live")
    with count_runs(), contextlib.closing(EventLoop()) as events:
        collector = ProgramCollector(ProgramTable(), sort, options.top, summary=True)
        items = watch_programs(collector, times, events)
        words = ["prog", view, *words]
        show_items(items, live_schema(), events.stop, PROGRAMS, words, warn=warn, wide=options.wide)
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
    parser.add_argument("-d", "--duration", type=seconds, metavar="SECONDS", help="top: stop after this time")
    parser.add_argument("-f", "--format", choices=FORMATS, default="table", help="default: table")
    parser.add_argument("-o", "--output", metavar="FILE", help="write to FILE instead of standard output")
    parser.add_argument("-T", "--timestamp", action="store_true", help="add a time column")
    parser.add_argument(
        "--wide", action="store_true", help="print every column in tables; json and csv always have them"
    )
    parser.add_argument(
        "--csv-raw",
        action="store_true",
        help="do not put an apostrophe before text that spreadsheets would evaluate",
    )
    parser.add_argument("--top", type=positive, metavar="N", help="print only the first N programs")
    parser.add_argument("--sort", metavar="COLUMN", help="sort by this column, largest first")
    parser.add_argument("--live", action="store_true", help="top: show a live screen (docs/live.md)")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    return options, options.rest


def _times(view: str, words: list[str], options: argparse.Namespace) -> argparse.Namespace:
    """Parse INTERVAL, COUNT and --duration to a ``Schedule`` of :mod:`pytracer.trace.clock`."""
    arguments, interval, count = split(words)
    if arguments:
        raise UsageError(f"prog {view} takes no {arguments[0]!r}", hint="pytracer prog --help")
    if view == "list":
        if count is not None or options.duration is not None:
            raise UsageError(
                "a list is shown once", hint=f"pytracer prog top {interval or 1:g} {count or ''}"
            )
        count = 1
    return argparse.Namespace(interval=interval, count=count, duration=options.duration)
