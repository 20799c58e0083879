"""The rows on the screen: of a view, those that there is room for, below their headings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from textual.binding import Binding, BindingType
from textual.events import Resize

from pytracer.screen.lines import CURSOR, HEAD, PLAIN, TREND, Lines, Part
from pytracer.spec import Column
from pytracer.view import TableView, View, sparkline
from pytracer.view.events import TIME

_TREND = 12  # characters
_WIDEST = 60  # characters of a column that is not the last
_GAP = "  "
_MARKS = {True: "▼", False: "▲"}


class RowsPane(Lines, can_focus=True):
    """Rows, one of which the cursor is on. At the end of a log it stays at the end."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "edge(False)", show=False),
        Binding("end,G", "edge(True)", show=False),
        Binding("shift+left,h", "columns(-1)", show=False),
        Binding("shift+right,l", "columns(1)", show=False),
    ]

    def __init__(self, view: View, *, wide: bool, ascii_only: bool) -> None:
        """Show what ``view`` has; ``wide``: all columns of it."""
        super().__init__("rows")
        self.view, self.wide = view, wide
        self.cursor = self._top = 0
        self.follows = view.schema.is_stream
        self._ascii = ascii_only
        self._skipped = 0  # columns that are left of the screen
        self._widths: dict[str, int] = {}

    @property
    def columns(self) -> list[Column]:
        """The columns that are shown, from the left."""
        columns = [column for column in self.view.columns if self.wide or not column.wide]
        return ([TIME] if self.view.schema.is_stream else []) + columns

    @property
    def room(self) -> int:
        """The number of rows that there is room for."""
        return max(self.size.height - 1, 0)

    def selected(self) -> dict[str, Any] | None:
        """Return the row that the cursor is on."""
        found = self.view.rows(self.cursor, 1)
        return found[0] if found else None

    def update_rows(self) -> None:
        """Draw what has changed."""
        total = len(self.view)
        last = max(total - 1, 0)
        if self.follows and not self.view.paused:
            self.cursor = last
        self.cursor = min(self.cursor, last)
        room = max(self.room, 1)
        self._top = min(max(self._top, self.cursor - room + 1), self.cursor, max(total - room, 0))
        if self.follows and not self.view.paused:
            self._top = max(total - room, 0)
        rows = self._rows(room)  # which first: it sets widths
        self.draw([self._heading(), *self._lines(rows)])

    def _rows(self, room: int) -> list[list[str]]:
        """Return the text of the rows; the width of a column only grows, so that rows stay in their place."""
        columns = self.columns[self._skipped :]
        rows = self.view.cells(self._top, room, columns)
        for number, column in enumerate(columns):
            widest = max((cell_len(row[number]) for row in rows), default=0)
            least = max(len(column.header) + 1, column.width, self._widths.get(column.name, 0))
            self._widths[column.name] = max(least, min(widest, _WIDEST))
        if isinstance(self.view, TableView) and self.view.trend_column() is not None:
            for row, values in zip(rows, self.view.rows(self._top, room), strict=False):
                row.append(sparkline(self.view.trend(values, _TREND), _TREND, ascii_only=self._ascii))
        return rows

    def _heading(self) -> list[Part]:
        parts = list[Part]()
        for column in self.columns[self._skipped :]:
            mark = _MARKS[self.view.descending] if column.name == self.view.sort else ""
            if self._ascii and mark:
                mark = "-" if self.view.descending else "+"
            parts += [(self._fit(column, column.header + mark), HEAD), (_GAP, PLAIN)]
        if isinstance(self.view, TableView) and (trend := self.view.trend_column()) is not None:
            parts.append((f"{trend.header} TREND"[:_TREND].rjust(_TREND), HEAD))
        return parts

    def _lines(self, rows: list[list[str]]) -> list[list[Part]]:
        columns = self.columns[self._skipped :]
        lines = list[list[Part]]()
        for number, row in enumerate(rows, self._top):
            selected = number == self.cursor
            style = CURSOR if selected else PLAIN
            texts = [self._fit(column, text) for column, text in zip(columns, row, strict=False)]
            line: list[Part] = [(_GAP.join(texts), style)]
            for trend in row[len(columns) :]:
                line.append((_GAP + trend, CURSOR if selected else TREND))
            lines.append(line)
        return lines

    def _fit(self, column: Column, text: str) -> str:
        width = self._widths.get(column.name, len(column.header) + 1)
        if column is self.columns[-1] and column.is_text and self.view.schema.is_stream:
            return text
        length = cell_len(text)
        if length > width:
            return set_cell_size(text, width)
        left = column.is_text or column is TIME or column.decode == "stack"
        return text + " " * (width - length) if left else " " * (width - length) + text

    # ---- moving

    def action_move(self, by: int) -> None:
        """Move the cursor; in a log that goes on, away from its end."""
        self._go(self.cursor + by)

    def action_page(self, by: int) -> None:
        """Move it by what is on the screen."""
        self._top += by * self.room
        self._go(self.cursor + by * self.room)

    def action_edge(self, last: bool) -> None:
        """Go to the first row or the last one. At the last, a log is followed again."""
        if last and self.view.schema.is_stream and not self.view.sort:
            self.view.resume()
        self._go(len(self.view) - 1 if last else 0)

    def action_columns(self, by: int) -> None:
        """Show columns that are further to the left or right."""
        self._skipped = min(max(self._skipped + by, 0), len(self.columns) - 1)
        self.update_rows()

    def _go(self, row: int) -> None:
        total = len(self.view)
        self.cursor = min(max(row, 0), max(total - 1, 0))
        if self.view.schema.is_stream and self.cursor < total - 1:
            self.view.pause()
        self._top = max(self._top, 0)
        self.update_rows()

    def on_resize(self, _event: Resize) -> None:
        """Show more rows, or fewer."""
        self.update_rows()

    def cycle_sort(self, by: int) -> None:
        """Sort by the next column, or the one before."""
        names: Sequence[str] = [column.name for column in self.columns if column is not TIME]
        at = names.index(self.view.sort) if self.view.sort in names else (-1 if by > 0 else 0)
        self.view.sort_by(names[(at + by) % len(names)])
        self.update_rows()
