"""Run bpftool as a second opinion, and load programs for it and pytracer to look at."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytracer.bpf.asm.assembler import R0, R1, R2, R6, R10, Assembler, HelperId, Instruction, W
from pytracer.bpf.sys import (
    Command,
    MapType,
    ProgType,
    address,
    bpf,
    map_create,
    prog_load,
    program_info,
)
from pytracer.bpf.trial import return_code

SO_ATTACH_BPF = 50


def bpftool(*words: object) -> list[dict[str, Any]]:
    """Run bpftool, and return its JSON."""
    process = subprocess.run(["bpftool", "-j", *map(str, words)], capture_output=True, text=True, check=True)
    output = json.loads(process.stdout)
    assert isinstance(output, list), output
    return output


def entries(process: int, name: str) -> int:
    """Return how many entries a map of this name has that a process holds."""
    map_ids = set[str]()
    for file in Path(f"/proc/{process}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            lines = file.read_text().splitlines()
            map_ids |= {line.split()[1] for line in lines if line.startswith("map_id")}
    [number] = [
        bpf_map["id"]
        for bpf_map in bpftool("map", "show")
        if str(bpf_map["id"]) in map_ids and bpf_map["name"] == name
    ]
    return len(bpftool("map", "dump", "id", number))


def by_id(objects: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return its objects by id."""
    return {bpf_object["id"]: bpf_object for bpf_object in objects}


@contextlib.contextmanager
def program(kind: int, code: bytes = return_code(0), **options: Any) -> Iterator[tuple[int, int]]:
    """Load a program. Yields its descriptor and id."""
    descriptor = prog_load(kind, code, **options)
    try:
        yield descriptor, program_info(descriptor)[0]
    finally:
        os.close(descriptor)


def counting(table: int, process: int) -> bytes:
    """Return a program that counts its runs in slot 0 of an array, and those for one process in slot 1."""
    a = Assembler()
    a.call(HelperId.get_current_pid_tgid)
    a.alu(R0, ">>=", 32)
    a.mov(R6, R0)
    _count(a, table, 0)
    a.jump_if(R6, "!=", process, "out")
    _count(a, table, 1)
    a.label("out")
    a.mov(R0, 1)
    a.exit()
    return a.assemble()


def _count(a: Assembler, table: int, slot: int) -> None:
    a.store(W, R10, -4, slot)
    a.load_map(R1, table)
    a.mov(R2, R10)
    a.add(R2, -4)
    a.call(HelperId.map_lookup_elem)
    a.jump_if(R0, "==", 0, "out")
    a.mov(R1, 1)
    a._add(Instruction(0xDB, R0.value, R1.value))  # *(u64 *)r0 += r1, atomically


class Filtered:
    """Two sockets, and a program that sees what one sends to the other, and lets it pass."""

    def __init__(self) -> None:
        self.far, self._near = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.program = prog_load(ProgType.SOCKET_FILTER, return_code(1 << 16), name="test_filtered")
        self.id = program_info(self.program)[0]
        self._near.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, self.program)

    def send(self, times: int) -> None:
        """Run the program this many times."""
        for _ in range(times):
            self.far.send(b"x")
            self._near.recv(8)

    def __enter__(self) -> Filtered:
        return self

    def __exit__(self, *_: object) -> None:
        self.far.close()
        self._near.close()
        os.close(self.program)


def array(slots: int, name: str = "") -> int:
    """Return an array of 64-bit numbers."""
    return map_create(MapType.ARRAY, 4, 8, slots, name=name)


def number(table: int, slot: int) -> int:
    """Return the number of one of them."""
    key, value = bytearray(struct.pack("I", slot)), bytearray(8)
    bpf(Command.MAP_LOOKUP_ELEM, struct.pack("IxxxxQQQ", table, address(key), address(value), 0))
    return int(struct.unpack("Q", value)[0])


def update(table: int, slot: int, value: int) -> None:
    """Set one of them."""
    key, data = bytearray(struct.pack("I", slot)), bytearray(struct.pack("Q", value))
    bpf(Command.MAP_UPDATE_ELEM, struct.pack("IxxxxQQQ", table, address(key), address(data), 0))
