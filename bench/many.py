"""Measure funccount with thousands of kernel functions, and its cost for a call, beside BCC's funccount."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from functools import partial

from bench.attach import FEW, bcc_funccount, measure, run_with_kprobes, seconds_until_tracing
from bench.cost import Measure, Peer, run_measures, run_pytracer, while_attached
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
    return run_with_kprobes("many", _measures, rounds)


def _measures(cache: str, rounds: int) -> Iterator[Result | MissingPeerError]:
    patterns, count = many()
    description, alternative = f"{count} functions by one link, beside {FEW}", ALTERNATIVES["k"][0].name
    seconds_until_tracing(cache, [f"k:{FEW}"], alternative)  # compiles
    yield measure("attach-many", description, patterns, alternative, cache, bcc_funccount(), rounds)
    tool = find("funccount-bpfcc", "funccount")
    attach = partial(run_pytracer, "funccount", "--max-probes", "100000", *patterns, f"k:{SEEK}")
    attach_peer = partial(tracing, [tool, "-i", "600", SEEK], "Tracing", bcc_environment(tool))
    cost_peer = Peer("attach-many-cost", "BCC funccount", while_attached(attach_peer, seeks))
    description = f"a call of one of {count + 1} functions that are counted, beside one that alone is"
    yield from run_measures([Measure(description, seeks, attach, (cost_peer,))], rounds)


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
            addresses_by_name = functions.named(f"{letter}*")
            count += sum(
                len(addresses) == 1 and name in traceable for name, addresses in addresses_by_name.items()
            )
    return patterns, count
