"""Recorded runs of the tracers: the output of each, and the cost of its programs.

``recorded_runs.jsonl`` has a line for each tracer; ``scripts/record --examples`` writes it from runs in the
lab (lab/tracer_examples.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytracer.record import record

_FOLLOWING = ("pt_fork", "pt_exec", "pt_free")  # the same for every command that is followed
FILE = Path(__file__).with_name("recorded_runs.jsonl")


@record
class RecordedRun:
    """A run of a tracer on a kernel: its arguments and output, and for each program that ran, by name (of
    which the kernel keeps 15 characters), how often it did and the instructions that a run took."""

    tracer: str
    release: str
    arguments: str
    output: tuple[str, ...]
    programs: Mapping[str, tuple[int, float]]

    def session(self) -> list[str]:
        """Return the run as a terminal shows it."""
        return [f"$ sudo pytracer {self.tracer} {self.arguments}".rstrip(), *self.output]

    def costs(self) -> str:
        """Return the instructions of each program in a sentence; "" if none ran."""
        own_costs = {name: cost for name, (_, cost) in self.programs.items() if name not in _FOLLOWING}
        cost_texts = ", ".join(f"{name} {cost:.0f}" for name, cost in own_costs.items())
        return f"instructions for each event, by program: {cost_texts}" if own_costs else ""


def as_line(run: RecordedRun) -> str:
    """Encode a run as a line of the file."""
    programs = {name: [runs, round(cost, 1)] for name, (runs, cost) in run.programs.items()}
    return json.dumps({"tracer": run.tracer, "release": run.release, "arguments": run.arguments,
                       "output": run.output, "programs": programs})  # fmt: skip


def load(text: str) -> dict[str, RecordedRun]:
    """Decode the lines of the file, by tracer."""
    return {run.tracer: run for run in map(_decode, map(json.loads, text.splitlines()))}


def recorded_run(tracer: str) -> RecordedRun | None:
    """Return the recorded run of a tracer; None if there is none, as for those of other people."""
    return load(FILE.read_text()).get(tracer)


def _decode(fields: dict[str, Any]) -> RecordedRun:
    programs = {name: (runs, cost) for name, (runs, cost) in fields["programs"].items()}
    output = tuple(fields["output"])
    return RecordedRun(fields["tracer"], fields["release"], fields["arguments"], output, programs)
