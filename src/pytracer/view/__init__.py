"""Views of a run's results, which can be sorted, filtered, paused and scrolled. No user interface is here.

:func:`make_view` returns the view of a schema. A view takes the items of a run, from any thread, and returns
the text of those rows alone that are on the screen.
"""

from __future__ import annotations

from pytracer.model import Schema
from pytracer.view.base import View
from pytracer.view.events import EventsView
from pytracer.view.row_filters import RowFilter
from pytracer.view.select import take
from pytracer.view.tables import TableView
from pytracer.view.trends import sparkline

__all__ = ["EventsView", "RowFilter", "TableView", "View", "make_view", "sparkline", "take"]


def make_view(schema: Schema) -> View:
    """Return the view of a run with this schema."""
    return EventsView(schema) if schema.is_stream else TableView(schema)
