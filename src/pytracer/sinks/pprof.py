"""pprof's format: a gzipped message of profile.proto, which ``go tool pprof`` and many others read."""

from __future__ import annotations

import gzip

from pytracer.model import Schema
from pytracer.model.tabular import nanoseconds_of
from pytracer.sinks.protobuf import field, numbers, packed, string
from pytracer.sinks.stack_samples import NOWHERE, Frame, Part, StackSamples, StackSink
from pytracer.spec import Unit
from pytracer.text import harmless

_UNITS = {Unit.NANOSECONDS: "nanoseconds", Unit.BYTES: "bytes"}
_MAPPINGS = (Part.KERNEL, Part.USER, Part.LOST, Part.WAKER)


class PprofSink(StackSink):
    """Writes the stacks of a whole run, with every counter. Keys of rows (thread names, events) are labels
    of samples. The stream has a ``buffer`` for bytes."""

    def write(self, schema: Schema, samples: StackSamples) -> None:
        """See :class:`~pytracer.sinks.stack_samples.StackSink`."""
        self.stream.flush()
        self.stream.buffer.write(gzip.compress(message(schema, samples), mtime=0))


def message(schema: Schema, samples: StackSamples) -> bytes:
    """Return the message Profile of a run's stacks."""
    strings: dict[str, int] = {"": 0}
    frames: dict[Frame, int] = {}

    def text(value: str) -> int:
        return strings.setdefault(value, len(strings))

    parts = list[bytes]()
    for column in schema.counters:
        unit = text(_UNITS.get(column.unit, "count"))
        parts.append(field(1, numbers((1, text(column.name)), (2, unit))))
    for stack, counts in samples.ranked():
        names = [name for name, part in stack if part is Part.NAME]
        calls = [frame for frame in reversed(stack) if frame[1] is not Part.NAME] or [(NOWHERE, Part.USER)]
        ids = [frames.setdefault(frame, len(frames) + 1) for frame in calls]
        labels = [
            field(3, numbers((1, text(key)), (2, text(harmless(name)))))
            for key, name in zip(samples.labels, names, strict=False)  # what was lost has none
        ]
        parts.append(field(2, packed(1, ids) + packed(2, counts) + b"".join(labels)))
    for number, part in enumerate(_MAPPINGS, 1):
        # has_functions: nothing is left to look up.
        parts.append(field(3, numbers((1, number), (5, text(f"[{part.value}]")), (7, 1))))
    for (name, part), number in frames.items():
        line = field(4, numbers((1, number)))
        parts.append(field(4, numbers((1, number), (2, _MAPPINGS.index(part) + 1)) + line))
        parts.append(field(5, numbers((1, number), (2, text(harmless(name))))))
    default = text(schema.counters[0].name)
    parts += [string(6, name) for name in strings]
    times = nanoseconds_of(samples.time - samples.seconds), round(samples.seconds * 1e9)
    return b"".join(parts) + numbers((9, times[0]), (10, times[1]), (14, default))
