"""A measure: ours and a peer's, taken in turns, as a ratio with its spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass


class MissingPeerError(Exception):
    """A peer that is not installed, or does not run here: the measure is left out, by its name."""


@dataclass(frozen=True)
class Result:
    """``ratio`` is pytracer's median over the peer's, ``low`` and ``high`` are the minimum and maximum of the
    rounds. ``target`` is the goal of the ratio: an upper limit if ``at_most``, else a lower one. ``ours``
    and ``peer`` are the medians, in ``unit``."""

    name: str
    what: str
    peer_name: str
    ratio: float
    low: float
    high: float
    target: float | None
    at_most: bool
    ours: float
    peer: float
    unit: str
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """True if the target is met; None if there is none."""
        if self.target is None:
            return None
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    def record(self) -> dict[str, object]:
        """Return the result as a JSON object."""
        return asdict(self) | {"holds": self.holds}


def result(
    name: str,
    what: str,
    peer_name: str,
    ours: Sequence[float],
    peer: Sequence[float],
    *,
    target: float | None,
    at_most: bool = True,
    unit: str,
    note: str = "",
) -> Result:
    """Return the result of rounds: ``ours[i]`` and ``peer[i]`` were measured one after the other."""
    ratios = [a / b for a, b in zip(ours, peer, strict=True) if b > 0]
    if not ratios:
        raise MissingPeerError(f"{name}: the peer's costs are too small to be measured")
    return Result(
        name=name,
        what=what,
        peer_name=peer_name,
        ratio=statistics.median(ours) / statistics.median(peer),
        low=min(ratios),
        high=max(ratios),
        target=target,
        at_most=at_most,
        ours=statistics.median(ours),
        peer=statistics.median(peer),
        unit=unit,
        note=note,
    )


def in_turns(rounds: int, *takers: Callable[[], float]) -> list[list[float]]:
    """Return the results of each taker in each round; the order is reversed from one round to the next."""
    taken: list[list[float]] = [[] for _ in takers]
    for number in range(rounds):
        order = list(enumerate(takers))
        for place, take in order if number % 2 == 0 else reversed(order):
            taken[place].append(take())
    return taken
