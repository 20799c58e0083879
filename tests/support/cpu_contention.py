"""Run processes that compete for one CPU, and read the kernel's counts of them (/proc/PID/schedstat)."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

LAB = Path("/run/lab/settings").exists()
UNSEEN = 0 if LAB else 2
"""Timers that may fire unseen: a machine may run no program while a task of its own agent is current. In
the lab every one is seen."""

# Each child stays on one CPU and spins there. Its numbers are read after its end, before it is waited for.
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
    os._exit(0)
for child in children:
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    numbers = open(f"/proc/{child}/schedstat").read().split()
    os.write(2, f"child {child} {' '.join(numbers)}\\n".encode())
    os.waitpid(child, 0)
"""


def command(processes: int = 3, sleeps: int = 0) -> list[str]:
    """Return the command line: the number of children, and how often each sleeps for 10 ms before it
    spins."""
    return [sys.executable, "-c", _CODE, str(processes), str(sleeps)]


@dataclass
class SchedCounts:
    """The kernel's counts of a process: ns on a CPU, ns waiting for one, number of timeslices."""

    on_cpu: int
    waiting: int
    runs: int


def read_counts(err: str) -> dict[int, SchedCounts]:
    """Return the counts by process id, from standard error."""
    counts = {}
    for line in err.splitlines():
        if line.startswith("child "):
            pid, *numbers = map(int, line.split()[1:])
            counts[pid] = SchedCounts(*numbers)
    return counts


def is_count(value: int, counter: int) -> bool:
    """Return whether two counts of the same switches agree.

    A process that exits is not followed from the exit's event on, and may be switched a few times after it.
    On a host, a policy may keep programs from running while some of its own tasks are current: a switch from
    such a task to ours is then not seen. In the lab none is missing.
    """
    unseen = 0 if LAB else counter // 10
    return counter - unseen - 8 <= value <= counter


def is_close(value: int, counter: int) -> bool:
    """Return whether two times (ns) of the same waits agree: the clock of a run queue is read a moment apart
    from ours, and the last moments of a process are not followed."""
    return abs(value - counter) <= counter * 0.1 + (50_000_000 if LAB else 10_000_000)
