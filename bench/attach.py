"""Attaching to many functions of the kernel, beside BCC's funccount.

Where this machine's kernel has no kprobes, the lab's have:
scripts/lab 6.12 -- .venv/bin/python -m bench attach
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial

from bench.measure import MissingPeerError, Result, in_turns, result
from bench.peers import PYTRACER, bcc_environment, find, until_output
from pytracer.bpf.attach import kprobe
from pytracer.kernel import functions
from pytracer.plan.targets import WAYS

MANY = 10_000
FEW = "vfs_*"  # BCC's tool attaches one by one, and refuses more than a thousand


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """The same functions by every way, and many by the best."""
    if not kprobe.PMU.is_dir():
        yield MissingPeerError("attach: this kernel has no kprobes")
        return
    cache = tempfile.mkdtemp(prefix="pytracer-bench-")
    try:
        tool = find("funccount-bpfcc", "funccount")
        peer = [tool, "-i", "60", FEW]
        theirs = partial(_attached, peer, "Tracing", bcc_environment(tool))
        _ours(cache, [f"k:{FEW}"], "")  # compiles
        for way in WAYS["k"]:
            yield _measure(way.name, [f"k:{FEW}"], cache, theirs, rounds)
        patterns, count = _many()
        what = f"{count} functions by one link, beside {FEW}"
        yield _measure(WAYS["k"][0].name, patterns, cache, theirs, rounds, name="attach-many", what=what)
    except MissingPeerError as missing:
        yield missing
    finally:
        shutil.rmtree(cache)


def _measure(
    way: str,
    patterns: Sequence[str],
    cache: str,
    theirs: partial[float],
    rounds: int,
    *,
    name: str = "",
    what: str = "",
) -> Result | MissingPeerError:
    try:
        ours, peer = in_turns(rounds, partial(_ours, cache, patterns, way), theirs)
    except MissingPeerError as missing:
        return missing
    name = name or f"attach-{way}"
    what = what or f"{FEW} by {way}"
    return result(
        name,
        f"a later `funccount` until it traces: {what}",
        "BCC funccount",
        ours,
        peer,
        target=None,
        unit="s",
    )


def _many() -> tuple[list[str], int]:
    """Patterns of first letters that together match MANY functions, and how many they match."""
    traceable = functions.traceable() or frozenset()
    patterns, count = list[str](), 0
    for letter in "abcdefghijklmnopqrstuvwxyz":
        if count < MANY:
            patterns.append(f"k:{letter}*")
            named = functions.named(f"{letter}*")
            count += sum(len(at) == 1 and name in traceable for name, at in named.items())
    return patterns, count


def _ours(cache: str, patterns: Sequence[str], way: str) -> float:
    options = ["--max-probes", "100000", *(["--hook", f"k={way}"] if way else [])]
    command = [*PYTRACER, "funccount", "-v", *options, *patterns, "60"]
    return _attached(command, "pytracer: tracing", {**os.environ, "PYTRACER_CACHE_DIR": cache})


def _attached(command: Sequence[str], ready: str, environment: dict[str, str]) -> float:
    """Seconds from the start until a tool says that it traces."""
    return until_output(command, ready, environment)[0]
