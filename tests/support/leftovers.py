"""Find what a kernel test leaves loaded, among what tests beside it have loaded.

Each worker of pytest-xdist, and each pytest without it, marks the environment of the processes it starts.
A program or map that a process with another mark holds belongs to that process. Objects that no process
holds (pinned, attached by netlink, attached to a cgroup without a link) have no owner; such ids are
checked again while no other kernel test runs.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import time
from collections.abc import Callable
from pathlib import Path

from pytracer.bpf.sys import bpf_inout

MARK = f"PYTRACER_TEST_RUN={os.getpid()}"
GRACE = 5.0
"""Seconds that the kernel may take to free a program or map after its last reference is gone."""
UNHELD_GRACE = 1.0
"""Seconds after which what no process holds is worth stopping all other kernel tests for."""
_GET_NEXT_ID = {"program": 11, "map": 12}  # enum bpf_cmd
_HOLDS = re.compile(r"^(prog|map)_id:\s*(\d+)", re.M)

Id = tuple[str, int]  # "program" or "map", and its id


def mark_environment() -> None:
    """Mark this process's environment, and so that of every process it starts."""
    os.environ.update([MARK.split("=")])


def is_ours(process: int) -> bool:
    """Return True for this process and for those that carry its mark. Raises OSError once the process is
    gone."""
    if process == os.getpid():
        return True
    return MARK.encode() in Path(f"/proc/{process}/environ").read_bytes().split(b"\0")


def loaded_ids() -> set[Id]:
    """List all programs and maps in the kernel."""
    ids = set[Id]()
    for kind, command in _GET_NEXT_ID.items():
        after = 0
        with contextlib.suppress(OSError):  # ENOENT behind the last one
            while True:
                _, answer = bpf_inout(command, struct.pack("III", after, 0, 0))
                after = struct.unpack_from("I", answer, 4)[0]
                ids.add((kind, after))
    return ids


def held_ids() -> tuple[set[Id], set[Id]]:
    """Find the programs and maps that processes hold: those of this run, and those of all others."""
    own_ids, foreign_ids = set[Id](), set[Id]()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process may end at any time
            is_own = is_ours(int(process.name))
            for info in (process / "fdinfo").iterdir():
                with contextlib.suppress(OSError):
                    for kind, number in _HOLDS.findall(info.read_text()):
                        (own_ids if is_own else foreign_ids).add(
                            ("program" if kind == "prog" else "map", int(number))
                        )
    return own_ids, foreign_ids


def find_leftovers(before: set[Id], wait_until_alone: Callable[[], None]) -> set[Id]:
    """Return the objects loaded since ``before`` that stay, unless a process of another run holds them.

    ``wait_until_alone`` is called at most once, and returns when no other kernel test is running.
    """
    suspects = loaded_ids() - before
    start, is_alone = time.monotonic(), False
    while suspects:
        suspects &= loaded_ids()
        own_ids, foreign_ids = held_ids()
        suspects -= foreign_ids - own_ids
        waited = time.monotonic() - start
        if is_alone or suspects & own_ids:
            if waited > GRACE:
                return suspects
        elif suspects and waited > UNHELD_GRACE:
            wait_until_alone()
            start, is_alone = time.monotonic(), True
        time.sleep(0.02)
    return suspects


def describe(ids: set[Id]) -> str:
    """Format ids for a message."""
    return ", ".join(f"{kind} {number}" for kind, number in sorted(ids))
