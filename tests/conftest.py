"""What every test shares: kernel tests need root, may not be skipped in CI, and leave nothing behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import struct
import time
from pathlib import Path

import pytest

from pytracer.bpf.sys import bpf_inout
from support.needs import Excused

PROG_GET_NEXT_ID, MAP_GET_NEXT_ID = 11, 12
_MARK = f"PYTRACER_TEST_RUN={os.getpid()}"  # in the environment of all that the tests start
os.environ.update([_MARK.split("=")])
_TURN = "/run"  # a folder that every checkout can lock


def _accept_signals() -> None:
    """Handle what the caller of the tests ignores (nohup, a shell's ``&``), so that what they start does not.

    What is handled is default after execve. The tests themselves still ignore all but SIGINT.
    """
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # these subprocess gives back
        if signal.getsignal(number) == signal.SIG_IGN:
            interrupt = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if interrupt else lambda *_: None)


_accept_signals()


def ids(command: int) -> set[int]:
    """The ids of all programs, or all maps, in the kernel."""
    found: set[int] = set()
    after = 0
    while True:
        attr = bytearray(struct.pack("III", after, 0, 0))
        try:
            _, back = bpf_inout(command, bytes(attr))
        except OSError:
            return found
        after = struct.unpack_from("I", back, 4)[0]
        found.add(after)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kernel") and os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Where PYTRACER_NO_SKIP is set, a kernel test that is skipped without a declared reason has failed."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and isinstance(call.excinfo.value, Excused):
        return
    if report.skipped and item.get_closest_marker("kernel") and os.environ.get("PYTRACER_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but PYTRACER_NO_SKIP is set: {report.longrepr}"


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest):
    """After a kernel test no program and no map that was not there before is left.

    Kernel tests of several checkouts take turns: what is the other's is not to be taken for this one's.
    """
    if not request.node.get_closest_marker("kernel"):
        yield
        return
    turn = os.open(_TURN, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield from _checked()
    finally:
        fcntl.flock(turn, fcntl.LOCK_UN)  # a child that lives on may hold the descriptor, too
        os.close(turn)


def _checked():
    before = ids(PROG_GET_NEXT_ID), ids(MAP_GET_NEXT_ID)
    yield
    deadline = time.monotonic() + 5  # the kernel frees them after a grace period
    while True:
        left = [
            now - then
            for now, then in zip((ids(PROG_GET_NEXT_ID), ids(MAP_GET_NEXT_ID)), before, strict=True)
        ]
        if not any(left):
            return
        if time.monotonic() > deadline:
            theirs = _held_by_others()
            left = [these - those for these, those in zip(left, theirs, strict=True)]
            if not any(left):
                return
            pytest.fail(f"left in the kernel: programs {left[0]}, maps {left[1]}")
        time.sleep(0.02)


def _held_by_others() -> tuple[set[int], set[int]]:
    """Programs and maps of processes that no test of this run started."""
    held: dict[str, set[int]] = {"prog_id": set(), "map_id": set()}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(process.name) == os.getpid() or _MARK.encode() in (process / "environ").read_bytes():
                continue
            for info in (process / "fdinfo").iterdir():
                for name, number in re.findall(r"^(prog_id|map_id):\s*(\d+)", info.read_text(), re.M):
                    held[name].add(int(number))
    return held["prog_id"], held["map_id"]
