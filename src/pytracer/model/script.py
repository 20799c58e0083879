"""Outputs of scripts: each is of one kind, and there for text and for JSON."""

from __future__ import annotations

from typing import Any

from pytracer.record import record


@record
class ScriptOutput:
    """A line of printf, a map, a value: ``kind`` is bpftrace's ``type`` in JSON, ``data`` what JSON has, and
    ``text`` what people read."""

    kind: str
    data: Any
    text: str
