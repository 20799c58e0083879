"""Test mutexstat against locks that are taken a known number of times, beside the program's own clock."""

from __future__ import annotations

import pytest

from support.cli import run
from support.workloads import workload

pytestmark = pytest.mark.kernel
ROUNDS = 7
PAUSE = 50_000_000  # ns, of the workload
TAKERS = (
    *("hold_it", "wait_for_it", "take_thrice", "try_twice", "wait_for_condition"),
    *("read_it", "write_it", "write_after_reader", "read_after_writer", "read_thrice"),
)


def mutexes(*words):
    """Return the rows by the function that takes the mutex, added up, and the program's own times."""
    for _ in range(3):
        result = run("mutexstat", *words, "-f", "json", "--", workload("mutexes"), ROUNDS)
        if "seconds of computing" not in result.err:  # names are missing; a later run has more of them cached
            break
    assert result.status == 0, result.err
    assert not result.of("loss")
    sums = {}
    for row in result.of("summary"):
        for name in TAKERS:
            if any(frame.partition("+")[0] == name for frame in row["user"]):
                for column in ("holds", "waits", "held_ns", "total_ns"):
                    sums.setdefault(name, {}).setdefault(column, 0)
                    sums[name][column] += row[column]
    lines = [line.split() for line in result.err.splitlines() if line.startswith(TAKERS)]
    return sums, {name: [int(number) for number in numbers] for name, *numbers in lines}, result


@pytest.mark.smoke
@pytest.mark.lab
def test_holds_and_waits_by_the_function_that_takes_the_mutex():
    sums, own_rows, _ = mutexes()
    counts = {name: (row["holds"], row["waits"]) for name, row in sums.items()}
    assert counts == {
        "hold_it": (ROUNDS, 0),
        "wait_for_it": (ROUNDS, ROUNDS),
        "take_thrice": (ROUNDS, 0),  # a recursive mutex is held until its last release
        "try_twice": (ROUNDS, 0),  # the second one is refused, and does not wait
        "wait_for_condition": (2 * ROUNDS, 0),
        "read_it": (ROUNDS, 0),
        "write_after_reader": (ROUNDS, ROUNDS),
        "write_it": (ROUNDS, 0),
        "read_after_writer": (ROUNDS, ROUNDS),
        "read_thrice": (ROUNDS, 0),  # a reader's hold ends with its last release
    }
    pairs = (("hold_it", "wait_for_it"), ("read_it", "write_after_reader"), ("write_it", "read_after_writer"))
    for holder, waiter in pairs:
        minimum, maximum, waited = own_rows[holder]
        assert minimum <= sums[holder]["held_ns"] <= maximum
        assert ROUNDS * PAUSE <= sums[waiter]["total_ns"] <= waited
    minimum, maximum, waited = own_rows["wait_for_condition"]
    assert waited >= ROUNDS * PAUSE > maximum - waited  # or the machine was too slow to tell
    assert minimum <= sums["wait_for_condition"]["held_ns"] <= maximum - ROUNDS * PAUSE / 2


def test_only_long_ones_and_by_mutex():
    sums, _, result = mutexes("--min", "20ms", "--by", "lock,comm,pid")
    assert {name: (row["holds"], row["waits"]) for name, row in sums.items()} == {
        "hold_it": (ROUNDS, 0),
        "wait_for_it": (0, ROUNDS),
        "read_it": (ROUNDS, 0),
        "write_after_reader": (0, ROUNDS),
        "write_it": (ROUNDS, 0),
        "read_after_writer": (0, ROUNDS),
    }
    rows = result.of("summary")
    assert len({row["lock"] for row in rows}) == 2
    assert len({row["pid"] for row in rows}) == 1
    assert {row["comm"] for row in rows} == {"mutexes"}
