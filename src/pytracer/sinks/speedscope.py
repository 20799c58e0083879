"""speedscope's file format: JSON, a profile for each counter. https://www.speedscope.app reads it."""

from __future__ import annotations

import json
from typing import Any

from pytracer.model import Schema
from pytracer.sinks.stack_samples import Frame, StackSamples, StackSink
from pytracer.spec import Unit
from pytracer.text import harmless

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"
_UNITS = {Unit.NANOSECONDS: "nanoseconds", Unit.BYTES: "bytes"}


class SpeedscopeSink(StackSink):
    """Writes the stacks of a whole run as samples with weights; they are in no order of time."""

    def write(self, schema: Schema, samples: StackSamples) -> None:
        """See :class:`~pytracer.sinks.stack_samples.StackSink`."""
        self.stream.write(json.dumps(document(schema, samples)) + "\n")


def document(schema: Schema, samples: StackSamples) -> dict[str, Any]:
    """Return the document of a run's stacks."""
    numbers: dict[Frame, int] = {}
    ranked = samples.ranked()
    stacks = [[numbers.setdefault(frame, len(numbers)) for frame in stack] for stack, _ in ranked]
    return {
        "$schema": _SCHEMA,
        "exporter": "pytracer",
        "name": schema.tracer,
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": harmless(name), "file": part.value} for name, part in numbers]},
        "profiles": [
            {
                "type": "sampled",
                "name": f"{schema.tracer}: {column.name}",
                "unit": _UNITS.get(column.unit, "none"),
                "startValue": 0,
                "endValue": sum(counts[index] for _, counts in ranked),
                "samples": stacks,
                "weights": [counts[index] for _, counts in ranked],
            }
            for index, column in enumerate(schema.counters)
        ],
    }
