"""A JSON Schema (draft 2020-12) of the output of ``-f json``, made from the columns of one output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytracer.model import AuditResult, CallOverhead, Schema
from pytracer.model.loss import MISSED, REASONS, UNSHOWN
from pytracer.sinks.json import histogram_field
from pytracer.spec import Column, Histogram

Node = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_COUNT: Node = {"type": "integer", "minimum": 0}
_TEXT: Node = {"type": "string"}
_TIME: Node = {
    "time": {"type": "string", "format": "date-time", "description": "local time, with -T"},
    "time_ns": _COUNT | {"description": "when it happened, or was read: ns since the Unix epoch"},
}
_INTERVAL: Node = {"interval_ns": _COUNT | {"description": "length of the span of time that it covers, ns"}}
_STACK: Node = {"type": "array", "items": _TEXT}


def json_schema(
    schema: Schema,
    *,
    totals: Sequence[Column] = (),
    audit: bool = False,
    overhead: bool = False,
    is_open: bool = False,
) -> Node:
    """Return the schema of one line: a row, a loss, the ``totals`` of a run, (``audit``) an audit or
    (``overhead``) the probes' part of the times of calls.

    ``is_open``: rows may have more fields, whose names are only known once probe specs are.
    """
    kinds = {"rows": _describe_rows(schema, is_open=is_open), "loss": _describe_loss()}
    if totals:
        kinds["totals"] = _record(("totals",), {column.name: _describe_field(column) for column in totals})
    if audit:
        kinds["audit"] = _describe_audit()
    if overhead:
        kinds["overhead"] = _describe_overhead()
    return {
        "$schema": _DIALECT,
        "title": f"a line of pytracer {schema.tracer} -f json",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in kinds],
        "$defs": kinds,
    }


def _describe_rows(schema: Schema, *, is_open: bool) -> Node:
    fields = {column.name: _describe_field(column) for column in schema.columns}
    if isinstance(schema.output, Histogram):
        fields |= {column.name: _describe_field(column) for column in schema.output.percentiles.values()}
        bucket = _make_object({"low": _COUNT, "high": _COUNT, "count": _COUNT})
        text = "buckets that are not empty: the number of values from low to below high"
        fields[histogram_field(schema)] = {"type": "array", "items": bucket, "description": text}
    if schema.is_stream:
        return _record(("entry",) if schema.is_listing else ("event",), fields, is_open=is_open)
    return _record(("row", "summary"), _INTERVAL | fields, is_open=is_open)


def _describe_loss() -> Node:
    reason = _TEXT | {"examples": [*REASONS, MISSED, UNSHOWN]}
    return _record(("loss",), {"reason": reason, "lost": _COUNT, "meaning": _TEXT})


def _describe_audit() -> Node:
    numbers = AuditResult("", 0, 0, 0, 0, "", 0.0).record()
    fields = {name: _TEXT if isinstance(value, str) else _COUNT for name, value in numbers.items()}
    return _record(("audit",), fields | {"difference": {"type": "integer"}})


def _describe_overhead() -> Node:
    number = {"type": ["integer", "null"], "minimum": 0}
    return _record(("overhead",), dict.fromkeys(CallOverhead(None, None, 0.0).record(), number))


def _record(kinds: tuple[str, ...], fields: Node, *, is_open: bool = False) -> Node:
    schema = _make_object({"kind": {"enum": list(kinds)}} | _TIME | fields)
    schema["required"].remove("time")
    return schema | {"additionalProperties": is_open}


def _make_object(fields: Node) -> Node:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def _describe_field(column: Column) -> Node:
    text = {"description": column.help} | ({"unit": column.unit.value} if column.unit.value else {})
    if column.decode == "stack":
        return _STACK | text
    if column.computed:
        return {"type": ["integer", "boolean", "string", "null"]} | text
    kind = "string" if column.is_text else "integer"
    may_be_null = column.null is not None or column.ratio is not None
    return {"type": [kind, "null"] if may_be_null else kind} | text
