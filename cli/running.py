"""Run a request for a subcommand: print its plan or its C, or trace, with messages on standard error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from pytracer.cli.output import OutputFile, TextOutput, one_line, standard_output
from pytracer.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from pytracer.cli.status import StatusLine
    from pytracer.plan import Plan
    from pytracer.request import Request
    from pytracer.sinks import Sink


def warn(line: str) -> None:
    """Print a warning to standard error."""
    print(f"pytracer: warning: {one_line(line)}", file=sys.stderr)


class Messages:
    """The messages of a run on standard error. Each clears the status line, if there is one."""

    def __init__(self, *, verbose: bool, warnings: bool = True, status: StatusLine | None = None) -> None:
        """Print steps only if ``verbose``, and warnings only if ``warnings``."""
        self._verbose, self._warnings, self._status = verbose, warnings, status

    def say(self, line: str) -> None:
        """Report a step, if steps are reported."""
        if self._verbose:
            self._clear_status()
            print(f"pytracer: {one_line(line)}", file=sys.stderr)

    def warn(self, line: str) -> None:
        """Print a warning, unless warnings are off."""
        if self._warnings:
            self._clear_status()
            self.print_warning(line)

    def print_warning(self, line: str) -> None:
        """Print a warning."""
        warn(line)

    def _clear_status(self) -> None:
        if self._status is not None:
            self._status.clear()


def print_instead(options: argparse.Namespace, request: Request, extra: Sequence[str] = ()) -> bool:
    """Print the plan for --dry-run, with the ``extra`` lines, or the C for --emit-c.

    Returns False if neither option is given, so that the request is to be run. Raises UsageError if the
    tracer has no C.
    """
    if not (options.dry_run or options.emit_c):
        return False
    from pytracer.features.kernel_facts import RunningKernel
    from pytracer.plan import make_plan

    with contextlib.closing(RunningKernel()) as facts:
        plan = make_plan(request, facts)
    if options.dry_run:
        for line in (*plan.describe(), *extra):
            print(one_line(line))
        return True
    if plan.syscall_filter is not None:
        raise UsageError("a filter of system calls has no C", hint="--dry-run shows the plan")
    if plan.program != "c":
        raise UsageError(f"--program {plan.program} has no C", hint="its source is pytracer.bpf.asm.lessons")
    from pytracer.bpf.compile.source import emit

    print(emit(request.tracer.c_file, plan.defines, plan.generated), end="")
    return True


def run_request(
    options: argparse.Namespace,
    request: Request,
    open_sink: Callable[[TextIO], Sink],
    messages: Messages,
    ready: Callable[[Plan], None] = lambda _: None,
) -> int:
    """Trace, and write the results to --output or standard output. Returns the exit status."""
    from pytracer.features.kernel_facts import RunningKernel
    from pytracer.trace.run_tracer import run

    with contextlib.ExitStack() as stack:
        stream = (
            standard_output() if options.output is None else stack.enter_context(OutputFile(options.output))
        )
        sink = open_sink(stream)
        if options.verbose:
            from pytracer.cli.rates import RateSink
            from pytracer.cli.unnamed import UnnamedSink

            sink = UnnamedSink(RateSink(sink, messages.say), messages.say)
        return run(
            request,
            RunningKernel,
            sink,
            log=messages.say,
            warn=messages.warn,
            ready=ready,
            is_strict=options.strict,
            output=TextOutput(stream),
        )
