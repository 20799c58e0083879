"""Pins: names in a BPF file system that keep programs, maps and links in the kernel."""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from pytracer.bpf.objects import ObjectKind, own_file_info
from pytracer.bpf.sys import Command, address, bpf
from pytracer.record import record

_MOUNTS = Path("/proc/thread-self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")
_FIELDS = (
    ("link_id", ObjectKind.LINK),
    ("map_id", ObjectKind.MAP),
    ("prog_id", ObjectKind.PROGRAM),
)  # a link tells its program's id, too


@record
class Pin:
    """A pin and its object. ``program`` and ``tag`` are those of the program, or of the program that a link
    holds; 0 and "" for a map."""

    path: str
    kind: ObjectKind
    id: int
    program: int
    tag: str = ""


def pins() -> list[Pin]:
    """Return all pins in the BPF file systems that are mounted in this mount namespace."""
    by_object = []
    for root in dict.fromkeys(point for point, _ in list_mounts()):
        for folder, _, files in os.walk(root):
            for file in files:
                with contextlib.suppress(OSError):  # somebody takes it away, or it is no pin
                    by_object.append(read_pin(str(Path(folder, file))))
    return by_object


def read_pin(path: str) -> Pin:
    """Identify the object that is pinned there. Raises OSError."""
    descriptor = open_pin(path)
    try:
        info = own_file_info(descriptor)
    finally:
        os.close(descriptor)
    for name, kind in _FIELDS:
        if name in info:
            return Pin(path, kind, int(info[name]), int(info.get("prog_id", 0)), info.get("prog_tag", ""))
    raise OSError(f"{path} is a pin of something else")


def open_pin(path: str) -> int:
    """Open the object that is pinned there. Returns its descriptor. Raises OSError."""
    name = bytearray(os.fsencode(path) + b"\0")
    return bpf(Command.OBJ_GET, struct.pack("QII", address(name), 0, 0))


def create_pin(descriptor: int, path: str) -> None:
    """Pin the object of a descriptor. Raises OSError."""
    name = bytearray(os.fsencode(path) + b"\0")
    bpf(Command.OBJ_PIN, struct.pack("QII", address(name), descriptor, 0))


def list_mounts() -> Iterator[tuple[str, str]]:
    """Yield the mount point and the source of each BPF file system."""
    for line in _MOUNTS.read_text().splitlines():
        fields = line.split(" ")
        separator = fields.index("-")
        if fields[separator + 1] == "bpf":
            yield _OCTAL.sub(lambda octal: chr(int(octal[1], 8)), fields[4]), fields[separator + 2]
