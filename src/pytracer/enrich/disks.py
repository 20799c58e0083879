"""Decode disks by device number, and the operations of requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_DEVICES = Path("/sys/dev/block")

# enum req_op of include/linux/blk_types.h (enum req_opf before Linux 6.0), those whose number has stayed;
# OTHER of probes_c/biolatency.c.
_OPERATIONS = {
    0: "read",
    1: "write",
    2: "flush",
    3: "discard",
    5: "secure-erase",
    9: "write-zeroes",
    34: "driver-in",
    35: "driver-out",
    255: "other",
}


def disk_decoder(devices: Path = _DEVICES) -> Callable[[int], str]:
    """Make a decoder of the kernel's ``dev_t`` (major << 20 | minor): ``sda``, ``disk_8:0`` if it is gone."""

    cache: dict[int, str] = {}  # a name is kept: the disk may be gone when the summary is shown

    def decode(device: int) -> str:
        if device not in cache:
            number = f"{device >> 20}:{device & 0xFFFFF}"
            try:
                cache[device] = (devices / number).resolve(strict=True).name.replace("!", "/")
            except OSError:
                return f"disk_{number}"
        return cache[device]

    return decode


def block_operation(number: int) -> str:
    """Decode the operation of a request: ``0`` -> ``read``; ``operation_N`` if it has no name."""
    return _OPERATIONS.get(number) or f"operation_{number}"
