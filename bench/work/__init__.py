"""Run the workload of the benchmarks, a C program."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from bench.measure import MissingPeerError

_SOURCE = Path(__file__).parent / "flood.c"


@cache
def flood() -> str:
    """Compile flood.c and return the program's path. Raises MissingPeerError without a compiler."""
    folder = tempfile.mkdtemp(prefix="pytracer-bench-")
    atexit.register(shutil.rmtree, folder)
    program = f"{folder}/flood"
    compile_c(_SOURCE, program, "-O2")
    return program


def compile_c(source: Path, program: str | Path, *options: str) -> None:
    """Compile a C file to a program. Raises MissingPeerError without a compiler."""
    try:
        subprocess.run(["cc", *options, "-o", program, source], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingPeerError(f"no C compiler for the work: {error}") from error


def work(*words: str, cpu: int | None = None, prefix: Sequence[str] = ()) -> float:
    """Run the workload, and return the nanoseconds for each unit of it.

    ``prefix`` is a command that starts and traces the workload. Raises MissingPeerError if one of them does
    not run here.
    """
    return float(_output([*prefix, flood(), *words], cpu))


def lanes(number: int, *namespaces: str, cpu: int) -> list[tuple[float, ...]]:
    """Send ``number`` datagrams to the loopback of each network namespace, a few at a time in turns.

    Returns for each turn the time of a datagram in nanoseconds, in each of the namespaces.
    """
    output = _output([flood(), "lanes", str(number), *namespaces], cpu)
    return [tuple(map(float, line.split())) for line in output.splitlines()]


def _output(command: Sequence[str], cpu: int | None) -> str:
    def pin() -> None:
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})

    process = subprocess.run(command, capture_output=True, text=True, preexec_fn=pin, check=False)
    if process.returncode:
        output = (process.stderr or process.stdout).strip().splitlines()[-1:]
        raise MissingPeerError(f"{Path(command[0]).name} does not run here: {' '.join(output)}")
    return process.stdout


@contextlib.contextmanager
def gated(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program that stops itself before its first step, and kill it when the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        state = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert state is not None
        if state.si_code != os.CLD_STOPPED:
            raise RuntimeError(f"{command[0]} ended without having stopped")
        yield process
    finally:
        process.kill()
        process.wait()


def go(process: subprocess.Popen[bytes]) -> None:
    """Continue a stopped process."""
    process.send_signal(signal.SIGCONT)
