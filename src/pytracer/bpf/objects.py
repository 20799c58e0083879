"""Enumerate all BPF objects of one kind in the kernel by id, of any owner."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from pytracer.bpf.sys import Command, bpf, bpf_inout


class ObjectKind(Enum):
    """The kinds of objects with ids: the command that returns the next id, and the one that opens it."""

    PROGRAM = (Command.PROG_GET_NEXT_ID, Command.PROG_GET_FD_BY_ID)
    MAP = (Command.MAP_GET_NEXT_ID, Command.MAP_GET_FD_BY_ID)
    LINK = (Command.LINK_GET_NEXT_ID, Command.LINK_GET_FD_BY_ID)  # Linux 5.8 (2d602c8cf40d)


def iter_ids(kind: ObjectKind) -> Iterator[int]:
    """Yield the ids of all objects, in ascending order; for links, none before Linux 5.8. Raises OSError if
    it is not permitted."""
    previous_id = 0
    while True:
        try:
            _, attr = bpf_inout(kind.value[0], struct.pack("II", previous_id, 0))
        except OSError as error:
            if error.errno == errno.ENOENT or (error.errno == errno.EINVAL and kind is ObjectKind.LINK):
                return
            raise
        previous_id = struct.unpack_from("I", attr, 4)[0]
        yield previous_id


@contextlib.contextmanager
def open_object(kind: ObjectKind, number: int) -> Iterator[int]:
    """Open an object for the length of the block. Raises OSError (ENOENT: it no longer exists)."""
    descriptor = bpf(kind.value[1], struct.pack("I", number))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def file_info(text: str) -> dict[str, str]:
    """Parse the fields of a file in /proc/PID/fdinfo."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def own_file_info(descriptor: int) -> dict[str, str]:
    """Parse the fdinfo of a descriptor of this process. Raises OSError."""
    return file_info(Path(f"/proc/self/fdinfo/{descriptor}").read_text())
