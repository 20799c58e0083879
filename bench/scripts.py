"""Measure scripts beside bpftrace, which runs the same ones: the start, and the cost of a probe."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator

from bench.cost import LATENCY, Measure, Peer, Tracing, bpftrace, run_measures, while_attached
from bench.measure import MissingPeerError, Result, in_turns, result
from bench.peers import PYTRACER, bpftrace_environment, find, tracing, until_output
from bench.work import work

CALLS, FEW = 3_000_000, 300_000
EVENT = "tracepoint:raw_syscalls:sys_enter"
SCRIPTS = {
    "count": ("counting by key", f"{EVENT} {{ @[args->id] = count(); }}", CALLS),
    "hist": ("a histogram", f"{EVENT} {{ @ = hist(args->id); }}", CALLS),
    "latency": ("latency by thread", LATENCY, CALLS),
    "printf": ("printing a string", f'{EVENT} /comm == "flood"/ {{ printf("%s\\n", comm); }}', FEW),
}
START = EVENT + ' { @[args->id] = count(); } interval:ms:1 { printf("first\\n"); }'


def _calls(number: int) -> float:
    return work("calls", str(number), cpu=0)


@contextlib.contextmanager
def _drained(attached: Tracing) -> Iterator[None]:
    """Read what a tracer prints while it traces, so that it never waits for a reader."""
    with attached as process:
        stream = process.stdout.fileno()  # type: ignore[attr-defined]

        def drain() -> None:
            while os.read(stream, 1 << 20):
                pass

        reader = threading.Thread(target=drain, daemon=True)
        reader.start()
        yield
        process.terminate()  # type: ignore[attr-defined]
        reader.join(60)


def _pytracer(text: str) -> Tracing:
    command = [*PYTRACER, "script", "-v", "--duration", "600", "-e", text]
    return _drained(tracing(command, "pytracer: tracing"))


def _bpftrace(text: str) -> Tracing:
    return _drained(bpftrace(text))


def _measure(name: str) -> Measure:
    description, text, calls = SCRIPTS[name]
    run = functools.partial(_calls, calls)
    peer = Peer(f"script-{name}", "bpftrace", while_attached(lambda: _bpftrace(text), run), 0.5)
    return Measure(
        f"what {description} in a script costs a system call", run, lambda: _pytracer(text), (peer,)
    )


def _start(cache: str) -> float:
    environment = {**os.environ, "PYTRACER_CACHE_DIR": cache}
    return until_output([*PYTRACER, "script", "-e", START], "first", environment)[0]


def _cold_start() -> float:
    folder = tempfile.mkdtemp(prefix="pytracer-bench-")
    try:
        return _start(folder)
    finally:
        shutil.rmtree(folder)


def _peer_start() -> float:
    return until_output([find("bpftrace"), "-e", START], "first", bpftrace_environment())[0]


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure the first and a later start of a script, then what probes cost."""
    with tempfile.TemporaryDirectory(prefix="pytracer-bench-") as cache:
        try:
            for name, description, start, target in (
                ("script-first", "the first start of a script, compiler included", _cold_start, None),
                ("script-later", "a later start of the script", lambda: _start(cache), 0.4),
            ):
                start()
                values, peer_values = in_turns(rounds, start, _peer_start)
                yield result(name, description, "bpftrace", values, peer_values, target=target, unit="s")
        except MissingPeerError as missing:
            yield missing
    yield from run_measures([_measure(name) for name in SCRIPTS], rounds)
