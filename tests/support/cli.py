"""Run pytracer as users do: a process, its output, its exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMES = ("time_ns", "interval_ns")
COMMAND = [sys.executable, "-m", "pytracer"]
# Seconds: a hang is a failure, and so is nothing else that depends on time. An emulated machine compiles
# against packaged headers for minutes, if it has a part of a CPU.
LIMIT = 900 if Path("/run/lab/settings").exists() else 120


@dataclass
class Result:
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return its JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return its JSON lines without their times."""
        return [{key: value for key, value in line.items() if key not in TIMES} for line in self.lines]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return its records of one kind."""
        return [record for record in self.records if record["kind"] == kind]

    @property
    def missed(self) -> int:
        """The number of runs of programs that the kernel skipped. Nothing else may be lost.

        From Linux 7.0 on it skips programs on raw tracepoints while one on that CPU is preempted, and
        programs on trace events while a task that reads a map is.
        """
        assert {loss["reason"] for loss in self.of("loss")} <= {"missed"}, self.of("loss")
        return sum(loss["lost"] for loss in self.of("loss"))


class EarlyExit(AssertionError):
    """The process ended before it traced; ``result`` has its output."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"ended before it traced: {result.status}, {result.err}")
        self.result = result


def run(*words: object, env: dict[str, str] | None = None, **options: Any) -> Result:
    """Run to the end."""
    process = subprocess.run(
        [*COMMAND, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env=os.environ | (env or {}),
        check=False,
        **options,
    )
    return Result(process.returncode, process.stdout, process.stderr)


def start(
    tracer: str, *words: object, before: Sequence[object] = (), **options: Any
) -> subprocess.Popen[str]:
    """Start it (``before`` are words before the tracer), and return once its probes are attached.

    With -v it reports that, after ``messages``.
    """
    process = subprocess.Popen(
        [*COMMAND, *map(str, before), tracer, "-v", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )
    assert process.stderr is not None
    messages: list[str] = []
    process.messages = messages  # type: ignore[attr-defined]
    for line in process.stderr:
        if "tracing" in line:
            return process
        messages.append(line)
    out, err = process.communicate()
    raise EarlyExit(Result(process.returncode, out, "".join(messages) + err))


def finish(process: subprocess.Popen[str]) -> Result:
    """Wait for the end."""
    out, err = process.communicate(timeout=LIMIT)
    return Result(process.returncode, out, err)


def stop(process: subprocess.Popen[str], number: int = signal.SIGINT) -> Result:
    """Send a signal to all of its group, as a terminal does, and wait for the end."""
    os.killpg(process.pid, number)
    return finish(process)


def wait_for(condition: Any, description: str) -> None:
    """Poll until ``condition()`` holds."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {description}"
        time.sleep(0.01)
