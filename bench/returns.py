"""Measure what a probe on the return of a program's function costs a call, in nanoseconds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from bench.cost import Measure, Peer, run_measures, run_pytracer, while_attached
from bench.measure import MissingPeerError, Result
from bench.work import flood, work
from pytracer.bpf.attach import uprobe
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import EMPTY, load
from pytracer.spec import ProbeSite
from pytracer.symbols import code, places, program_files

CALLS = 200_000
FUNCTION = "framed"


def _calls() -> float:
    return work("returns", str(CALLS), cpu=0)


@contextlib.contextmanager
def empty(*, exits: bool = False, at_return: bool = False) -> Iterator[None]:
    """Attach an empty program: to the function's entry, to its return instructions (``exits``), or by the
    kernel's return probe (``at_return``)."""
    program = load(ProgType.KPROBE, EMPTY)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, program)
        file = stack.enter_context(program_files.find(flood()))
        [begin] = places.find(file, FUNCTION).sites
        sites: list[ProbeSite] = [begin]
        if exits:
            sites = [end.site for end in code.analyze(file, begin).exits]
        for link in uprobe.attach_sites(file, sites, program, at_return=at_return):
            stack.callback(link.close)
        yield


def latency(*words: str) -> contextlib.AbstractContextManager[object]:
    """Start funclatency."""
    return run_pytracer("funclatency", f"u:{flood()}:{FUNCTION}", *words)


MEASURES = (
    Measure(
        "what an empty program at the instruction that returns costs a call",
        _calls,
        lambda: empty(exits=True),
        (
            Peer(
                "return-empty",
                "the kernel's return probe",
                while_attached(lambda: empty(at_return=True), _calls),
            ),
            Peer("return-entry", "a probe on the entry", while_attached(empty, _calls)),
        ),
    ),
    Measure(
        "what funclatency costs a call of a program's function",
        _calls,
        latency,
        (
            Peer(
                "return-latency",
                "the same by --hook ur=uretprobe",
                while_attached(lambda: latency("--hook", "ur=uretprobe-multi"), _calls),
            ),
        ),
    ),
)


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure empty programs, then funclatency."""
    return run_measures(MEASURES, rounds)
