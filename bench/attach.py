"""Attaching to many functions of the kernel and what that costs, beside BCC's funccount.

Where this machine's kernel has no kprobes the lab's have, and it is done there: emulated, which slows both.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial

from bench.cost import Measure, Peer, measured, ours, while_held
from bench.measure import MissingPeerError, Result, in_turns, result
from bench.peers import PYTRACER, ROOT, bcc_environment, find, tracing, until_output
from bench.work import work
from pytracer.bpf.attach import kprobe
from pytracer.kernel import functions
from pytracer.plan.targets import WAYS

MANY = 10_000
FEW = "vfs_*"  # BCC's tool attaches one by one, and refuses more than a thousand
LAB, LIMIT = "6.12", 3000  # the first long-term kernel with kprobe.multi for both ends; seconds for all of it
SEEK = "__x64_sys_lseek" if platform.machine() == "x86_64" else "__arm64_sys_lseek"
CALLS = 300_000


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """The same functions by every way, and many by the best."""
    if not kprobe.PMU.is_dir():
        yield from _in_the_lab(rounds)
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
        mine = partial(ours, "funccount", "--max-probes", "100000", *patterns, f"k:{SEEK}")
        held = partial(tracing, [tool, "-i", "600", SEEK], "Tracing", bcc_environment(tool))
        alone = Peer("attach-many-cost", "BCC funccount", while_held(held, _seeks))
        what = f"a call of one of {count + 1} functions that are counted, beside one that alone is"
        yield from measured([Measure(what, _seeks, mine, (alone,))], rounds)
    except MissingPeerError as missing:
        yield missing
    finally:
        shutil.rmtree(cache)


def _in_the_lab(rounds: int) -> Iterator[Result | MissingPeerError]:
    command = [sys.executable, str(ROOT / "scripts/lab"), "--timeout", str(LIMIT), LAB, "--"]
    again = [sys.executable, "-m", "bench", "attach", "--format", "json", "--rounds", str(min(rounds, 3))]
    with subprocess.Popen([*command, *again], cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for record in map(json.loads, running.stdout):
            del record["holds"]
            note = "; ".join(filter(None, (record["note"], f"Linux {LAB} in the lab, emulated")))
            yield Result(**record | {"note": note})
    if running.returncode:
        yield MissingPeerError(
            f"attach: this kernel has no kprobes, and the lab ended with {running.returncode}"
        )


def _seeks() -> float:
    return work("seeks", str(CALLS), cpu=0)


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
