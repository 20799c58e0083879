"""The rows on the screen: of a view, those that there is room for, below their headings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from textual.binding import Binding, BindingType
from textual.events import Resize

from pytracer.screen.lines import CURSOR, HEAD, PLAIN, TREND, Lines, Part
from pytracer.spec import Column
from pytracer.view import TableView, View, sparkline
from pytracer.view.events import TIME

_TREND, _TREND_LEAST, _DISTRIBUTION = 12, 6, 24  # characters
_WIDEST = 60  # characters of a column that is not the last
_GAP = "  "
_MARKS = {True: "▼", False: "▲"}


class RowsPane(Lines, can_focus=True):
    """Rows with a cursor on one of them. At the end of a log the cursor follows new rows."""

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
        """Show the rows of ``view``. ``wide``: all columns, even if they do not fit."""
        super().__init__("rows")
        self.wide, self._ascii = wide, ascii_only
        self.show_view(view)

    def show_view(self, view: View) -> None:
        """Show another view from its first row on, or its end."""
        self.view = view
        self.cursor = self._top = 0
        self.follows = view.schema.is_stream
        self._skipped = 0  # columns that are left of the screen
        self._widths: dict[str, int] = {}
        self._trend_width = _TREND  # characters that there is room for
        self.shown = range(0)  # the columns on the screen, of ``columns``

    @property
    def columns(self) -> list[Column]:
        """The columns that are shown, from the left."""
        time_columns = [TIME] if self.view.schema.is_stream else []
        all_columns = [*time_columns, *self.view.columns]
        if self.wide or sum(map(self._width_of, all_columns)) + _TREND <= self.size.width:
            return all_columns
        return [column for column in all_columns if not column.wide]

    def _width_of(self, column: Column) -> int:
        min_width = max(len(column.header) + 1, column.width, self._widths.get(column.name, 0))
        return min_width + len(_GAP)

    @property
    def room(self) -> int:
        """The number of rows that there is room for."""
        return max(self.size.height - 1, 0)

    def selected(self) -> dict[str, Any] | None:
        """Return the row that the cursor is on."""
        found = self.view.rows(self.cursor, 1)
        return found[0] if found else None

    def update_rows(self) -> None:
        """Draw changes."""
        total = len(self.view)
        last = max(total - 1, 0)
        if self.follows and not self.view.paused:
            self.cursor = last
        self.cursor = min(self.cursor, last)
        row_count = max(self.room, 1)
        self._top = min(max(self._top, self.cursor - row_count + 1), self.cursor, max(total - row_count, 0))
        if self.follows and not self.view.paused:
            self._top = max(total - row_count, 0)
        columns, rows = self._rows(self.columns[self._skipped :], row_count)
        self.shown = range(self._skipped, self._skipped + len(columns))
        self.draw([self._heading(columns), *self._lines(columns, rows)])

    def _rows(self, columns: Sequence[Column], row_count: int) -> tuple[Sequence[Column], list[list[str]]]:
        """Return the columns that there is room for, and the text of the rows. The width of a column only
        grows, so that rows stay in their place."""
        rows = self.view.cells(self._top, row_count, columns)
        for number, column in enumerate(columns):
            widest = max((cell_len(row[number]) for row in rows), default=0)
            min_width = self._width_of(column) - len(_GAP)
            self._widths[column.name] = max(min_width, min(widest, _WIDEST))
        columns = self._fitting(columns)
        left = self.size.width - sum(map(self._width_of, columns))
        self._trend_width = min(left, _TREND) if left >= _TREND_LEAST else 0
        rows = [row[: len(columns)] for row in rows]
        graph_index = self._graph_at(columns)
        for row, graph in zip(rows, self._graphs(row_count), strict=False):
            row.insert(graph_index, graph)
        return columns, rows

    def _fitting(self, columns: Sequence[Column]) -> Sequence[Column]:
        """Return the columns that there is room for. Text may be cut; a number would be another one."""
        inside = self._graph and self._graph_at(columns) < len(columns)
        left = self.size.width - (len(self._graph) + len(_GAP) if inside else 0)
        for number, column in enumerate(columns):
            left -= self._width_of(column)
            if left + len(_GAP) < 0 and number and not column.is_text:
                return columns[:number]
        return columns

    def _graphs(self, row_count: int) -> Iterator[str]:
        """Yield for each row how it went, or of histograms the distribution: by powers of two (or several of
        them), all rows in the same places."""
        if not self._graph:
            return
        assert isinstance(self.view, TableView)
        rows = self.view.rows(self._top, row_count)
        if not self.view.schema.is_histogram:
            for row in rows:
                width = self._trend_width
                yield sparkline(self.view.trend(row, width), width, ascii_only=self._ascii)
            return
        used_slots = [slot for row in rows for slot, count in enumerate(row["buckets"]) if count]
        first, last = min(used_slots, default=0), max(used_slots, default=0) + 1
        step = -(-(last - first) // _DISTRIBUTION)
        for row in rows:
            counts = row["buckets"][first:last]
            values = [
                sum(counts[slot_index : slot_index + step]) or None
                for slot_index in range(0, last - first, step)
            ]
            yield sparkline(values, _DISTRIBUTION, ascii_only=self._ascii)

    @property
    def _graph(self) -> str:
        """The heading of the column that is drawn; "" if there is none."""
        if not isinstance(self.view, TableView) or self.view.trend_column() is None:
            return ""
        if self.view.schema.is_histogram:
            return "DISTRIBUTION".rjust(_DISTRIBUTION)
        return "TREND".rjust(self._trend_width) if self._trend_width else ""

    def _graph_at(self, columns: Sequence[Column]) -> int:
        """Return where among the columns it is: of histograms behind the first number, else the last."""
        if not self.view.schema.is_histogram:
            return len(columns)
        return next(
            (n + 1 for n, column in enumerate(columns) if column in self.view.schema.values), len(columns)
        )

    def _heading(self, columns: Sequence[Column]) -> list[Part]:
        parts = list[Part]()
        for column in columns:
            mark = _MARKS[self.view.descending] if column.name == self.view.sort else ""
            if self._ascii and mark:
                mark = "-" if self.view.descending else "+"
            parts.append((self._fit(column, column.header + mark), HEAD))
        if self._graph:
            parts.insert(self._graph_at(columns), (self._graph, HEAD))
        return [part for heading_part in parts for part in (heading_part, (_GAP, PLAIN))]

    def _lines(self, columns: Sequence[Column], rows: list[list[str]]) -> list[list[Part]]:
        graph_index = self._graph_at(columns)
        lines = list[list[Part]]()
        for number, row in enumerate(rows, self._top):
            style = CURSOR if number == self.cursor else PLAIN
            graph = row.pop(graph_index) if self._graph else ""
            texts = [self._fit(column, text) for column, text in zip(columns, row, strict=True)]
            line: list[Part] = [(_GAP.join([*texts[:graph_index], ""]), style)]
            if graph:
                line.append((graph, CURSOR if number == self.cursor else TREND))
            lines.append([*line, (_GAP.join(["", *texts[graph_index:]]), style)])
        return lines

    def _fit(self, column: Column, text: str) -> str:
        width = self._widths.get(column.name, len(column.header) + 1)
        if column is self.view.columns[-1] and column.is_text and self.view.schema.is_stream:
            return text
        length = cell_len(text)
        if length > width:
            return set_cell_size(text, width)
        left = column.is_text or column is TIME or column.decode == "stack"
        return text + " " * (width - length) if left else " " * (width - length) + text

    # ---- moving

    def action_move(self, count: int) -> None:
        """Move the cursor; a log that is followed is followed no longer."""
        self._go(self.cursor + count)

    def action_page(self, count: int) -> None:
        """Move the cursor by a screen."""
        self._top += count * self.room
        self._go(self.cursor + count * self.room)

    def action_edge(self, last: bool) -> None:
        """Move to the first row or the last one. At the last, a log is followed again."""
        if last and self.view.schema.is_stream and not self.view.sort:
            self.view.resume()
        self._go(len(self.view) - 1 if last else 0)

    def action_columns(self, count: int) -> None:
        """Show columns that are further to the left or right."""
        self._skipped = min(max(self._skipped + count, 0), len(self.columns) - 1)
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

    def cycle_sort(self, step: int) -> None:
        """Sort by the next column, or the one before."""
        names: Sequence[str] = [column.name for column in self.columns if column is not TIME]
        index = names.index(self.view.sort) if self.view.sort in names else (-1 if step > 0 else 0)
        self.view.sort_by(names[(index + step) % len(names)])
        self.update_rows()
