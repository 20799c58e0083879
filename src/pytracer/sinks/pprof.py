"""pprof's format: a gzipped message of profile.proto, which ``go tool pprof`` and many others read.

Protocol buffers are simple enough to write: a message is a list of fields, each a number (field << 3 | type)
and a value; type 0 is a number in groups of seven bits, type 2 is bytes behind their length.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable

from pytracer.model import Schema
from pytracer.model.tabular import nanoseconds_of
from pytracer.sinks.stack_samples import NOWHERE, Frame, Part, StackSamples, StackSink
from pytracer.spec import Unit
from pytracer.text import harmless

_UNITS = {Unit.NANOSECONDS: "nanoseconds", Unit.BYTES: "bytes"}
_MAPPINGS = (Part.KERNEL, Part.USER, Part.LOST, Part.WAKER)


class PprofSink(StackSink):
    """Writes the stacks of a whole run, with every counter. What tells rows apart (thread names, events) are
    labels of samples. The stream has a ``buffer`` for bytes."""

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
        parts.append(_field(1, _message((1, text(column.name)), (2, unit))))
    for stack, counts in samples.ranked():
        names = [name for name, part in stack if part is Part.NAME]
        calls = [frame for frame in reversed(stack) if frame[1] is not Part.NAME] or [(NOWHERE, Part.USER)]
        ids = [frames.setdefault(frame, len(frames) + 1) for frame in calls]
        labels = [
            _field(3, _message((1, text(key)), (2, text(harmless(name)))))
            for key, name in zip(samples.labels, names, strict=False)  # what was lost has none
        ]
        parts.append(_field(2, _packed(1, ids) + _packed(2, counts) + b"".join(labels)))
    for number, part in enumerate(_MAPPINGS, 1):
        # has_functions: nothing is left to look up.
        parts.append(_field(3, _message((1, number), (5, text(f"[{part.value}]")), (7, 1))))
    for (name, part), number in frames.items():
        line = _field(4, _message((1, number)))
        parts.append(_field(4, _message((1, number), (2, _MAPPINGS.index(part) + 1)) + line))
        parts.append(_field(5, _message((1, number), (2, text(harmless(name))))))
    default = text(schema.counters[0].name)
    parts += [_field(6, name.encode("utf-8", "backslashreplace")) for name in strings]
    times = nanoseconds_of(samples.time - samples.seconds), round(samples.seconds * 1e9)
    return b"".join(parts) + _message((9, times[0]), (10, times[1]), (14, default))


def _message(*fields: tuple[int, int]) -> bytes:
    """Return fields that are numbers."""
    return b"".join(_number(number << 3) + _number(value) for number, value in fields)


def _field(number: int, content: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(content)) + content


def _packed(number: int, values: Iterable[int]) -> bytes:
    return _field(number, b"".join(map(_number, values)))


def _number(value: int) -> bytes:
    """Encode a number in groups of seven bits, the lowest first; what is below 0 as 64 bits."""
    value &= (1 << 64) - 1
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
