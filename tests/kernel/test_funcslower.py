"""Test funcslower on functions that take at least so long: which calls it shows, and what of them."""

from __future__ import annotations

import pytest

from pytracer.plan.attach_targets import ALTERNATIVES
from support.cli import run
from support.needs import was_refused
from support.uprobes import Program
from support.workloads import workload

pytestmark = pytest.mark.kernel

CALLS = 23
MS = 1_000_000
PAIRS = {"k": "kr", "f": "fr"}
EVERY = [
    (kind, part, alternative.name)
    for kind, end in PAIRS.items()
    for part in (kind, end)
    for alternative in ALTERNATIVES[part]
]


def events(result):
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result.of("event")


def of_program(mode, times, ms, name, *words):
    with Program(workload("timed"), mode, times, ms) as program:
        target = f"u:{workload('timed')}:{name}"
        slow_calls = events(program.seen_by("funcslower", *words, target))
        assert all((event["pid"], event["target"]) == (program.pid, target) for event in slow_calls)
        return slow_calls


@pytest.mark.lab
@pytest.mark.smoke
def test_slow_calls_are_shown_with_arguments_and_results():
    """Of 23 nested calls, the nth takes n naps of 2 ms and returns n."""
    slow_calls = of_program("nested", CALLS, 2, "nest", "--min", "0", "--args")
    assert [int(event["returned"], 16) for event in slow_calls] == list(range(1, CALLS + 1))
    assert [int(event["args"].split(", ")[0], 16) for event in slow_calls] == list(range(1, CALLS + 1))
    assert all(event["latency_ns"] >= 2 * MS * number for number, event in enumerate(slow_calls, 1))
    assert {event["comm"] for event in slow_calls} == {"timed"}


@pytest.mark.parametrize(("limit", "maximum"), [("20ms", 10), ("20", 10), ("20000us", 10), ("10000s", CALLS)])
def test_fast_calls_are_not_shown(limit, maximum):
    """A sleep is never too short: those that slept long enough are shown, perhaps with some more."""
    slow_calls = of_program("nested", CALLS, 2, "nest", "-m", limit)
    returned_values = [int(event["returned"], 16) for event in slow_calls]
    assert returned_values == list(range(CALLS - len(returned_values) + 1, CALLS + 1))
    if limit == "10000s":
        assert not returned_values
    else:
        assert len(returned_values) >= CALLS - maximum + 1
        assert all(event["latency_ns"] >= 20 * MS for event in slow_calls)
        assert "args" not in slow_calls[0]


@pytest.mark.lab
@pytest.mark.parametrize(("kind", "part", "alternative"), EVERY, ids=lambda value: value)
def test_functions_of_the_kernel_by_every_alternative(kind, part, alternative):
    """close(-1) fails with EBADF; the argument is in the caller's registers."""
    words = ["--min", 0, "--args", "--hook", f"{part}={alternative}", f"{kind}:__x64_sys_close"]
    result = run("funcslower", "-f", "json", *words, "--", workload("calls"), "fail", CALLS)
    if was_refused(result, {part: alternative}):
        return
    slow_calls = events(result)
    assert len(slow_calls) == CALLS
    assert {event["returned"] for event in slow_calls} == {"0xfffffffffffffff7"}
    assert all(event["latency_ns"] > 0 for event in slow_calls)
    arguments = [[int(text, 16) for text in event["args"].split(", ")] for event in slow_calls]
    assert {len(args) for args in arguments} == {1 if kind == "f" else 6}
    assert len({args[0] for args in arguments}) == 1
    # On the stack of the kernel: the half that it has of the addresses begins there with five page levels.
    assert arguments[0][0] >> 56 == 0xFF


def test_an_invalid_duration():
    for text in ("10m", "-1", "1e3", "", "10 ms", "99999999999999999999s"):
        result = run("funcslower", "vfs_read", f"--min={text}")
        assert result.status == 2
        assert f"{text!r} is no length of time" in result.err
    assert run("funcslower", "u:libc:getppid", "10").status == 2
