"""Measure the time from the start to the first output, and the memory at that time."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator

from bench.measure import MissingPeerError, Result, in_turns, result
from bench.peers import PYTRACER, bcc_environment, bpftrace_environment, find, running, until_output

INTERVAL = 1.0  # seconds: all of them print after one interval
SCRIPT = "tracepoint:raw_syscalls:sys_enter { @[args->id] = count(); } interval:s:1 { print(@); exit(); }"
OURS = [*PYTRACER, "syscalls", "1"]  # no count of intervals: its memory is read after the first
# On a quiet machine nobody else may make a system call within the interval, and nothing would be printed.
CALLER = [*PYTRACER[:2], "-c", "import time\nwhile True: time.sleep(0.05)"]


def _environment(cache: str) -> dict[str, str]:
    import os

    return {**os.environ, "PYTRACER_CACHE_DIR": cache}


def _ours(cache: str) -> tuple[float, int]:
    seconds, memory = until_output(OURS, "SYSCALL", _environment(cache))
    return seconds - INTERVAL, memory


def _first() -> float:
    folder = tempfile.mkdtemp(prefix="pytracer-bench-")
    try:
        return _ours(folder)[0]
    finally:
        shutil.rmtree(folder)


def _syscount() -> tuple[float, int]:
    tool = find("syscount-bpfcc", "syscount")
    seconds, memory = until_output([tool, "-i", "1", "-d", "1"], "COUNT", bcc_environment(tool))
    return seconds - INTERVAL, memory


def _bpftrace() -> float:
    command = [find("bpftrace"), "-e", SCRIPT]
    return until_output(command, "@[", bpftrace_environment())[0] - INTERVAL


def _seconds(command: list[str]) -> float:
    start = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - start


def _printed(*words: str) -> float:
    return _seconds([*PYTRACER, *words])


def _python() -> float:
    return _seconds([*PYTRACER[:2], "-c", "pass"])


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure first and later runs, the memory of a later one, and what only prints."""
    for name, words in (("list", ["list"]), ("help", ["--help"]), ("completion", ["completion", "bash"])):
        values, peer_values = in_turns(rounds, lambda words=words: _printed(*words), _python)  # type: ignore[misc]
        description = f"`pytracer {' '.join(words)}`"
        yield result(
            f"start-{name}", description, "python -c pass", values, peer_values, target=3.0, unit="s"
        )
    cache = tempfile.mkdtemp(prefix="pytracer-bench-")
    try:
        with running(CALLER):
            yield from _all(cache, rounds)
    finally:
        shutil.rmtree(cache)


def _all(cache: str, rounds: int) -> Iterator[Result | MissingPeerError]:
    try:
        values, peer_values = in_turns(rounds, _first, lambda: _syscount()[0])
        description = "first run of `syscalls`, compiler included, to its first output"
        yield result("start-first", description, "BCC syscount", values, peer_values, target=0.5, unit="s")
    except MissingPeerError as missing:
        yield missing
    _ours(cache)
    try:
        values, peer_values = in_turns(rounds, lambda: _ours(cache)[0], lambda: _syscount()[0])
        description = "a later run to its first output"
        yield result("start-later", description, "BCC syscount", values, peer_values, target=0.2, unit="s")
    except MissingPeerError as missing:
        yield missing
    try:
        values, peer_values = in_turns(rounds, lambda: _ours(cache)[0], _bpftrace)
        description = "a later run to its first output"
        yield result(
            "start-later-bpftrace", description, "bpftrace", values, peer_values, target=0.4, unit="s"
        )
    except MissingPeerError as missing:
        yield missing
    try:
        values, peer_values = in_turns(rounds, lambda: float(_ours(cache)[1]), lambda: float(_syscount()[1]))
        description = "resident memory of a later run at its first output"
        yield result("memory-later", description, "BCC syscount", values, peer_values, target=0.2, unit="KiB")
    except MissingPeerError as missing:
        yield missing
