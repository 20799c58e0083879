"""``pytracer script``: run a script in the language of bpftrace."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from pytracer import __version__
from pytracer.cli.arguments import Parser, add_debug_options, add_plan_options, seconds, size_in_bytes
from pytracer.cli.output import warn_of_script
from pytracer.cli.running import Messages, print_instead, run_request
from pytracer.errors import NoProbesError, UsageError
from pytracer.record import replace
from pytracer.request import Request, build_request
from pytracer.sinks import SCRIPT_FORMATS
from pytracer.spec import Filter
from pytracer.spec.common import UNWIND
from pytracer.spec.script import SCRIPT

if TYPE_CHECKING:
    from pytracer.lang.script import Script
    from pytracer.lang.script.syntax import ProbeBlock
    from pytracer.sinks import Sink

_ABOUT = """\
Runs a script in the language of bpftrace: probes, predicates, maps, printf. The first run compiles it to BPF
programs, later runs load them from the cache. Losses are counted and reported."""
_MORE = """\
examples:
  pytracer script -e 'kprobe:vfs_read { @[comm] = count(); }'
      count calls of vfs_read by process name, until Ctrl-C
  pytracer script -e 'tracepoint:syscalls:sys_enter_openat { printf("%s\\n", str(args.filename)); }' -- ls
      print the files that a command opens
  pytracer script FILE.bt 5
      run a script from a file, with 5 as its parameter $1

notes:
  docs/script.md describes the language, and the differences from bpftrace.
  -- COMMAND: only the command and its descendants are traced. -c COMMAND traces everything while it runs."""
_USAGE = "pytracer script (-e SCRIPT | FILE) [ARG...] [options] [-- COMMAND...]"
_HELP = f"pytracer script --help\nUSAGE:\n    {_USAGE}"
_PID_LIMIT = 1 << 22  # the kernel's (PID_MAX_LIMIT)
_SUFFIX = ".bt"
_FILE_LIMIT = 1 << 20  # bytes of a script


class _ScriptParser(Parser):
    """A parser whose usage has the form of bpftrace."""

    def format_help(self) -> str:
        """See Parser."""
        return super().format_help().replace("usage: ", "USAGE:\n    ", 1)

    def error(self, message: str) -> NoReturn:
        """See Parser."""
        raise UsageError(message, hint=_HELP)


class _Messages(Messages):
    """The messages of a script, in the form of bpftrace."""

    def print_warning(self, line: str) -> None:
        """See Messages."""
        warn_of_script(line)


def run(words: Sequence[str]) -> int:
    """Run a script. Returns the exit status of the script or the command."""
    own_words, named_parameters, command = _split(words)
    options = _parser().parse_intermixed_args(own_words)
    if options.debug_folders:
        from pytracer.symbols import debug

        debug.FURTHER[:] = map(Path, options.debug_folders)
    if options.info or options.list:
        return _list(options, named_parameters)
    request = _request(options, named_parameters, command)

    if print_instead(options, request):
        return 0

    from pytracer.cli.status import open_status

    messages = _Messages(verbose=options.verbose, warnings=not options.no_warnings, status=open_status())
    if options.live:
        return _show_live(options, request, words, messages)

    from pytracer.sinks import make_sink

    def open_sink(stream: TextIO) -> Sink:
        return make_sink(SCRIPT_FORMATS[options.format], stream, timestamps=False, terminal=False)

    return run_request(options, request, open_sink, messages)


def _show_live(
    options: argparse.Namespace, request: Request, words: Sequence[str], messages: Messages
) -> int:
    from pytracer.cli.live import show_live

    if options.output is not None or options.format != "text":
        raise UsageError("--live cannot be combined with -f or -o")
    return show_live(options, request, ["script", *words], messages)


def _list(options: argparse.Namespace, named_parameters: dict[str, str]) -> int:
    """Print the kernel's features (--info), or probes (-l): of a script, or those that match a pattern."""
    from pytracer.cli import script_listing

    if options.info:
        lines = script_listing.info()
    elif options.text is not None or (options.words and Path(options.words[0]).is_file()):
        request = _request(options, named_parameters, ())
        lines = script_listing.list_script(request, verbose=options.verbose)
    else:
        pattern = options.words[0] if options.words else "*:*"
        if pattern.endswith(_SUFFIX):
            text = f"It appears that {pattern!r} is a filename but the file does not exist."
            warn_of_script(f"{text} Treating {pattern!r} as a search pattern.")
            return 0  # no probe has such a name
        lines = script_listing.list_patterns(pattern, options.process or 0, verbose=options.verbose)
    for line in lines:
        print(line)
    return 0


def _split(words: Sequence[str]) -> tuple[list[str], dict[str, str], tuple[str, ...]]:
    """Split a command line into options and parameters, named parameters, and the command.

    Named parameters follow ``--`` as ``--NAME=VALUE``, and positional ones may be among them; the command
    follows after another ``--``.
    """
    separator = words.index("--") if "--" in words else len(words)
    own_words, arguments = list(words[:separator]), list(words[separator + 1 :])
    named_parameters = dict[str, str]()
    has_named = bool(arguments) and arguments[0].startswith("--")
    while has_named and arguments and arguments[0] != "--":
        word = arguments.pop(0)
        if not word.startswith("--"):
            own_words.append(word)
            continue
        name, _, value = word.removeprefix("--").partition("=")
        named_parameters[name] = value or "true"
    if has_named and arguments[:1] == ["--"]:
        arguments.pop(0)
    return own_words, named_parameters, tuple(arguments)


def _parser() -> Parser:
    parser = _ScriptParser(prog="pytracer script", description=_ABOUT, epilog=_MORE, usage=_USAGE)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("-e", dest="text", action="append", metavar="SCRIPT", help="run this script")
    parser.add_argument(
        "-l",
        "--list",
        dest="list",
        action="store_true",
        help="list probes: of a script, or by a pattern; -lv: arguments",
    )
    parser.add_argument("--info", action="store_true", help="print what this kernel has")
    parser.add_argument("--no-warnings", action="store_true", help="do not print warnings")
    parser.add_argument(
        "-c", "--cmd", dest="command", metavar="COMMAND", help="run a command, and stop when it ends"
    )
    parser.add_argument(
        "-p", "--pid", dest="process", type=_process_id, metavar="PID", help="trace this process"
    )
    parser.add_argument(
        "-f", dest="format", type=_output_format, default="text", metavar="FORMAT", help="text, json"
    )
    parser.add_argument(
        "-o", "--output", dest="output", metavar="FILE", help="write to FILE instead of standard output"
    )
    parser.add_argument(
        "-q", dest="quiet", action="store_true", help="do not print the number of attached probes"
    )
    parser.add_argument(
        "-B",
        dest="buffering",
        choices=("line", "full", "none"),
        help="accepted; output is written at once in any case",
    )
    parser.add_argument(
        "-k", dest="checks", action="store_true", help="report reads of memory and of maps that fail"
    )
    parser.add_argument("--probe-filter", metavar="REGEX", help="attach only probes whose name matches")
    parser.add_argument(
        "--usdt-file-activation", action="store_true", help="accepted; probes are always activated"
    )
    parser.add_argument("-V", "--version", action="version", version=f"pytracer {__version__}")
    parser.add_argument(
        "-I", dest="folders", action="append", metavar="DIR", help="accepted and ignored: types come from BTF"
    )
    parser.add_argument(
        "--include",
        dest="files",
        action="append",
        metavar="FILE",
        help="accepted and ignored: types come from BTF",
    )
    parser.add_argument(
        "--debuginfo",
        dest="debug_folders",
        action="append",
        metavar="DIR",
        help="search debug files of stripped programs here, too",
    )
    parser.add_argument(
        "--traceable-functions",
        dest="traceable",
        metavar="FILE",
        help="probe only those functions of the kernel that FILE lists, one a line",
    )
    parser.add_argument("--mode", choices=("bench",), help="accepted: bench probes are measured in any case")
    parser.add_argument("--unsafe", action="store_true", help="allow system(), signal() and the like")
    parser.add_argument(
        "--unwind", choices=UNWIND.choices, default=UNWIND.default, help=f"{UNWIND.help} (default: auto)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="report each step on standard error")
    parser.add_argument("--duration", type=seconds, metavar="SECONDS", help="stop after this time")
    parser.add_argument(
        "--buffer",
        type=size_in_bytes,
        metavar="SIZE",
        help="size of the event buffer (512k, 8M; default: 8M)",
    )
    parser.add_argument(
        "--live", action="store_true", help="show maps and printed lines on a live screen (docs/live.md)"
    )
    parser.add_argument("--strict", action="store_true", help="exit 3 if anything was lost")
    add_plan_options(parser)
    add_debug_options(parser)
    return parser


def _request(
    options: argparse.Namespace, named_parameters: dict[str, str], command: tuple[str, ...]
) -> Request:
    words = list(options.words)
    if options.text is None:
        if not words:
            raise UsageError("a script is expected", hint="-e SCRIPT, or a FILE")
        name = words.pop(0)
        text = _read(name)
    else:
        name, text = "stdin", "\n".join(options.text)
    load = options.command is not None
    if load:
        if command:
            raise UsageError("-c and -- both name a command")
        import shlex

        command = tuple(shlex.split(options.command))
    request = build_request(
        SCRIPT,
        (text, *words),
        options={
            "unsafe": options.unsafe,
            "unwind": options.unwind,
            "quiet": options.quiet,
            "quiet_warnings": options.no_warnings,
        },
        filters={Filter.PID: [options.process]} if options.process else {},
        command=command,
        load=load,
        duration=options.duration,
        buffer=options.buffer,
        script_name="stdin" if name == "-" else name,
        hooks=dict(choice.split("=", 1) for choice in options.hook),
    )
    assert request.script is not None
    from pytracer.lang.script.settings import from_environment

    script = request.script.script
    if options.probe_filter is not None:
        script = _filtered(script, options.probe_filter)
    script = replace(script, config={**script.config, **from_environment(os.environ)})
    pages = script.config.get("perf_rb_pages")
    if pages is not None and options.buffer is None:
        request = replace(request, buffer=int(pages) * os.sysconf("SC_PAGE_SIZE"))
    return replace(
        request,
        script=replace(
            request.script,
            script=script,
            named=named_parameters,
            checks=options.checks,
            traceable=frozenset(_read(options.traceable).split()) if options.traceable else None,
        ),
    )


def _process_id(text: str) -> int:
    """Return a process id of the command line. Raises UsageError."""
    digits = re.match(r"\d*", text)
    if not text.isdecimal():
        what = "trailing bytes" if digits is not None and digits.group() else "integer"
        raise UsageError(f"Failed to parse pid: invalid {what}: {text}")
    if not 0 < int(text) <= _PID_LIMIT:
        raise UsageError(f"Pid out of range: {text}")
    return int(text)


def _output_format(text: str) -> str:
    if text not in SCRIPT_FORMATS:
        raise UsageError(f'Invalid output format "{text}"', hint=f"there is {', '.join(SCRIPT_FORMATS)}")
    return text


def _filtered(script: Script, pattern: str) -> Script:
    """Return a script without the probes whose names do not match; begin and end stay."""
    try:
        matches = re.compile(pattern).search
    except re.error as error:
        raise UsageError(f"Invalid --probe-filter regex: {error}") from None
    selected: list[ProbeBlock] = []
    for block in script.probes:
        special = ("begin", "end", "BEGIN", "END")
        points = tuple(point for point in block.points if point.text in special or matches(point.text))
        selected += [replace(block, points=points)] if points else []
    if not any(matches(point.text) for block in selected for point in block.points):
        raise NoProbesError(script.text, 0, len(script.text))
    return replace(script, probes=tuple(selected))


def _read(name: str) -> str:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(_FILE_LIMIT + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(_FILE_LIMIT + 1)
    except OSError as error:
        message = f"failed to open file {name!r}: {error.strerror}"
        raise UsageError(message, hint="-e takes the text of a script") from None
    return data.decode(errors="surrogateescape")
