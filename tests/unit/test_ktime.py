"""Test the kernel's clocks in a time namespace."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from pytracer import ktime

DAY = 86_400_000_000_000  # nanoseconds


@pytest.fixture(autouse=True)
def _offsets_are_read_anew():
    ktime._measure_offset.cache_clear()
    yield
    ktime._measure_offset.cache_clear()


def test_offsets_are_subtracted(monkeypatch, tmp_path):
    (tmp_path / "offsets").write_text("monotonic    1000000         7\nboottime      -86400         0\n")
    monkeypatch.setattr(ktime, "_OFFSETS", tmp_path / "offsets")
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: clock)
    assert ktime.monotonic_ns() == time.CLOCK_MONOTONIC - 1_000_000_000_000_007
    assert ktime.boottime_ns() == time.CLOCK_BOOTTIME + DAY


def test_without_time_namespaces_nothing_is(monkeypatch, tmp_path):
    monkeypatch.setattr(ktime, "_OFFSETS", tmp_path / "nothing")
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: clock)
    assert ktime.monotonic_ns() == time.CLOCK_MONOTONIC


@pytest.mark.kernel
@pytest.mark.parametrize("shift", [DAY, 0])
def test_in_a_time_namespace_the_clocks_are_the_machines(shift):
    code = "from pytracer import ktime; print(ktime.monotonic_ns(), ktime.boottime_ns())"
    shifted = str(shift // 1_000_000_000)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    words = ["unshare", "-T", "--monotonic", shifted, "--boottime", shifted, sys.executable, "-c", code]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    for low, value, high in zip(before, map(int, result.stdout.split()), after, strict=True):
        assert low < value < high
