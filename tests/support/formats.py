"""One run in all formats of stacks: the same items go to every sink."""

from __future__ import annotations

import io
from collections.abc import Sequence

from pytracer.features.kernel_facts import RunningKernel
from pytracer.request import build_request
from pytracer.sinks import make_sink
from pytracer.spec import registry
from pytracer.trace.loop import TraceLoop

FORMS = ("table", "json", "folded", "flamegraph", "speedscope", "pprof")


def write_items(
    tracer: str, arguments: Sequence[str], command: Sequence[str], **options: object
) -> dict[str, bytes]:
    """Return the output of one run in each format."""
    request = build_request(registry.get(tracer), arguments, options=options, command=command)
    streams = {form: io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for form in FORMS}
    sinks = [make_sink(form, stream, timestamps=False, terminal=False) for form, stream in streams.items()]
    with TraceLoop(request, RunningKernel) as trace:
        for sink in sinks:
            sink.open(trace.schema)
        for item in trace:
            for sink in sinks:
                sink.emit(item)
    for sink in sinks:
        sink.close()
    return {form: stream.buffer.getvalue() for form, stream in streams.items()}
