"""Create cgroups, and run processes in them."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pytracer.bpf.attach import cgroup as on_cgroups
from pytracer.bpf.attach.cgroup_skb import POINTS
from pytracer.bpf.sys import Command, ProgType, bpf, link_create, prog_load, program_info
from pytracer.bpf.trial import return_code
from pytracer.kernel.filter_values import cgroup2_roots
from support.cli import LIMIT, wait_for

DATAGRAMS = """
import socket
def send(family, address, times, size, kind=socket.SOCK_DGRAM, protocol=0):
    with socket.socket(family, kind, protocol) as there, socket.socket(family, kind, protocol) as here:
        there.bind((address, 0))
        for _ in range(times):
            here.sendto(bytes(size), there.getsockname())
            there.recv(65536)
"""
"""Python that sends datagrams to itself: each leaves one socket and reaches another."""


@contextlib.contextmanager
def cgroup() -> Iterator[Path]:
    """Create a cgroup (version 2). It is removed with all below it once its processes have ended."""
    roots = cgroup2_roots()
    assert roots, "no cgroup2 is mounted"
    folder = roots[0] / f"pytracer-test-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        below = [path for path in sorted(folder.rglob("*"), reverse=True) if path.is_dir()]
        for path in (*below, *([folder] if folder.exists() else [])):
            wait_for(lambda path=path: not (path / "cgroup.procs").read_text(), "its end")
            path.rmdir()


def run_in(folder: Path, code: str) -> int:
    """Run Python code in the cgroup to its end. Returns its process id."""
    enter = f"import os; open({str(folder / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
    process = subprocess.Popen([sys.executable, "-c", enter + code])
    assert process.wait(timeout=LIMIT) == 0
    return process.pid


@contextlib.contextmanager
def attached(
    folder: Path,
    attach_type: int,
    value: int,
    *,
    flags: int | None = None,
    kind: ProgType = ProgType.CGROUP_SKB,
) -> Iterator[int]:
    """Attach another owner's program that returns ``value``: by a link, or with ``flags`` and without one.
    Yields its id."""
    program = prog_load(kind, return_code(value), attach_type=attach_type, name="somebody_s")
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    link = -1
    try:
        if flags is None:
            link = link_create(program, attach_type, target=folder_fd)
        else:
            bpf(Command.PROG_ATTACH, struct.pack("IIII", folder_fd, program, attach_type, flags))
        yield program_info(program)[0]
    finally:
        if flags is not None:
            bpf(Command.PROG_DETACH, struct.pack("III", folder_fd, program, attach_type))
        for descriptor in (link, program, folder_fd):
            if descriptor >= 0:
                os.close(descriptor)


def programs_on(folder: Path, points: Mapping[str, int] = POINTS) -> dict[str, tuple[int, ...]]:
    """Return the programs on a cgroup by attach point; the points of packets by default."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return {point: on_cgroups.query_attached(descriptor, number) for point, number in points.items()}
    finally:
        os.close(descriptor)
