"""Many functions of the kernel counted at once, and what that costs a call, beside BCC's funccount."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from functools import partial

from bench.attach import FEW, few_by_bcc, measure, until_traced, where_there_are_kprobes
from bench.cost import Measure, Peer, measured, ours, while_held
from bench.measure import MissingPeerError, Result
from bench.peers import bcc_environment, find, tracing
from bench.work import work
from pytracer.kernel import functions
from pytracer.plan.attach_targets import ALTERNATIVES

MANY = 10_000
SEEK = "__x64_sys_lseek" if platform.machine() == "x86_64" else "__arm64_sys_lseek"
CALLS = 300_000


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure attaching with the best alternative, and a call of one of the functions."""
    return where_there_are_kprobes("many", _measures, rounds)


def _measures(cache: str, rounds: int) -> Iterator[Result | MissingPeerError]:
    patterns, count = many()
    what, alternative = f"{count} functions by one link, beside {FEW}", ALTERNATIVES["k"][0].name
    until_traced(cache, [f"k:{FEW}"], alternative)  # compiles
    yield measure("attach-many", what, patterns, alternative, cache, few_by_bcc(), rounds)
    tool = find("funccount-bpfcc", "funccount")
    mine = partial(ours, "funccount", "--max-probes", "100000", *patterns, f"k:{SEEK}")
    held = partial(tracing, [tool, "-i", "600", SEEK], "Tracing", bcc_environment(tool))
    alone = Peer("attach-many-cost", "BCC funccount", while_held(held, seeks))
    what = f"a call of one of {count + 1} functions that are counted, beside one that alone is"
    yield from measured([Measure(what, seeks, mine, (alone,))], rounds)


def seeks() -> float:
    """Return the nanoseconds for a call of SEEK."""
    return work("seeks", str(CALLS), cpu=0)


def many() -> tuple[list[str], int]:
    """Return patterns of first letters that together match MANY functions, and the number of matches."""
    traceable = functions.traceable() or frozenset()
    patterns, count = list[str](), 0
    for letter in "abcdefghijklmnopqrstuvwxyz":
        if count < MANY:
            patterns.append(f"k:{letter}*")
            named = functions.named(f"{letter}*")
            count += sum(len(at) == 1 and name in traceable for name, at in named.items())
    return patterns, count
