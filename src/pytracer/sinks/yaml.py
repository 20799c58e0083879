"""YAML: a list of the objects that JSON has, one behind the other as they come."""

from __future__ import annotations

from typing import Any, TextIO

from pytracer.model import Batch, Item, Schema
from pytracer.sinks.formatting import timestamp
from pytracer.sinks.json import histogram_field, interval_of, records
from pytracer.text import escape


class YamlSink:
    """Writes the fields of :class:`~pytracer.sinks.json.JsonSink`. Text is quoted, so that it is never
    read as another type (``no``, ``1e3``), and control characters are escaped."""

    def __init__(self, stream: TextIO, *, timestamps: bool) -> None:
        self._stream = stream
        self._timestamps = timestamps
        self._label = ""

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._label = histogram_field(schema)

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        span = interval_of(item)
        for time, record in records(item, self._label):
            fields: dict[str, Any] = {"kind": record.pop("kind")}
            if self._timestamps:
                fields["time"] = timestamp(time // 1_000_000)
            fields |= {"time_ns": time} | span | record
            if isinstance(item, Batch):  # an event is a line in each format
                self._stream.write(f"- {_format_value(fields)}\n")
            else:
                lines = (f"{_format_scalar(name)}: {_format_value(value)}" for name, value in fields.items())
                self._stream.write("- " + "\n  ".join(lines) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._stream.flush()


def _format_value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_format_value, value))}]"
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{_format_scalar(name)}: {_format_value(item)}" for name, item in value.items())
            + "}"
        )
    return _format_scalar(value)


def _format_scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    if value.isidentifier() and value.isascii() and value[0].islower() and value not in _WORDS:
        return value
    return f'"{"".join(map(_format_character, value))}"'


_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")  # in YAML 1.1


def _format_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else escape(character)
