"""Measure the CPU time of the live screen at 100,000 events a second, as a share of one core."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

from bench.measure import MissingPeerError, Result, result

RATE = 100_000  # events a second
SECONDS = 5.0
SIZES = ((80, 24), (200, 50))
LIMIT = 0.06  # of a core
_PATIENCE = 60
# A hundred bursts a second: system calls that do nothing.
_FLOOD = f"""
import os, time
number, begun = 0, time.monotonic()
while True:
    for _ in range({RATE} // 100):
        os.getppid()
    number += 1
    time.sleep(max(begun + number / 100 - time.monotonic(), 0))
"""
_EVENTS = re.compile(rb"([\d,]+) events/s")


def share(columns: int, rows: int) -> float:
    """Return the share of a core that the screen takes, reading included. Raises MissingPeerError."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    flood = subprocess.Popen([sys.executable, "-c", _FLOOD])
    words = ["trace", "t:syscalls:sys_enter_getppid", "-p", str(flood.pid), "--live"]
    screen = subprocess.Popen(
        [sys.executable, "-m", "pytracer", *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env=os.environ | {"TERM": "xterm-256color"},
    )
    os.close(slave)
    try:
        seen = b""
        deadline = time.monotonic() + _PATIENCE
        while not _EVENTS.search(seen):
            if time.monotonic() > deadline or screen.poll() is not None:
                raise MissingPeerError(f"the live screen does not run here: {seen[-200:]!r}")
            seen += _read(master, 0.2)
        _read(master, 2)  # what a start does once
        before, start, seen = _cpu(screen.pid), time.monotonic(), b""
        seen = _read(master, SECONDS)
        cpu_share = (_cpu(screen.pid) - before) / (time.monotonic() - start)
        rates = [int(rate.replace(b",", b"")) for rate in _EVENTS.findall(seen)]
        if not rates or b"lost" in seen or sum(rates) / len(rates) < 0.8 * RATE:
            raise MissingPeerError(f"no {RATE} events a second came: {rates}")
        return cpu_share
    finally:
        for process in (screen, flood):
            process.send_signal(signal.SIGTERM)
        while screen.poll() is None:
            _read(master, 0.1)
        flood.wait()
        os.close(master)


def _read(master: int, seconds: float) -> bytes:
    """Read the output on the terminal, like a terminal emulator."""
    data, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([master], [], [], left)[0]:
            try:
                data += os.read(master, 65536)
            except OSError:
                break
    return data


def _cpu(pid: int) -> float:
    """Return the seconds of CPU time that a process has taken, all of its threads."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Compare with a whole core, on a small terminal and on a large one."""
    for columns, rows in SIZES:
        try:
            shares = [100 * share(columns, rows) for _ in range(rounds)]
        except MissingPeerError as missing:
            yield missing
            continue
        description = (
            f"CPU time of the live screen ({columns}x{rows}) at {RATE:,} events a second, reading included"
        )
        name = f"screen-{columns}x{rows}"
        yield result(name, description, "one core", shares, [100.0] * rounds, target=LIMIT, unit="%")
