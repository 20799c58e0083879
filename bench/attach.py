"""Attaching to functions of the kernel, beside BCC's funccount.

Where this machine's kernel has no kprobes the lab's have, and it is done there: emulated, with a clock that
counts instructions, so that what else this machine does is not measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from bench.measure import MissingPeerError, Result, in_turns, result
from bench.peers import PYTRACER, ROOT, bcc_environment, find, until_output
from pytracer.bpf.attach import kprobe
from pytracer.plan.attach_targets import ALTERNATIVES

FEW = "vfs_*"  # BCC's tool attaches one by one, and refuses more than a thousand
LAB, LIMIT = "6.12", 3000  # the first long-term kernel with kprobe.multi for both ends; seconds for all of it


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure the same functions with each alternative."""
    return where_there_are_kprobes("attach", _by_every_way, rounds)


def _by_every_way(cache: str, rounds: int) -> Iterator[Result | MissingPeerError]:
    theirs = few_by_bcc()
    until_traced(cache, [f"k:{FEW}"], "")  # compiles
    for alternative in ALTERNATIVES["k"]:
        what = f"{FEW} by {alternative.name}"
        yield measure(
            f"attach-{alternative.name}", what, [f"k:{FEW}"], alternative.name, cache, theirs, rounds
        )


def few_by_bcc() -> Callable[[], float]:
    """Return a taker of the time until BCC's funccount traces some functions. Raises MissingPeerError if it
    is not installed."""
    tool = find("funccount-bpfcc", "funccount")
    return partial(attached, [tool, "-i", "60", FEW], "Tracing", bcc_environment(tool))


def where_there_are_kprobes(
    group: str, take: Callable[[str, int], Iterator[Result | MissingPeerError]], rounds: int
) -> Iterator[Result | MissingPeerError]:
    """Yield the results of ``take``, called with a cache folder and the number of rounds; if this kernel has
    no kprobes, run the group in the lab."""
    if not kprobe.PMU.is_dir():
        yield from _in_the_lab(group, rounds)
        return
    with tempfile.TemporaryDirectory(prefix="pytracer-bench-") as cache:
        try:
            yield from take(cache, rounds)
        except MissingPeerError as missing:
            yield missing


def _in_the_lab(group: str, rounds: int) -> Iterator[Result | MissingPeerError]:
    lab = [sys.executable, str(ROOT / "scripts/lab"), "--timeout", str(LIMIT), "--accel", "icount"]
    command = [*lab, LAB, "--"]
    again = [sys.executable, "-m", "bench", group, "--no-page", "--format", "json"]
    again += ["--rounds", str(min(rounds, 3))]
    with subprocess.Popen([*command, *again], cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for record in map(json.loads, running.stdout):
            del record["holds"]
            note = "; ".join(filter(None, (record["note"], f"Linux {LAB} in the lab: ns are instructions")))
            yield Result(**record | {"note": note})
    if running.returncode:
        yield MissingPeerError(
            f"{group}: this kernel has no kprobes, and the lab ended with {running.returncode}"
        )


def measure(
    name: str,
    what: str,
    patterns: Sequence[str],
    alternative: str,
    cache: str,
    theirs: Callable[[], float],
    rounds: int,
) -> Result | MissingPeerError:
    """Measure the time until a later funccount traces by one alternative, beside that of ``theirs``."""
    try:
        ours, peer = in_turns(rounds, partial(until_traced, cache, patterns, alternative), theirs)
    except MissingPeerError as missing:
        return missing
    what = f"a later `funccount` until it traces: {what}"
    return result(name, what, "BCC funccount", ours, peer, target=None, unit="s")


def until_traced(cache: str, patterns: Sequence[str], alternative: str) -> float:
    """Return the seconds from the start of funccount until it traces."""
    options = ["--max-probes", "100000", *(["--hook", f"k={alternative}"] if alternative else [])]
    command = [*PYTRACER, "funccount", "-v", *options, *patterns, "60"]
    return attached(command, "pytracer: tracing", {**os.environ, "PYTRACER_CACHE_DIR": cache})


def attached(command: Sequence[str], ready: str, environment: dict[str, str]) -> float:
    """Return the seconds from the start until a tool says that it traces."""
    return until_output(command, ready, environment)[0]
