"""Run the example of each tracer in the lab, and record its output and what its programs cost.

`python -m lab.tracer_examples` runs all, `python -m lab.tracer_examples [KERNEL] TRACER...` these;
scripts/record --examples is the same. The runs themselves are in lab/guest/tracer_examples.py, on a machine
whose clock counts instructions, as lab/hook_costs.py has it: those of the kernel's functions that a program
calls are included.
"""

from __future__ import annotations

import sys
from typing import Any

from lab import compile_inputs
from lab.errors import FAILED, LabError, say
from lab.fetch import find
from lab.guest.example_runs import EXAMPLES
from lab.hook_costs import COUNTED
from lab.host_compiler import HostCompiler
from lab.kernels import Kernel
from lab.survey import run_in_guest
from pytracer.explain.recorded import FILE, RecordedRun, as_line, load

KERNEL = "6.12"
NODES = ("--memory-nodes", "2")  # for numamove


def recorded(record: dict[str, Any], release: str, floor: float) -> RecordedRun:
    """Return what the guest says of a run; ``floor`` is the cost of an empty program, as it is counted."""
    programs = {
        name: (runs, max(time / runs - floor, 0))
        for name, (runs, time) in record["programs"].items()
        if name  # without one: a trial load
    }
    output = tuple(record["output"])
    return RecordedRun(record["tracer"], release, record["arguments"], output, programs)


def keep(run: RecordedRun) -> None:
    """Replace the recorded run of a tracer."""
    runs = {**load(FILE.read_text()), run.tracer: run}
    FILE.write_text("".join(as_line(runs[name]) + "\n" for name in sorted(runs)))


def main(arguments: list[str] | None = None) -> int:
    """Run the examples and keep those that succeeded. Returns 1 if one did not."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        kernel = next((find(word) for word in words if word not in EXAMPLES), find(KERNEL))
        names = [word for word in words if word in EXAMPLES] or list(EXAMPLES)
        compile_inputs.of(kernel)
        compiler = HostCompiler(kernel)
        try:
            failed = run_examples(kernel, names, compiler.options)
        finally:
            compiler.stop()
    except LabError as error:
        say(f"error: {error}" + (f" ({error.hint})" if error.hint else ""))
        return FAILED
    return 1 if failed else 0


def run_examples(kernel: Kernel, names: list[str], options: list[str]) -> int:
    """Run these, and keep each as it comes. Returns how many failed. Raises LabError."""
    failed = 0
    messages = run_in_guest(kernel, "tracer_examples.py", *names, options=(*COUNTED, *NODES, *options))
    head = next(messages)
    for record in messages:
        say(f"{record['tracer']}: {record['error'] or 'recorded'}")
        if record["error"]:
            failed += 1
        else:
            keep(recorded(record, head["release"], head["floor"]))
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
