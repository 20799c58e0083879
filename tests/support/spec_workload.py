"""Run probe specs on tests/workloads/argcalls.c."""

from __future__ import annotations

from pathlib import Path

from support.cli import Result, run
from support.needs import was_refused
from support.workloads import workload

TIMES = 23
NAME = "argcalls-file"
NUMBERS = range(TIMES)


def file_in(folder: Path) -> Path:
    """Return a file for it to read."""
    path = folder / NAME
    path.write_text("x" * 256)
    return path


def run_spec(tracer: str, path: Path, *words: object) -> Result | None:
    """Run a tracer on the workload. Returns None if this kernel refuses and may do so."""
    result = run(tracer, "-f", "json", *words, "--", workload("argcalls"), TIMES, path)
    forced = [str(word).removeprefix("--hook=") for word in words if str(word).startswith("--hook=")]
    if result.status in (4, 5) and was_refused(result, dict(choice.split("=") for choice in forced)):
        return None
    assert result.status == 0, result.err
    return result
