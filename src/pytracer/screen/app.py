"""The application on the screen: keys, and their effects on the view.

It draws at most twice a second, and only what has changed; the run goes on in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import locale
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.timer import Timer

from pytracer.screen import command_line, keys, saving
from pytracer.screen.dialogs import Menu, Question, TextDialog
from pytracer.screen.job_control import resume_once
from pytracer.screen.lines import ALARM, BOLD, DIM, PLAIN, TREND, Lines, Part
from pytracer.screen.pacing import QUERY, Pacer, can_write
from pytracer.screen.rows import RowsPane
from pytracer.sinks.formatting import duration
from pytracer.spec import Tracer, Unit, registry
from pytracer.text import harmless
from pytracer.view import TableView, View, sparkline
from pytracer.view.closer import Filters, Suggestion, find_closer
from pytracer.view.detail import describe

PERIOD = 0.5  # seconds between two looks at what has come in
_LEAVE = 5.0  # seconds that the terminal has to show what is on its way, before it is left
_TREND = 20  # characters


class LiveApp(App[None]):
    """A view on the terminal. ``failure`` is what ended it, if it did not end as it should."""

    TITLE = "pytracer"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen, ModalScreen { background: ansi_default; color: ansi_default; }
    #title, #status, #keys { height: 1; }
    #alarm { height: auto; display: none; }
    #rows { height: 1fr; }
    ModalScreen { align: center middle; }
    .dialog { width: 90%; max-width: 110; height: auto; max-height: 90%; border: solid ansi_default;
        background: ansi_default; padding: 0 1; scrollbar-size-vertical: 1; }
    .dialog OptionList { height: auto; max-height: 20; border: none; background: ansi_default; padding: 0; }
    .dialog Input { background: ansi_default; border: none; }
    .-ascii .dialog { border: ascii ansi_default; }
    .error { text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c,ctrl+q", "leave", show=False, priority=False),
        Binding("ctrl+c", "leave", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False),
        Binding("space", "pause", show=False),
        Binding("less_than_sign", "sort(-1)", show=False),
        Binding("greater_than_sign", "sort(1)", show=False),
        Binding("r", "reverse", show=False),
        Binding("left,left_square_bracket", "interval(-1)", show=False),
        Binding("right,right_square_bracket", "interval(1)", show=False),
        Binding("a", "whole_run", show=False),
        Binding("tab", "view(1)", show=False, priority=True),
        Binding("shift+tab", "view(-1)", show=False, priority=True),
        Binding("slash", "filter", show=False),
        Binding("enter", "row", show=False),
        Binding("s", "closer('stacks')", show=False),
        Binding("e", "closer('events')", show=False),
        Binding("p", "closer('process')", show=False),
        Binding("c", "command", show=False),
        Binding("w", "save", show=False),
        Binding("question_mark", "help", show=False),
    ]

    def __init__(
        self,
        view: View,
        tracer: Tracer,
        words: Sequence[str],
        *,
        wide: bool = False,
        open_closer: Callable[[LiveApp, Suggestion], None] | None = None,
        filters: Filters | None = None,
    ) -> None:
        """Show ``view``, of a run of ``tracer`` with the command line ``words`` and these ``filters``.
        ``open_closer`` runs a command line that looks closer."""
        super().__init__(ansi_color=True)  # the terminal's own colours and background, and none with NO_COLOR
        self.theme = "ansi-dark"
        self.view, self.tracer, self.words = view, tracer, list(words)
        self.views = [view]  # of a script: what it prints, and its maps
        self.failure: Exception | None = None
        self.ended = False  # the run is over
        self.printed: list[str] = []  # command lines that were asked for
        self._look, self._of_run = open_closer, filters or {}
        self._ascii = not locale.getpreferredencoding(do_setlocale=False).lower().startswith("utf")
        self._rows = RowsPane(view, wide=wide, ascii_only=self._ascii)
        self._lines = {name: Lines(name) for name in ("title", "alarm", "status", "keys")}
        self._measured = time.monotonic()
        self._message = ""
        self._ticks: Timer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving = False  # the end was requested, perhaps before there was a loop
        self._pacer = Pacer()
        self._then: Callable[[], None] | None = None  # what waits until the terminal has shown all

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield self._lines["title"]
        yield self._rows
        yield self._lines["alarm"]
        yield self._lines["status"]
        yield self._lines["keys"]

    def on_mount(self) -> None:
        """Start to draw."""
        self._loop = asyncio.get_running_loop()
        if self._leaving:
            self.exit()
        self.set_class(self._ascii, "-ascii")
        if not self.is_headless:
            resume_once()
        self._rows.focus()
        self._ticks = self.set_interval(PERIOD, self.tick)
        self.call_after_refresh(self.draw)

    def tick(self) -> None:
        """Draw new results, unless the terminal has not accepted the last frame."""
        now = time.monotonic()
        self.view.measure(now - self._measured)
        self._measured = now
        if self._pacer.is_ready(now) and (self.is_headless or can_write(2)):
            self.draw()
            self.call_after_refresh(self._query)

    def _query(self) -> None:
        if self._driver is not None and not self.is_headless and self._pacer.add_query(time.monotonic()):
            self._driver.write(QUERY)

    def on_cursor_position(self) -> None:
        """Handle the terminal's answer: it has shown the last drawing."""
        self._pacer.add_answer()
        if not self._pacer.is_waiting:
            self._go_on()

    def _after_answer(self, action: Callable[[], None]) -> None:
        """Run an action that gives the terminal to another program, once the terminal has answered our query:
        the other program must not read that answer."""
        if not self._pacer.is_waiting or self._then is not None:
            action()
            return
        self._then = action
        self.set_timer(_LEAVE, self._go_on)

    def _go_on(self) -> None:
        action, self._then = self._then, None
        if action is not None:
            action()

    def draw(self) -> None:
        """Draw changes."""
        self._rows.update_rows()
        self._lines["title"].draw([self._title()])
        lost = [[(f"lost: {loss.lost} {harmless(loss.meaning)}", ALARM)] for loss in self.view.lost.values()]
        alarm = self._lines["alarm"]
        alarm.styles.height = len(lost)
        alarm.display = bool(lost)
        alarm.draw(lost)
        self._lines["status"].draw([self._status()])
        self._lines["keys"].draw([keys.fitting(self.size.width)])

    def _title(self) -> list[Part]:
        view = self.view
        parts: list[Part] = [(f"{view.schema.tracer}  ", BOLD), (view.title(), PLAIN)]
        if view.rates:
            column = view.rate_column if isinstance(view, TableView) else None
            rate, unit = f"{view.rates[-1]:,.0f}", "rows" if isinstance(view, TableView) else "events"
            if column is not None:
                unit = column.header.lower()
            if column is not None and column.unit is Unit.NANOSECONDS:
                rate = duration(round(view.rates[-1]))
            parts.append((f"  {rate} {unit}/s ", PLAIN))
            parts.append((sparkline(view.rates, _TREND, ascii_only=self._ascii).strip(), TREND))
        if len(self.views) > 1:
            number = self.views.index(view) + 1
            parts.append((f"  {number} of {len(self.views)} views (tab)", PLAIN))
        if self.ended:
            parts.append(("  ended", BOLD))
        if view.paused:
            parts.append(("  paused", BOLD))
        return parts

    def _status(self) -> list[Part]:
        view, rows = self.view, len(self.view)
        position = f"row {self._rows.cursor + 1} of {rows}" if rows else "no rows"
        # A message comes first: a narrow screen has no room for it behind the rest.
        parts: list[Part] = [(f"{harmless(self._message)}  ", BOLD)] if self._message else []
        parts.append((position, PLAIN))
        column_count, columns = self._rows.shown, len(self._rows.columns)
        if len(column_count) < columns:
            parts.append(
                (f"  columns {column_count.start + 1}-{column_count.stop} of {columns} (h l)", PLAIN)
            )
        if view.sort:
            parts.append((f"  by {view.sort}{'' if view.descending else ', least first'}", PLAIN))
        if view.filter:
            parts.append((f"  filter {harmless(view.filter.text)}", BOLD))
        if view.notes and not self._message:
            parts.append((f"  {harmless(view.notes[-1])}", DIM))
        return parts

    def say(self, text: str) -> None:
        """Show a message until the next key."""
        self._message = text
        self.draw()

    def on_key(self) -> None:
        """Drop a message."""
        self._message = ""

    # ---- keys

    def action_leave(self) -> None:
        """Leave the screen and end the run; pressed again, at once."""
        self._after_answer(self.exit)

    def action_suspend_process(self) -> None:
        """Stop by job control."""
        self._after_answer(super().action_suspend_process)

    def action_pause(self) -> None:
        """Pause or resume the display."""
        if self.view.paused:
            self.view.resume()
        else:
            self.view.pause()
        self.draw()

    def action_sort(self, count: int) -> None:
        """Sort by another column."""
        self._rows.cycle_sort(count)
        self.draw()

    def action_reverse(self) -> None:
        """Reverse the order."""
        if self.view.sort:
            self.view.sort_by(self.view.sort, descending=not self.view.descending)
            self.draw()

    def action_interval(self, count: int) -> None:
        """Show another interval."""
        self.view.step(count)
        self.draw()

    def add_view(self, view: View) -> None:
        """Add a view, and show it if there was nothing to show. For the loop's thread."""
        self.views.append(view)
        if len(self.view) == 0:
            self.show_view(view)

    def show_view(self, view: View) -> None:
        """Show another view."""
        self.view = view
        self._rows.show_view(view)
        self.draw()

    def action_view(self, count: int) -> None:
        """Show the next view, or the one before."""
        if len(self.views) > 1 and len(self.screen_stack) == 1:
            self.show_view(self.views[(self.views.index(self.view) + count) % len(self.views)])

    def action_whole_run(self) -> None:
        """Show the whole run so far, or again the newest interval."""
        view = self.view
        if not isinstance(view, TableView) or not view.has_whole_run:
            self.say("these rows cannot be added up: the end of the run shows all of it")
            return
        (view.resume if view.shows_whole_run else view.show_whole_run)()
        self.draw()

    def action_filter(self) -> None:
        """Show the dialog for a filter."""

        def accept(text: str) -> None:
            self.view.set_filter(text)
            self.draw()

        self.push_screen(Question("filter: COLUMN=VALUE, > <, ~TEXT, words", self.view.filter.text, accept))

    def action_row(self) -> None:
        """Show everything about a row."""
        row = self._rows.selected()
        if row is not None:
            self.push_screen(
                TextDialog(self.view.schema.tracer, describe(self.view, row, ascii_only=self._ascii))
            )

    def action_closer(self, purpose: str) -> None:
        """Offer tracers that look closer at a row."""
        row = self._rows.selected()
        tracers = registry.all_tracers(lambda _: None)
        choices = [] if row is None else list(find_closer(purpose, self.tracer, row, tracers, self._of_run))
        if not choices:
            self.say("this row names no process, thread or name to look closer at")
            return
        lines = [f"{command_line.shown(choice.words)}  {choice.text}" for choice in choices]

        def chosen(number: int | None) -> None:
            if number is not None and (open_closer := self._look) is not None:
                self._after_answer(lambda: open_closer(self, choices[number]))

        self.push_screen(Menu(f"its {purpose}", lines), chosen)

    def action_command(self) -> None:
        """Show the command line for the current view; it is printed at the end, too."""
        text = command_line.shown(command_line.of_screen(self.words, self.tracer, self.view))
        if text not in self.printed:
            self.printed.append(text)
        note = "It is printed when the screen is left, to be copied."
        self.push_screen(TextDialog("the command line for what is on the screen", [text, "", note]))

    def action_save(self) -> None:
        """Show the dialog for the name of a file."""

        def accept(name: str) -> None:
            rows = saving.save(self.view, name)
            self.say(f"{rows} rows are in {name}")

        self.push_screen(
            Question("write to (.csv .json .md .yaml .txt)", saving.suggested(self.view), accept)
        )

    def action_help(self) -> None:
        """Explain the keys."""
        self.push_screen(TextDialog("keys", keys.HELP.splitlines()))

    # ---- the run, and signals

    def post(self, call: Callable[[], object]) -> None:
        """Schedule a call in the loop's thread; from any thread, and from signal handlers."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is shown any more
                self._loop.call_soon_threadsafe(call)

    def request_exit(self) -> None:
        """End soon; from any thread, and from signal handlers."""
        self._leaving = True
        self.post(self.action_leave)

    def hang_up(self) -> None:
        """End because the terminal has gone: nothing will answer."""
        self._leaving = True
        self.post(self.exit)

    def run_ended(self) -> None:
        """Show that the run is over; its results stay on the screen. Called in the loop's thread."""
        self.ended = True
        self.draw()

    def fail(self, error: Exception) -> None:
        """End because of an error."""
        self.failure = self.failure or error
        self.exit()

    def _handle_exception(self, error: Exception) -> None:
        # Textual would print a page of its own: errors of pytracer are one line and a hint.
        self.failure = self.failure or error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()
