"""Describe a run and its rows for the page: formatted text, with numbers to sort by."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from typing import Any

from pytracer.spec import registry
from pytracer.view import EventsView, TableView, View, detail
from pytracer.view.closer import PURPOSES, find_closer
from pytracer.view.events import TIME
from pytracer.view.tables import WHOLE_RUN
from pytracer.web.http import HttpError
from pytracer.web.runs import Run

ROWS = 300  # that are sent, at most: the page shows no more


def describe_run(run: Run, index: int | None = None) -> dict[str, Any]:
    """Return what the page shows of a run at a place in time: the number of an interval, or of the first
    event that is shown. None is the newest, WHOLE_RUN all intervals, added up."""
    view = run.view
    document: dict[str, Any] = {
        "run": run.number,
        "command": f"pytracer {shlex.join(run.words)}",
        "summary": run.request.tracer.summary,
        "messages": list(run.messages),
        "title": "",
        "columns": [],
        "cells": [],
        "sort": [],
        "losses": [],
        "total": 0,
    }
    if view is None:
        return document
    with _at(view, index) as first:
        return document | describe_rows(view, first)


@contextlib.contextmanager
def _at(view: View, index: int | None) -> Iterator[int]:
    """Select an interval for the length of the context. Yields the number of the first row to send."""
    with view.unchanged():
        if isinstance(view, TableView):
            with view.at(index):
                yield 0
            return
        assert isinstance(view, EventsView)
        last = max(len(view) - ROWS, 0)
        yield last if index is None or index == WHOLE_RUN else min(max(index - view.dropped, 0), last)


def describe_rows(view: View, first: int) -> dict[str, Any]:
    """Return the rows from ``first`` on, with their columns."""
    events = isinstance(view, EventsView)
    columns = [column for column in view.columns if not column.wide]
    if events and not view.schema.is_listing:
        columns.insert(0, TIME)
    values = view.rows(first, ROWS)
    return {
        "title": view.title(),
        "columns": [
            {
                "name": column.header,
                "help": column.help,
                "text": column.is_text or column is TIME,
                "key": column in view.schema.keys,
            }
            for column in columns
        ],
        "cells": view.cells(first, ROWS, columns),
        "sort": [[_sort_key(row.get(column.name)) for column in columns] for row in values],
        "events": events,
        "total": len(view),
        "losses": [f"lost: {loss.lost} {loss.meaning}" for loss in view.lost.values()],
        "notes": list(view.notes),
        **_places(view, first),
    }


def _places(view: View, first: int) -> dict[str, Any]:
    """Describe the time of the rows (``index``), and the available times: from ``oldest`` to ``newest``."""
    if isinstance(view, TableView):
        index = "all" if view.shows_whole_run else view.place
        row_counts, has_whole_run = view.numbers, view.has_whole_run
        return {
            "at": index,
            "oldest": row_counts.start,
            "newest": row_counts.stop - 1,
            "step": 1,
            "whole": has_whole_run,
        }
    assert isinstance(view, EventsView)
    newest = view.dropped + max(len(view) - ROWS, 0)
    index = view.dropped + first
    return {"at": index, "oldest": view.dropped, "newest": newest, "step": ROWS, "whole": False}


def _sort_key(value: Any) -> float | None:
    """Return a number to sort by, which JavaScript holds; None: the text does."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def describe_row(run: Run, index: int | None, number: int, keys: Any) -> dict[str, Any]:
    """Return everything about a row of those that are shown at a place, and what can be started to look
    closer at it. ``keys`` are the texts of its keys: rows of the whole run move. Raises HttpError."""
    view = run.view
    if view is None:
        raise HttpError(404, "the run has no rows")
    with _at(view, index) as first:
        if index == WHOLE_RUN:
            columns = [column for column in view.schema.keys if not column.wide]
            rows = view.cells(first, ROWS, columns)
            if rows[number : number + 1] != [keys]:
                number = rows.index(keys) if keys in rows else ROWS
        found = view.rows(first + number, 1)
        lines = detail.describe(view, found[0]) if found else []
    if not found:
        raise HttpError(404, "there is no such row any more")
    tracers = registry.all_tracers(lambda _: None)
    tracer = run.request.tracer
    of_run = run.request.filters
    closer = {purpose: list(find_closer(purpose, tracer, found[0], tracers, of_run)) for purpose in PURPOSES}
    return {
        "lines": lines,
        "closer": [
            {
                "purpose": purpose,
                "command": f"pytracer {shlex.join(choice.words)}",
                "text": choice.text,
                "sent": {
                    "tracer": choice.tracer,
                    "options": choice.options,
                    "filters": {key.value: values for key, values in choice.filters.items()},
                },
            }
            for purpose, choices in closer.items()
            for choice in choices
        ],
    }
