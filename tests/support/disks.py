"""Create loop devices, and make known requests to them."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BLKDISCARD = 0x1277  # include/uapi/linux/fs.h
BLOCK = 4096


@contextlib.contextmanager
def loop(folder: Path, size: int = 64 << 20) -> Iterator[Path]:
    """Create a loop device on a file in ``folder``. Yields its path."""
    if not Path("/dev/loop-control").exists():
        subprocess.run(["modprobe", "loop"], check=True)
    file = folder / "disk"
    file.touch()
    os.truncate(file, size)
    process = subprocess.run(
        ["losetup", "--find", "--show", file], check=True, capture_output=True, text=True
    )
    device = Path(process.stdout.strip())
    try:
        if shutil.which("udevadm"):  # it looks at what is on a new disk
            subprocess.run(["udevadm", "settle"], check=False, capture_output=True)
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def takes_discards(device: Path) -> bool:
    """Return whether the disk supports discards. Linux 5.10 claims so of a loop device on overlayfs, too,
    but with size 0."""
    return (Path("/sys/class/block") / device.name / "queue/discard_granularity").read_text() != "0\n"


def work(
    device: Path, *, reads: int = 0, writes: int = 0, flushes: int = 0, discards: int = 0
) -> dict[str, int]:
    """Make requests, one after the other, past the page cache; how many, by operation."""
    discards = discards if takes_discards(device) else 0
    with mmap.mmap(-1, BLOCK) as page:
        fd = os.open(device, os.O_RDWR | os.O_DIRECT)
        try:
            for number in range(reads):
                assert os.preadv(fd, [page], number * BLOCK) == BLOCK
            for number in range(writes):
                assert os.pwritev(fd, [page], number * BLOCK) == BLOCK
            for _ in range(flushes):
                os.fsync(fd)
            for number in range(discards):
                fcntl.ioctl(fd, BLKDISCARD, struct.pack("QQ", number << 20, 1 << 16))
        finally:
            os.close(fd)
    counts = {"read": reads, "write": writes, "flush": flushes, "discard": discards}
    return {operation: count for operation, count in counts.items() if count}


# Reads blocks past the page cache, one after the other, under a name of its own.
READER = """
import mmap, os, sys
device, first, count, name = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
open("/proc/self/comm", "wb").write(os.fsencode(name))
page, fd = mmap.mmap(-1, 4096), os.open(device, os.O_RDONLY | os.O_DIRECT)
for number in range(first, first + count):
    assert os.preadv(fd, [page], number * 4096) == 4096
"""


def readers(device: Path, counts: dict[str, int], apart: int = 1000) -> dict[int, tuple[str, range]]:
    """Read ``device`` in processes that run at the same time; ``counts`` has the number of blocks by
    process name.

    Returns by process id the name and the sectors, of which each process has its own.
    """
    processes = []
    for position, (name, count) in enumerate(counts.items()):
        first = position * apart
        words = [device, str(first), str(count), name]
        process = subprocess.Popen([sys.executable, "-c", READER, *words])
        processes.append((process, name, range(first * 8, (first + count) * 8, 8)))
    for process, *_ in processes:
        assert process.wait(timeout=60) == 0
    return {process.pid: (name, sectors) for process, name, sectors in processes}


def schedulers(device: Path) -> Iterator[str]:
    """Set each of the disk's I/O schedulers in turn, and yield its name."""
    scheduler = Path("/sys/class/block") / device.name / "queue/scheduler"
    available = scheduler.read_text().replace("[", "").replace("]", "").split()
    for candidate in (name for name in ("none", "mq-deadline", "bfq", "kyber") if name in available):
        scheduler.write_text(candidate)
        yield candidate


def transferred_bytes(device: Path) -> dict[str, int]:
    """Return the kernel's count of completed bytes by operation."""
    numbers = list(map(int, (Path("/sys/class/block") / device.name / "stat").read_text().split()))
    return {"read": numbers[2] * 512, "write": numbers[6] * 512, "discard": numbers[13] * 512}


@contextlib.contextmanager
def file_system(device: Path, folder: Path) -> Iterator[Path]:
    """Mount an ext4 file system of the disk in ``folder``, without a journal."""
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", device], check=True)
    mount_point = folder / "mounted"
    mount_point.mkdir()
    subprocess.run(["mount", device, mount_point], check=True)
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", mount_point], check=True)


def completed_requests(device: Path) -> dict[str, int]:
    """Return the kernel's count of completed requests by operation."""
    numbers = list(map(int, (Path("/sys/class/block") / device.name / "stat").read_text().split()))
    return {"read": numbers[0], "write": numbers[4], "discard": numbers[11]}
