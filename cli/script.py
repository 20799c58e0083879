"""``pytracer script``: run a script in the language of bpftrace."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from pytracer.cli.arguments import Parser, seconds, size_in_bytes
from pytracer.cli.output import Output, OutputFile, one_line, standard_output
from pytracer.errors import UsageError
from pytracer.record import replace
from pytracer.request import Request, build_request
from pytracer.sinks import SCRIPT_FORMATS
from pytracer.spec import Filter
from pytracer.spec.script import SCRIPT

_ABOUT = """\
Runs a script in the language of bpftrace: probes, predicates, maps, printf. It is compiled to restricted C;
the second start of a script loads no compiler, and all that is lost is counted."""
_MORE = """\
examples:
  pytracer script -e 'kprobe:vfs_read { @[comm] = count(); }'
      calls of vfs_read by process name, until Ctrl-C
  pytracer script -e 'tracepoint:syscalls:sys_enter_openat { printf("%s\\n", str(args.filename)); }' -- ls
      the files that a command opens
  pytracer script FILE.bt 5
      a script from a file; $1 is 5

notes:
  docs/script.md describes the language, and the differences from bpftrace.
  -- COMMAND: only the command and its descendants are traced. -c COMMAND traces everything while it runs."""
_USAGE = "pytracer script (-e SCRIPT | FILE) [ARG...] [options] [-- COMMAND...]"
_FILE_LIMIT = 1 << 20  # bytes of a script


def run(words: Sequence[str]) -> int:
    """Run a script; the exit status is the script's own, or the command's."""
    own, named, command = _split(words)
    given = _parser().parse_intermixed_args(own)
    request = _request(given, named, command)

    from pytracer.features.kernel_facts import RunningKernel
    from pytracer.plan import make_plan

    if given.dry_run:
        for line in make_plan(request, RunningKernel()).describe():
            print(one_line(line))
        return 0
    if given.emit_c:
        from pytracer.bpf.compile.source import emit

        plan = make_plan(request, RunningKernel())
        print(emit(request.tracer.c_file, plan.defines, plan.generated), end="")
        return 0

    from pytracer.sinks import make_sink
    from pytracer.trace.run import run as run_trace

    def say(line: str) -> None:
        if given.verbose:
            print(f"pytracer: {one_line(line)}", file=sys.stderr)

    def warn(line: str) -> None:
        if not given.no_warnings:
            print(f"pytracer: warning: {one_line(line)}", file=sys.stderr)

    with contextlib.ExitStack() as stack:
        stream = standard_output() if given.output is None else stack.enter_context(OutputFile(given.output))
        sink = make_sink(SCRIPT_FORMATS[given.format], stream, timestamps=False, terminal=False)
        output = Output(stream)
        return run_trace(request, RunningKernel, sink, say=say, warn=warn, strict=given.strict, output=output)


def _split(words: Sequence[str]) -> tuple[list[str], dict[str, str], tuple[str, ...]]:
    """Split a command line at ``--``: options and parameters, named parameters (``-- --NAME=VALUE``), and the
    command, behind another ``--`` where there are named parameters."""
    cut = words.index("--") if "--" in words else len(words)
    own, rest = list(words[:cut]), list(words[cut + 1 :])
    named = dict[str, str]()
    while rest and rest[0].startswith("--") and rest[0] != "--":
        name, _, value = rest.pop(0).removeprefix("--").partition("=")
        named[name] = value or "true"
    if named and rest[:1] == ["--"]:
        rest.pop(0)
    return own, named, tuple(rest)


def _parser() -> Parser:
    parser = Parser(prog="pytracer script", description=_ABOUT, epilog=_MORE, usage=_USAGE)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("-e", dest="text", metavar="SCRIPT", help="run this script")
    parser.add_argument("--no-warnings", action="store_true", help="do not print warnings")
    parser.add_argument("-c", "--cmd", dest="command", metavar="COMMAND", help="run it, stop when it ends")
    parser.add_argument("-p", dest="process", type=int, metavar="PID", help="trace this process")
    parser.add_argument(
        "-f", dest="format", choices=tuple(SCRIPT_FORMATS), default="text", help="default: text"
    )
    parser.add_argument(
        "-o", "--output", dest="output", metavar="FILE", help="write there instead of to standard output"
    )
    parser.add_argument("-q", dest="quiet", action="store_true", help="do not say how many are attached")
    parser.add_argument("-B", dest="buffering", metavar="MODE", help="line, full or none: ignored")
    parser.add_argument("-I", dest="folders", action="append", metavar="DIR", help="ignored: types are BTF's")
    parser.add_argument("--include", dest="files", action="append", metavar="FILE", help="ignored, likewise")
    parser.add_argument("--unsafe", action="store_true", help="allow system(), signal() and the like")
    parser.add_argument("-v", "--verbose", action="store_true", help="report each step on standard error")
    parser.add_argument("--duration", type=seconds, metavar="SECONDS", help="stop after so long")
    parser.add_argument("--buffer", type=size_in_bytes, metavar="SIZE", help="bytes of events that may wait")
    parser.add_argument("--strict", action="store_true", help="exit 3 if anything was lost")
    parser.add_argument("--dry-run", action="store_true", help="print the plan for this kernel and stop")
    parser.add_argument("--emit-c", action="store_true", help="print the C for the compiler and stop")
    parser.add_argument("--debug", action="store_true", help="errors with all that is known about them")
    parser.add_argument("--hook", metavar="HOOK=ALTERNATIVE", action="append", default=[], help="use this")
    return parser


def _request(given: argparse.Namespace, named: dict[str, str], command: tuple[str, ...]) -> Request:
    words = list(given.words)
    if given.text is None:
        if not words:
            raise UsageError("a script is expected", hint="-e SCRIPT, or a FILE")
        name = words.pop(0)
        text = _read(name)
    else:
        name, text = "stdin", given.text
    load = given.command is not None
    if load:
        if command:
            raise UsageError("-c and -- both name a command")
        import shlex

        command = tuple(shlex.split(given.command))
    request = build_request(
        SCRIPT,
        (text, *words),
        options={"unsafe": given.unsafe, "quiet": given.quiet},
        filters={Filter.PID: [given.process]} if given.process else {},
        command=command,
        load=load,
        duration=given.duration,
        buffer=given.buffer,
        hooks=dict(one.split("=", 1) for one in given.hook),
    )
    assert request.script is not None
    script = replace(request.script.script, name="stdin" if name == "-" else name)
    return replace(request, script=replace(request.script, script=script, named=named))


def _read(name: str) -> str:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(_FILE_LIMIT + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(_FILE_LIMIT + 1)
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}", hint="-e takes the text of a script") from None
    return data.decode(errors="surrogateescape")
