"""``--live``: whether a run is shown on a live screen, and the run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytracer.errors import UsageError
from pytracer.plan import output_of
from pytracer.request import Request
from pytracer.spec import Profile

if TYPE_CHECKING:
    from pytracer.cli.running import Messages


def is_live(options: argparse.Namespace, request: Request) -> bool:
    """Return whether a run is shown on a live screen. Raises UsageError if its output has none."""
    other = options.output is not None or options.format != "table"
    if options.live is None:
        if other or not request.tracer.live or request.command:
            return False
        from pytracer.screen.run import has_screen

        return has_screen()
    if options.live and other:
        raise UsageError(
            "--live cannot be combined with -f or -o", hint="on the screen, w writes the rows to a file"
        )
    if options.live and isinstance(output_of(request), Profile):
        raise UsageError("a profile has a format of its own: it cannot be combined with --live")
    return bool(options.live)


def show_live(options: argparse.Namespace, request: Request, words: Sequence[str], messages: Messages) -> int:
    """Run a tracer on a live screen. ``words`` are its command line. Returns the exit status."""
    from pytracer.features.kernel_facts import RunningKernel
    from pytracer.screen.run import run_live

    return run_live(
        request,
        RunningKernel,
        words,
        log=messages.say,
        warn=messages.warn,
        is_strict=options.strict,
        wide=getattr(options, "wide", False),
    )
