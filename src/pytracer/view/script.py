"""Views of a running script: its printed lines as events, and each of its maps as a table."""

from __future__ import annotations

from collections.abc import Callable

from pytracer.arrays import np
from pytracer.model import Batch, Histograms, Item, Loss, Schema, Snapshot
from pytracer.model.script import MapHistograms, MapTable
from pytracer.record import replace
from pytracer.spec import Column
from pytracer.view.base import View
from pytracer.view.events import EventsView
from pytracer.view.tables import TableView

_COLUMNS = (
    Column("type", "what printed it", decode="text", width=6),
    Column("text", "what was printed", decode="text"),
)
_LIMIT = 1 << 20  # bytes of references to lines: some 65,000 lines
_MAPS = ("map", "hist", "stats", "tseries", "attached_probes", "")  # which have views of their own, or none


class ScriptViews:
    """The view of what is printed, and those of maps as they appear; ``appeared`` is called for each."""

    def __init__(self, schema: Schema, appeared: Callable[[View], None]) -> None:
        """Have the view of what a script with this schema prints."""
        output = replace(schema.output, columns=_COLUMNS)
        self.printed = EventsView(replace(schema, values=_COLUMNS, output=output), _LIMIT)
        self._maps: dict[str, TableView] = {}
        self._appeared = appeared

    def add(self, item: Item) -> None:
        """Take an item of the run."""
        if isinstance(item, (MapTable, MapHistograms)):
            assert item.schema is not None
            name = item.schema.tracer
            view = self._maps.get(name)
            if view is None:
                view = self._maps[name] = MapView(item.schema)
                view.add(item)
                self._appeared(view)
            else:
                view.add(item)
        elif isinstance(item, Batch):
            self.printed.add(_make_lines(item))
        elif isinstance(item, Loss):
            for single_view in (self.printed, *self._maps.values()):
                single_view.add(item)


class MapView(TableView):
    """A map. Its entries are sums already, and have no rate."""

    def _keep(self, item: Batch | Snapshot | Histograms) -> None:
        super()._keep(item)
        self.rates.clear()


def _make_lines(batch: Batch) -> Batch:
    """Return the output that is no map, a line each."""
    lines = [
        (kind, line, moment)
        for (kind, _, text), moment in zip(batch.records.tolist(), batch.times.tolist(), strict=True)
        if kind not in _MAPS
        for line in text.splitlines()
    ]
    records = np.empty((len(lines), 2), dtype=object)
    for row, (kind, line, _) in enumerate(lines):
        records[row] = kind, line
    times = np.array([moment for *_, moment in lines], dtype=np.int64)
    names = tuple(column.name for column in _COLUMNS)
    return Batch(names, records, times, lambda name, rows: rows[:, names.index(name)])
