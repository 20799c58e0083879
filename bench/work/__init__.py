"""The work that is done while something is measured."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from bench.measure import MissingPeerError

_SOURCE = Path(__file__).parent / "flood.c"


@cache
def flood() -> str:
    """The program of flood.c, compiled. Raises MissingPeerError where there is no compiler."""
    folder = tempfile.mkdtemp(prefix="pytracer-bench-")
    program = f"{folder}/flood"
    try:
        subprocess.run(["cc", "-O2", "-o", program, str(_SOURCE)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingPeerError(f"no C compiler for the work: {error}") from error
    return program


def work(*words: str, cpu: int | None = None) -> float:
    """Do it; nanoseconds for each unit."""

    def pin() -> None:
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})

    done = subprocess.run([flood(), *words], check=True, capture_output=True, text=True, preexec_fn=pin)
    return float(done.stdout)


def start(*words: str) -> subprocess.Popen[bytes]:
    """Begin it and go on."""
    return subprocess.Popen([flood(), *words], stdout=subprocess.DEVNULL)
