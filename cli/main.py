"""``pytracer``: run a tracer or subcommand, and report errors as one line and a hint."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from pytracer import __version__, inherited, startup
from pytracer.cli.output import one_line, report, report_of_script, take_streams
from pytracer.cli.running import Messages, print_instead, run_request, warn
from pytracer.errors import PytracerError, UsageError
from pytracer.record import replace
from pytracer.spec import Histogram, Profile, Stacks, Stream, Table, registry
from pytracer.spec import Output as SpecOutput

if TYPE_CHECKING:
    from pytracer.plan import Plan
    from pytracer.sinks import Sink

_INTERRUPTED = 128 + signal.SIGINT
# Free descriptors that are needed: with fewer, a file that cannot be opened would look like a missing one.
_COMMAND_FILES, _TRACER_FILES = 4, 16
_INTERVAL, _STACKS_INTERVAL = 1.0, 0.02  # default intervals of pictures, in seconds
_USAGE = "usage: pytracer TRACER [ARG...] [INTERVAL [COUNT]] [options] [-- COMMAND...]"
COMMANDS = {
    "list": ("listing", "list the tracers"),
    "schema": ("schema", "print a JSON Schema of a tracer's -f json output"),
    "list-probes": ("probes", "list the functions and events that PATTERNs match"),
    "doctor": ("doctor", "report what this kernel and machine support"),
    "script": ("script", "run a script in the language of bpftrace"),
    "prog": ("prog", "list, show, pin and unload BPF programs of any owner"),
    "explain": ("explain", "show each stage of a tracer, or explain a verifier error"),
    "serve": ("serve", "serve a page for a browser: live runs, pictures, start and stop"),
    "completion": ("completion", "print a completion script for bash, zsh or fish"),
    "man": ("man", "print the manual page of pytracer or of a tracer"),
    "diff": ("diff", "compare the stacks of two runs as a flame graph"),
    "cache": ("cache", "list or clear the cached programs and kernel types"),
    "pack": ("pack", "compile tracers for other kernels into one file"),
}
"""The subcommands: the module in cli/ whose ``run`` implements each, imported on use, and its help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line. Returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words[: words.index("--") if "--" in words else None]
    take_streams()
    try:
        inherited.accept_interrupts()
        try:
            status = _dispatch(words)
        except SystemExit as exit_request:  # --help has been printed
            status = int(exit_request.code or 0)
        sys.stdout.flush()  # here, where a closed pipe is no error
        return status
    except PytracerError as error:
        (report_of_script if words[:1] == ["script"] else report)(error)
        if debug:
            import traceback

            for line in [*error.detail.splitlines(), *traceback.format_exc().splitlines()]:
                print(one_line(line), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe, which is no error.
        return 0
    except Exception as error:
        if debug:
            raise
        unexpected = _describe_unexpected(error)
        report(unexpected)
        return unexpected.exit_code
    finally:
        if "pytracer.budget" in sys.modules:  # warnings from before a session, or without one
            sys.modules["pytracer.budget"].current().listen(warn)


def _describe_unexpected(error: Exception) -> PytracerError:
    """Describe an error that no part of pytracer raised on purpose."""
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return inherited.too_many_files()
    if isinstance(error, OSError):  # such as a full disk: no defect of pytracer
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
    name, arguments = (words[0], words[1:]) if words else ("list", [])
    if name in ("-h", "--help", "help"):
        print(_usage())
        return _command("list", [])
    if name in ("-V", "--version"):
        print(f"pytracer {__version__}")
        return 0
    if name in COMMANDS:
        return _command(name, arguments)
    if name == "run":
        from pytracer.cli import pack

        file, name, arguments = pack.chosen(arguments)
        return _trace(name, arguments, pack=file)
    if name.startswith("-"):
        raise UsageError(f"the tracer comes first, not {name!r}", hint="pytracer list")
    return _trace(name, arguments)


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
    startup.resume()
    return int(module.run(words))


def _usage() -> str:
    commands = {name: summary for name, (_, summary) in COMMANDS.items()}
    commands["TRACER --help"] = "describe a tracer, its options and columns, with examples"
    commands["run FILE"] = "run a tracer from a file that pack wrote"
    commands["--tracers DIR TRACER"] = f"also search a folder for tracers (or {registry.VARIABLE}=DIR:DIR)"
    return "\n".join([_USAGE, "", *(f"  pytracer {name:<20} {text}" for name, text in commands.items()), ""])


def _trace(name: str, words: list[str], *, pack: str = "") -> int:
    inherited.require_descriptors(_TRACER_FILES)
    tracer = registry.get(name)
    from pytracer.cli import tracer_parser
    from pytracer.cli.output import require_no_terminal
    from pytracer.cli.status import open_status

    request, options = tracer_parser.parse(tracer, words)
    request = replace(request, pack=pack)
    for warning in options.warnings:
        warn(warning)
    defaults = [f"default  {' '.join(default.words)}, from {default.file}" for default in options.defaults]
    if print_instead(options, request, defaults):
        return 0

    from pytracer.plan import output_of
    from pytracer.sinks import FILE_FORMATS, INTERVAL_FORMATS, TIMELINE_FORMATS, make_sink

    status = open_status()

    def ready(plan: Plan) -> None:
        waits = plan.schema.is_stream and not plan.schema.is_listing and not request.command
        if status is not None and waits:
            from pytracer.cli.status import describe_wait

            print(f"pytracer: {one_line(describe_wait(plan))}", file=sys.stderr)

    messages = Messages(verbose=options.verbose, status=status)
    if options.live is not None or tracer.live:
        from pytracer.cli import live

        if live.is_live(options, request):
            return live.show_live(options, request, [name, *words], messages)

    form = _format(options.format, output_of(request))
    counters = form in TIMELINE_FORMATS and isinstance(output_of(request), Table)
    if (counters or form in INTERVAL_FORMATS) and request.interval is None:
        # A heat map of stacks has fifty columns per second.
        request = replace(
            request, interval=_STACKS_INTERVAL if isinstance(output_of(request), Stacks) else _INTERVAL
        )

    def open_sink(stream: TextIO) -> Sink:
        # A command writes to the same terminal, where a table that refreshes would overwrite its lines.
        terminal = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not request.command
        if form in FILE_FORMATS:
            require_no_terminal(form, stream)
        return make_sink(
            form,
            stream,
            timestamps=options.timestamp,
            terminal=terminal,
            wide=getattr(options, "wide", False),
            raw=options.csv_raw,
            icicle=getattr(options, "icicle", False),
        )

    return run_request(options, request, open_sink, messages, ready)


def _format(name: str, output: SpecOutput) -> str:
    """Return the format for an output. Raises UsageError if the output does not have this format."""
    from pytracer.sinks import INTERVAL_FORMATS, PROFILE_FORMAT, STACK_FORMATS, TIMELINE_FORMATS

    if isinstance(output, Profile):
        if name != "table":
            raise UsageError(f"a profile has a format of its own: it cannot be combined with -f {name}")
        return PROFILE_FORMAT
    if name in STACK_FORMATS and not isinstance(output, Stacks):
        raise UsageError(
            f"-f {name} is for stacks, which this tracer does not print", hint="--help lists the options"
        )
    if name in TIMELINE_FORMATS and not isinstance(output, (Stream, Table)):
        raise UsageError(f"-f {name} is for events and tables, which this tracer does not print")
    if name in INTERVAL_FORMATS and not isinstance(output, (Histogram, Stacks)):
        hint = "--help lists the options"
        raise UsageError(
            f"-f {name} is for histograms and stacks, which this tracer does not print", hint=hint
        )
    return name
