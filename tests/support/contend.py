"""Processes that fight for one CPU, and what the kernel itself counted of them (/proc/PID/schedstat)."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

LAB = Path("/run/lab/settings").exists()

# Each child stays on one CPU, spins there, and prints the numbers of the kernel as its last act.
_CODE = """
import os, sys, time
cpu = min(os.sched_getaffinity(0))
sleeps = int(sys.argv[2])
children = []
for _ in range(int(sys.argv[1])):
    child = os.fork()
    if child:
        children.append(child)
        continue
    os.sched_setaffinity(0, {cpu})
    for _ in range(sleeps):
        time.sleep(0.01)
    while time.process_time() < 0.15:
        pass
    numbers = open("/proc/self/schedstat").read().split()
    os.write(2, f"child {os.getpid()} {' '.join(numbers)}\\n".encode())
    os._exit(0)
for child in children:
    os.waitpid(child, 0)
"""


def command(processes: int = 3, sleeps: int = 0) -> list[str]:
    """The command line: so many children, each of which sleeps so often for 10 ms before it spins."""
    return [sys.executable, "-c", _CODE, str(processes), str(sleeps)]


@dataclass
class Counted:
    """What the kernel counted of a process: ns on a CPU, ns waiting for one, times that it got one."""

    on_cpu: int
    waiting: int
    runs: int


def counted(err: str) -> dict[int, Counted]:
    """By process id, from standard error."""
    found = {}
    for line in err.splitlines():
        if line.startswith("child "):
            pid, *numbers = map(int, line.split()[1:])
            found[pid] = Counted(*numbers)
    return found


def is_count(ours: int, kernels: int) -> bool:
    """Whether two counts of the same switches agree.

    The process goes on for a moment after it has read the kernel's, and may be switched a few times more. On
    a host, a policy may keep programs from running while some of its own tasks are current: a switch from
    such a task to ours is then not seen. In the lab none is missing.
    """
    unseen = 0 if LAB else kernels // 10
    return kernels - unseen <= ours <= kernels + 8


def is_close(ours: int, kernels: int) -> bool:
    """Whether two times (ns) of the same waits agree: both clocks are read some microseconds apart, and the
    process goes on for a moment after it has read the kernel's."""
    return abs(ours - kernels) <= kernels * 0.05 + 10_000_000
