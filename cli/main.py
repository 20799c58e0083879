"""``pytracer``: dispatch, and errors as one line and a hint."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytracer import __version__, inherited
from pytracer.cli.output import one_line, report, take_streams
from pytracer.errors import PytracerError, UsageError
from pytracer.record import replace
from pytracer.spec import Histogram, Profile, Stacks, Stream, Table, registry
from pytracer.spec import Output as SpecOutput

if TYPE_CHECKING:
    from pytracer.cli.status import StatusLine
    from pytracer.plan import Plan

_INTERRUPTED = 128 + signal.SIGINT
# Descriptors without which a file that cannot be opened would be taken for one that is not there.
_COMMAND_FILES, _TRACER_FILES = 4, 16
_INTERVAL, _PART = 1.0, 0.02  # seconds of an interval of pictures, if nothing is said
_USAGE = "usage: pytracer TRACER [ARG...] [INTERVAL [COUNT]] [options] [-- COMMAND...]"
COMMANDS = {
    "list": ("listing", "the tracers"),
    "schema": ("schema", "a JSON Schema of what a tracer writes with -f json"),
    "list-probes": ("probes", "what can be named to tracers that take PATTERNs, such as funccount"),
    "doctor": ("doctor", "what this kernel and this machine grant"),
    "script": ("script", "run a script in the language of bpftrace"),
    "prog": ("prog", "the BPF programs of this machine: whose, where, how often they run"),
    "explain": ("explain", "all that becomes of a tracer in this kernel, or why a program is refused"),
    "completion": ("completion", "a script that completes command lines, for bash, zsh or fish"),
    "man": ("man", "manual pages of pytracer and of each tracer"),
    "diff": ("diff", "a flame graph of what differs between two runs"),
    "cache": ("cache", "what is kept for the next start; cache clear drops it"),
    "pack": ("pack", "compile tracers into a file that needs no compiler where it is run"),
}
"""The subcommands that are no tracers: the module in cli/ whose ``run`` implements each, imported on use,
and its help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words[: words.index("--") if "--" in words else None]
    take_streams()
    try:
        inherited.accept_interrupts()
        try:
            status = _dispatch(words)
        except SystemExit as done:  # --help has been printed
            status = int(done.code or 0)
        sys.stdout.flush()  # here, where a reader that has gone is no error
        return status
    except PytracerError as error:
        report(error)
        if debug:
            import traceback

            for line in [*error.detail.splitlines(), *traceback.format_exc().splitlines()]:
                print(one_line(line), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (head, less): nothing is left to say, not even at interpreter exit.
        return 0
    except Exception as error:
        if debug:
            raise
        unexpected = _explained(error)
        report(unexpected)
        return unexpected.exit_code
    finally:
        if "pytracer.budget" in sys.modules:  # what was left out before, or without, a session
            sys.modules["pytracer.budget"].current().listen(_warn)


def _warn(line: str) -> None:
    print(f"pytracer: warning: {one_line(line)}", file=sys.stderr)


def _explained(error: Exception) -> PytracerError:
    """Describe an error that no part of pytracer raised on purpose."""
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return inherited.too_many_files()
    if isinstance(error, OSError):  # a full disk, a file that went away: the machine's trouble, not ours
        return PytracerError(str(error))
    if isinstance(error, ModuleNotFoundError):
        return PytracerError(
            f"the Python package {error.name} is not installed",
            hint="scripts/setup, or pip install pytracer, installs the dependencies",
        )
    if isinstance(error, ImportError):
        return PytracerError(
            f"a Python package cannot be loaded: {error}",
            hint="rm -r .venv and scripts/setup install all of them anew",
        )
    kind = type(error)  # struct.error is called "error"
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return PytracerError(f"{name}: {error}", hint="this is a defect of pytracer; --debug shows where")


def _dispatch(words: list[str]) -> int:
    words = _add_folders(words)
    name, rest = (words[0], words[1:]) if words else ("list", [])
    if name in ("-h", "--help", "help"):
        print(_usage())
        return _command("list", [])
    if name in ("-V", "--version"):
        print(f"pytracer {__version__}")
        return 0
    if name in COMMANDS:
        return _command(name, rest)
    if name == "run":
        from pytracer.cli import pack

        file, name, rest = pack.chosen(rest)
        return _trace(name, rest, pack=file)
    if name.startswith("-"):
        raise UsageError(f"the tracer comes first, not {name!r}", hint="pytracer list")
    return _trace(name, rest)


def _add_folders(words: list[str]) -> list[str]:
    """Search the folders that ``--tracers DIR`` before the tracer's name adds; return the other words."""
    while words[:1] == ["--tracers"] or (words and words[0].startswith("--tracers=")):
        option, equals, folder = words[0].partition("=")
        if not equals:
            if len(words) < 2:
                raise UsageError(f"{option} needs a folder", hint="pytracer --tracers DIR TRACER")
            folder = words[1]
        registry.add_folder(folder)
        words = words[1 if equals else 2 :]
    return words


def _command(name: str, words: list[str]) -> int:
    inherited.require_descriptors(_COMMAND_FILES)
    module = importlib.import_module(f"pytracer.cli.{COMMANDS[name][0]}")
    return int(module.run(words))


def _usage() -> str:
    commands = {name: summary for name, (_, summary) in COMMANDS.items()}
    commands["TRACER --help"] = "what one does, its options, examples"
    commands["run FILE"] = "run a tracer from such a file"
    commands["--tracers DIR TRACER"] = f"take tracers from a folder, too (or {registry.VARIABLE}=DIR:DIR)"
    return "\n".join([_USAGE, "", *(f"  pytracer {name:<20} {text}" for name, text in commands.items()), ""])


def _trace(name: str, words: list[str], *, pack: str = "") -> int:
    inherited.require_descriptors(_TRACER_FILES)
    tracer = registry.get(name)
    from pytracer.cli import parser
    from pytracer.cli.output import Output, OutputFile, require_no_terminal, standard_output

    request, given = parser.parse(tracer, words)
    request = replace(request, pack=pack)
    for warning in given.warnings:
        _warn(warning)

    from pytracer.features.kernel_facts import RunningKernel
    from pytracer.plan import make_plan, output_of

    status: StatusLine | None = None
    if os.isatty(2) and os.environ.get("TERM", "dumb") != "dumb":
        from pytracer.cli.status import open_status

        status = open_status()

    def warn(line: str) -> None:
        if status is not None:
            status.clear()
        _warn(line)

    def ready(plan: Plan) -> None:
        waits = plan.schema.is_stream and not plan.schema.is_listing and not request.command
        if status is not None and waits:
            from pytracer.cli.status import describe_wait

            print(f"pytracer: {one_line(describe_wait(plan))}", file=sys.stderr)

    def say(line: str) -> None:
        if given.verbose:
            if status is not None:
                status.clear()
            print(f"pytracer: {one_line(line)}", file=sys.stderr)

    if given.dry_run:
        for line in make_plan(request, RunningKernel()).describe():
            print(one_line(line))
        for default in given.defaults:
            print(one_line(f"default  {' '.join(default.words)}, from {default.file}"))
        return 0
    if given.emit_c:
        from pytracer.bpf.compile.source import emit

        plan = make_plan(request, RunningKernel())
        if plan.program != "c":
            raise UsageError(
                f"--program {plan.program} has no C", hint="its source is pytracer.bpf.asm.lessons"
            )
        print(emit(tracer.c_file, plan.defines, plan.generated), end="")
        return 0

    from pytracer.sinks import FILE_FORMATS, INTERVAL_FORMATS, TIMELINE_FORMATS, make_sink
    from pytracer.trace.run import run

    form = _format(given.format, output_of(request))
    counters = form in TIMELINE_FORMATS and isinstance(output_of(request), Table)
    if (counters or form in INTERVAL_FORMATS) and request.interval is None:
        # Stacks are shown by parts of a second, of which there are fifty.
        request = replace(request, interval=_PART if isinstance(output_of(request), Stacks) else _INTERVAL)

    with contextlib.ExitStack() as stack:
        name = given.output
        stream = standard_output() if name is None else stack.enter_context(OutputFile(name))
        # A command writes to the same terminal: nothing may be overwritten there.
        terminal = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not request.command
        if form in FILE_FORMATS:
            require_no_terminal(form, stream)
        sink = make_sink(
            form,
            stream,
            timestamps=given.timestamp,
            terminal=terminal,
            wide=getattr(given, "wide", False),
            raw=given.csv_raw,
            icicle=getattr(given, "icicle", False),
        )
        output = Output(stream)
        return run(
            request,
            RunningKernel,
            sink,
            say=say,
            warn=warn,
            ready=ready,
            strict=given.strict,
            output=output,
        )


def _format(wanted: str, output: SpecOutput) -> str:
    """Return the format for an output. Raises UsageError if it is not for this one."""
    from pytracer.sinks import INTERVAL_FORMATS, PROFILE_FORMAT, STACK_FORMATS, TIMELINE_FORMATS

    if isinstance(output, Profile):
        if wanted != "table":
            raise UsageError(f"a profile has a format of its own: it cannot be combined with -f {wanted}")
        return PROFILE_FORMAT
    if wanted in STACK_FORMATS and not isinstance(output, Stacks):
        raise UsageError(
            f"-f {wanted} is for stacks, and these are none", hint="--help names the option for them"
        )
    if wanted in TIMELINE_FORMATS and not isinstance(output, (Stream, Table)):
        raise UsageError(f"-f {wanted} is for events and tables, and these are none")
    if wanted in INTERVAL_FORMATS and not isinstance(output, (Histogram, Stacks)):
        hint = "--help names the option for them"
        raise UsageError(f"-f {wanted} is for histograms and stacks, and these are none", hint=hint)
    return wanted
