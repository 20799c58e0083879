"""Sinks write items. Each format has one class, with ``open``, ``emit`` and ``close``."""

from __future__ import annotations

from typing import Protocol, TextIO

from pytracer.model import Item, Schema

FORMATS = ("table", "json", "csv", "yaml", "markdown")
STACK_FORMATS = ("folded", "flamegraph", "speedscope", "pprof")
"""Further ones, for stacks alone."""
INTERVAL_FORMATS = ("heatmap",)
"""Further ones, for histograms and stacks of intervals: pictures, or lines on a terminal."""
TIMELINE_FORMATS = ("chrome", "perfetto")
"""Further ones, for events and tables."""
FILE_FORMATS = ("flamegraph", "speedscope", "pprof", "chrome", "perfetto")
"""Those that nobody reads on a terminal. Those of pprof and Perfetto are no text: their stream has a
``buffer``."""
SCRIPT_FORMATS = {"text": "script", "json": "script-json"}
"""Those of scripts, by bpftrace's names."""
PROFILE_FORMAT = "seccomp"
"""The one of a profile."""


class Sink(Protocol):
    """Writes items to a stream. Items are already decoded."""

    def open(self, schema: Schema) -> None:
        """Prepare for items of this schema."""
        ...

    def emit(self, item: Item) -> None:
        """Write one item."""
        ...

    def close(self) -> None:
        """Write the buffered output."""
        ...


def make_sink(
    name: str,
    stream: TextIO,
    *,
    timestamps: bool,
    terminal: bool,
    wide: bool = False,
    raw: bool = False,
    icicle: bool = False,
) -> Sink:
    """Return the sink of a format on ``stream``: of FORMATS, STACK_FORMATS, or PROFILE_FORMAT. A ``terminal``
    gets tables that refresh in place, and ``wide`` ones have every column; text in ``raw`` CSV has no guard.
    Flame graphs that are ``icicle`` grow downwards."""
    # Only the one that is wanted is loaded.
    if name in SCRIPT_FORMATS.values():
        from pytracer.sinks.script import ScriptJsonSink, ScriptSink

        return (ScriptSink if name == SCRIPT_FORMATS["text"] else ScriptJsonSink)(stream)
    if name == "json":
        from pytracer.sinks.json import JsonSink

        return JsonSink(stream, timestamps=timestamps)
    if name == "csv":
        from pytracer.sinks.csv import CsvSink

        return CsvSink(stream, timestamps=timestamps, raw=raw)
    if name == "yaml":
        from pytracer.sinks.yaml import YamlSink

        return YamlSink(stream, timestamps=timestamps)
    if name == "markdown":
        from pytracer.sinks.markdown import MarkdownSink

        return MarkdownSink(stream, timestamps=timestamps, wide=wide)
    if name == PROFILE_FORMAT:
        from pytracer.sinks.seccomp import SeccompSink

        return SeccompSink(stream)
    if name == "folded":
        from pytracer.sinks.folded import FoldedSink

        return FoldedSink(stream)
    if name == "flamegraph":
        from pytracer.sinks.flamegraph import FlameGraphSink

        return FlameGraphSink(stream, icicle=icicle)
    if name == "heatmap":
        from pytracer.sinks.heat_sink import HeatSink

        return HeatSink(stream)
    if name in TIMELINE_FORMATS:
        from pytracer.sinks.chrome import ChromeWriter
        from pytracer.sinks.perfetto import PerfettoWriter
        from pytracer.sinks.timeline import TimelineSink

        return TimelineSink(ChromeWriter(stream) if name == "chrome" else PerfettoWriter(stream))
    if name == "speedscope":
        from pytracer.sinks.speedscope import SpeedscopeSink

        return SpeedscopeSink(stream)
    if name == "pprof":
        from pytracer.sinks.pprof import PprofSink

        return PprofSink(stream)
    from pytracer.sinks.table import TableSink

    return TableSink(stream, timestamps=timestamps, in_place=terminal, wide=wide)
