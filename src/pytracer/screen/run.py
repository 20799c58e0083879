"""Run a tracer on the live screen: the run in a thread, the screen in this one; the terminal is restored."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import IO

from pytracer import inherited, progress
from pytracer.errors import LossError, UsageError
from pytracer.model import Item, Schema
from pytracer.plan import KernelInfo, output_of
from pytracer.record import replace
from pytracer.request import Request
from pytracer.screen.command_line import LIVE
from pytracer.spec import Stream, Tracer, registry
from pytracer.spec.script import SCRIPT
from pytracer.trace.event_loop import EventLoop
from pytracer.trace.loop import TraceLoop
from pytracer.view import make_view
from pytracer.view.closer import Filters, Suggestion
from pytracer.view.script import ScriptViews

_INTERVAL = 1.0  # seconds, if nothing is said
_NAP = 0.1  # seconds between two readings of a ring, which has room for more: the screen changes no sooner
# What a program that dies on the screen leaves behind: the alternate screen, a hidden cursor, keys and the
# focus reported, lines that do not wrap, attributes.
_RESET = "\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l\x1b[?2004l\x1b[?2048l\x1b[?7h\x1b[0m"


def is_terminal() -> bool:
    """Return whether there is a terminal that can show a screen."""
    return all(map(os.isatty, range(3))) and os.environ.get("TERM", "dumb") != "dumb"


def has_screen() -> bool:
    """Return whether a live screen can be shown."""
    return is_terminal() and importlib.util.find_spec("textual") is not None


def require_screen() -> None:
    """Raise UsageError if there is no terminal for a live screen, or no Textual."""
    if not is_terminal():
        raise UsageError(f"{LIVE} needs a terminal", hint="without it, tables go to files and pipes")
    try:
        import textual  # noqa: F401 - an extra
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{LIVE} needs the Python package {error.name}",
            hint="scripts/setup, or pip install 'pytracer[live]', installs it",
        ) from error


def run_live(
    request: Request,
    facts: Callable[[], KernelInfo],
    words: Sequence[str],
    *,
    log: Callable[[str], None],
    warn: Callable[[str], None],
    is_strict: bool,
    wide: bool,
) -> int:
    """Run a tracer on the screen until it is left. Returns the exit status.

    ``words`` are the command line, without ``pytracer``. The command's output is shown when the screen is
    left. Raises LossError under ``is_strict`` where anything was lost.
    """
    require_screen()
    if request.interval is None and (request.script or not isinstance(output_of(request), Stream)):
        request = replace(request, interval=_INTERVAL)
    with contextlib.ExitStack() as stack:
        events = EventLoop()
        stack.callback(events.close)
        output_file = stack.enter_context(tempfile.TemporaryFile()) if request.command else None
        output = None if output_file is None else output_file.fileno()
        messages = _Messages(log, warn)
        with TraceLoop(
            request,
            facts,
            events=events,
            log=messages.say,
            warn=messages.warn,
            output=(output, output),
            poll_pause=_NAP,
        ) as trace:
            printed = _show(
                trace, trace.schema, trace.stop, request.tracer, words, messages,
                wide=wide, filters=request.filters,
            )  # fmt: skip
        if output_file is not None:
            _replay(output_file)
        messages.flush()
        for line in printed:
            print(line)
        for reason, number in messages.lost.items():
            warn(f"lost: {number} {reason}")
    if is_strict and trace.lost:
        raise LossError(f"{trace.lost} lost", hint="the 'lost' lines show the reasons")
    return trace.status


class _Messages:
    """Messages of a run: on the screen while there is one, warnings on standard error afterwards, too."""

    def __init__(self, log: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self._say, self._warn = log, warn
        self._held_back: list[str] | None = None
        self._notes: list[str] = []
        self.lost: dict[str, int] = {}

    def keep(self, notes: list[str]) -> None:
        """Add messages to ``notes`` from now on, since anything written would cover the screen."""
        self._held_back, self._notes = [], notes

    def say(self, line: str) -> None:
        """Print a message about a step, unless there is a screen."""
        if self._held_back is None:
            self._say(line)

    def warn(self, line: str) -> None:
        """Add a warning."""
        if self._held_back is None:
            self._warn(line)
        else:
            self._held_back.append(line)
            self._notes.append(line)

    def flush(self) -> None:
        """Print the stored messages."""
        held_back, self._held_back = self._held_back or [], None
        for line in held_back:
            self._warn(line)


def show_items(
    items: Iterable[Item],
    schema: Schema,
    stop: Callable[[], None],
    tracer: Tracer,
    words: Sequence[str],
    *,
    warn: Callable[[str], None],
    wide: bool,
) -> None:
    """Show items on the screen until it is left; ``stop`` makes them end."""
    require_screen()
    messages = _Messages(warn, warn)
    for line in _show(items, schema, stop, tracer, words, messages, wide=wide):
        print(line)
    messages.flush()


def _show(
    items: Iterable[Item],
    schema: Schema,
    stop: Callable[[], None],
    tracer: Tracer,
    words: Sequence[str],
    messages: _Messages,
    *,
    wide: bool,
    filters: Filters | None = None,
) -> list[str]:
    """Show items until the screen is left. Returns the requested command lines."""
    views = (
        ScriptViews(schema, lambda new_view: app.post(lambda: app.add_view(new_view)))
        if tracer is SCRIPT
        else None
    )
    view = make_view(schema) if views is None else views.printed
    messages.keep(view.notes)
    steps = progress.report_to(lambda line: view.notes.append(line) if line else None)
    closer = _Closer()
    colour = os.environ.get("NO_COLOR")
    from pytracer.screen.app import LiveApp

    app = LiveApp(view, tracer, words, wide=wide, open_closer=closer.run, filters=filters)
    if colour is not None:  # Textual takes it away, and what the screen starts is to have it
        os.environ["NO_COLOR"] = colour

    def read() -> None:
        try:
            for item in items:
                (views or view).add(item)
            app.post(app.run_ended)
        except Exception as error:
            app.post(lambda error=error: app.fail(error))  # type: ignore[misc]

    reader = threading.Thread(target=read, name="pytracer-reader")
    with _terminal(), _signals(app.request_exit, app.hang_up, closer):
        reader.start()
        try:
            app.run(mouse=False)
        finally:
            stop()
            reader.join()
            progress.report_to(steps)
    messages.lost = {loss.meaning: loss.lost for loss in view.lost.values()}
    if app.failure is not None:
        raise app.failure
    return app.printed


class _Closer:
    """Runs a command line that looks closer, on the terminal that the screen leaves to it."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[bytes] | None = None

    def run(self, app: object, choice: Suggestion) -> None:
        """Run a trace to its end, while the screen shows it."""
        from pytracer.screen.app import LiveApp

        assert isinstance(app, LiveApp)
        with app.suspend():
            # A process of its own: to fork in this one, which has threads, is no good.
            self.child = subprocess.Popen([*_itself(), *choice.words, LIVE])
            try:
                status = self.child.wait()
            finally:
                self.child = None
            if status:
                with contextlib.suppress(EOFError):
                    input("pytracer: enter goes back ")


def _itself() -> list[str]:
    """Return the words that start pytracer in the same way, with no modules of the current folder."""
    options = sys._xoptions.get(inherited.OPTION)
    option = [] if options is None else ["-X", f"{inherited.OPTION}={options}"]
    folders = [word for folder in registry.added_folders() for word in ("--tracers", str(folder))]
    return [sys.executable, "-I", *option, "-m", "pytracer", *folders]


@contextlib.contextmanager
def _terminal() -> Iterator[None]:
    """Restore the terminal in every case."""
    before = termios.tcgetattr(0)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.write(2, _RESET.encode())
        raise
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _signals(
    request_exit: Callable[[], None], hang_up: Callable[[], None], closer: _Closer
) -> Iterator[None]:
    """Let signals that end a run close the screen and end the processes that it started."""

    def ends(number: int, _frame: FrameType | None) -> None:
        if closer.child is not None:
            if number == signal.SIGINT:  # it has got it, too
                return
            closer.child.send_signal(number)
        (hang_up if number == signal.SIGHUP else request_exit)()

    numbers = filter(inherited.is_ours, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    before = {number: inherited.handle(number, ends) for number in numbers}
    own_handlers = {
        number: signal.getsignal(number) for number in (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)
    }
    try:
        yield
    finally:
        for number, handler in {**own_handlers, **before}.items():
            inherited.handle(number, handler)


def _replay(output_file: IO[bytes]) -> None:
    """Write the output of the command to standard output, after the screen has closed."""
    output_file.seek(0)
    sys.stdout.flush()
    with open(os.dup(1), "wb") as output:
        shutil.copyfileobj(output_file, output)
