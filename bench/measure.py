"""Measure pytracer and a peer in turns, and describe the result as a ratio with its spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

Row = tuple[str, int, float, str]
"""Cost against size: (description, number, value for one, unit)."""


class MissingPeerError(Exception):
    """A peer is not installed, or does not run here. The measure is left out and reported by name."""


@dataclass(frozen=True)
class Result:
    """The result of a measure.

    ``ratio`` is pytracer's median over the peer's, ``low`` and ``high`` are the minimum and maximum of the
    rounds. ``target`` is the goal of the ratio: an upper limit if ``at_most``, else a lower one. ``value``
    and ``peer_value`` are the medians, in ``unit``.
    """

    name: str
    description: str
    peer_name: str
    ratio: float
    low: float
    high: float
    target: float | None
    at_most: bool
    value: float
    peer_value: float
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
    description: str,
    peer_name: str,
    values: Sequence[float],
    peer_values: Sequence[float],
    *,
    target: float | None,
    at_most: bool = True,
    unit: str,
    note: str = "",
) -> Result:
    """Return the result of rounds: ``values[i]`` and ``peer_values[i]`` were measured one after the other."""
    ratios = [a / b for a, b in zip(values, peer_values, strict=True) if b > 0]
    if not ratios:
        raise MissingPeerError(f"{name}: the peer's costs are too small to be measured")
    return Result(
        name=name,
        description=description,
        peer_name=peer_name,
        ratio=statistics.median(values) / statistics.median(peer_values),
        low=min(ratios),
        high=max(ratios),
        target=target,
        at_most=at_most,
        value=statistics.median(values),
        peer_value=statistics.median(peer_values),
        unit=unit,
        note=note,
    )


def in_turns(rounds: int, *benchmarks: Callable[[], float]) -> list[list[float]]:
    """Return the results of each taker in each round; the order is reversed from one round to the next."""
    results: list[list[float]] = [[] for _ in benchmarks]
    for number in range(rounds):
        order = list(enumerate(benchmarks))
        for position, benchmark in order if number % 2 == 0 else reversed(order):
            results[position].append(benchmark())
    return results
