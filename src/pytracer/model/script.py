"""Outputs of scripts: each is of one kind, and there for text and for JSON. Maps while a script runs."""

from __future__ import annotations

from typing import Any

from pytracer.model.items import Histograms, Snapshot
from pytracer.model.schema import Schema
from pytracer.model.tabular import Tabular
from pytracer.record import record


@record
class ScriptOutput:
    """A line of printf, a map, a value: ``kind`` is bpftrace's ``type`` in JSON, ``data`` what JSON has, and
    ``text`` what people read."""

    kind: str
    data: Any
    text: str


@record
class MapTable(Snapshot):
    """A map of a script as a table; ``schema`` has its name and columns."""

    schema: Schema

    __repr__ = Tabular.__repr__


@record
class MapHistograms(Histograms):
    """A map of a script as histograms; ``schema`` has its name and columns."""

    schema: Schema | None = None

    __repr__ = Tabular.__repr__
