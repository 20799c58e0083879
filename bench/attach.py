"""Measure how long it takes to attach to kernel functions, beside BCC's funccount.

If this machine's kernel has no kprobes, a kernel of the lab is measured. It is emulated, and its clock counts
instructions, so that other load on this machine is not measured.
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
    return run_with_kprobes("attach", _measure_alternatives, rounds)


def _measure_alternatives(cache: str, rounds: int) -> Iterator[Result | MissingPeerError]:
    funccount = bcc_funccount()
    seconds_until_tracing(cache, [f"k:{FEW}"], "")  # compiles
    for alternative in ALTERNATIVES["k"]:
        description = f"{FEW} by {alternative.name}"
        yield measure(
            f"attach-{alternative.name}",
            description,
            [f"k:{FEW}"],
            alternative.name,
            cache,
            funccount,
            rounds,
        )


def bcc_funccount() -> Callable[[], float]:
    """Return a benchmark: seconds until BCC's funccount traces some functions.

    Raises MissingPeerError if it is not installed.
    """
    tool = find("funccount-bpfcc", "funccount")
    return partial(seconds_until_ready, [tool, "-i", "60", FEW], "Tracing", bcc_environment(tool))


def run_with_kprobes(
    group: str, take: Callable[[str, int], Iterator[Result | MissingPeerError]], rounds: int
) -> Iterator[Result | MissingPeerError]:
    """Yield the results of ``take``, called with a cache folder and the number of rounds.

    If this kernel has no kprobes, the group runs in the lab.
    """
    if not kprobe.PMU.is_dir():
        yield from _run_in_lab(group, rounds)
        return
    with tempfile.TemporaryDirectory(prefix="pytracer-bench-") as cache:
        try:
            yield from take(cache, rounds)
        except MissingPeerError as missing:
            yield missing


def _run_in_lab(group: str, rounds: int) -> Iterator[Result | MissingPeerError]:
    lab = [sys.executable, str(ROOT / "scripts/lab"), "--timeout", str(LIMIT), "--accel", "icount"]
    command = [*lab, LAB, "--"]
    inner_command = [sys.executable, "-m", "bench", group, "--no-page", "--format", "json"]
    inner_command += ["--rounds", str(min(rounds, 3))]
    with subprocess.Popen([*command, *inner_command], cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
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
    description: str,
    patterns: Sequence[str],
    alternative: str,
    cache: str,
    peer: Callable[[], float],
    rounds: int,
) -> Result | MissingPeerError:
    """Measure the time until a later funccount traces by one alternative, beside the time of a peer."""
    try:
        values, peer_values = in_turns(
            rounds, partial(seconds_until_tracing, cache, patterns, alternative), peer
        )
    except MissingPeerError as missing:
        return missing
    description = f"a later `funccount` until it traces: {description}"
    return result(name, description, "BCC funccount", values, peer_values, target=None, unit="s")


def seconds_until_tracing(cache: str, patterns: Sequence[str], alternative: str) -> float:
    """Return the seconds from the start of funccount until it traces."""
    options = ["--max-probes", "100000", *(["--hook", f"k={alternative}"] if alternative else [])]
    command = [*PYTRACER, "funccount", "-v", *options, *patterns, "60"]
    return seconds_until_ready(command, "pytracer: tracing", {**os.environ, "PYTRACER_CACHE_DIR": cache})


def seconds_until_ready(command: Sequence[str], ready: str, environment: dict[str, str]) -> float:
    """Return the seconds from the start of a tool until it prints ``ready``."""
    return until_output(command, ready, environment)[0]
