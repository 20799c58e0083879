"""Show what the blocks of bench probes cost, as bpftrace does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytracer.bpf.attach.run_once import Benchmark
from pytracer.model.script import ScriptOutput

_WIDTHS = 41, 15  # of the first two columns
_HEAD = "Benchmark", "Time(ns)", "Iterations"


def show_benchmarks(benchmarks: Sequence[Benchmark]) -> Iterator[ScriptOutput]:
    """Yield an output for each, in the order of the script; the first has the head of the table."""
    head = _format_row(*_HEAD)
    text = f"{head}{'-' * (len(head) - 1)}\n"
    for one in benchmarks:
        name = one.name.partition(":")[2]
        average = one.duration // max(one.runs, 1)
        data = {name: {"average": average, "iters": one.runs}}
        yield ScriptOutput("benchmark_result", data, text + _format_row(name, str(average), str(one.runs)))
        text = ""


def _format_row(name: str, duration: str, runs: str) -> str:
    return f"{name:<{_WIDTHS[0]}}{duration:<{_WIDTHS[1]}}{runs}\n"
