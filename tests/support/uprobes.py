"""Attach a counter to sites in files, and run the workloads that pass them."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import subprocess
from collections.abc import Sequence

from pytracer.bpf.asm.assembler import R0, R1, R2, R6, R10, Assembler, Instruction, W
from pytracer.bpf.attach import uprobe, uprobe_multi
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.bpf.attach.link import Link
from pytracer.bpf.sys import Command, MapType, ProgType, address, bpf, map_create
from pytracer.bpf.trial import helper_refusal, load
from pytracer.spec import ProbeSite, UserProbe
from support.cli import EarlyExit, Result, finish, start
from support.workloads import SOURCES, workload

SLOTS = 64
_GET_ATTACH_COOKIE = 174
ALTERNATIVES = ("pmu", "multi")


class Counter:
    """A program that counts by the cookie of the site it runs for, or all in slot 0; a context manager."""

    def __init__(self, alternative: str = "pmu", *, cookies: bool = False) -> None:
        self.way = alternative
        self.links: list[Link] = []
        self._map = map_create(MapType.ARRAY, 4, 8, SLOTS)
        attach_type = uprobe_multi.ATTACH_TYPE if alternative == "multi" else 0
        try:
            self.program = load(ProgType.KPROBE, _counting(self._map, cookies), attach_type=attach_type)
        except OSError:
            os.close(self._map)
            raise

    def put(self, probe: UserProbe) -> list[str]:
        """Attach as the session would. Returns the notes of the links."""
        kind = uprobe_multi if self.way == "multi" else uprobe
        links = kind.attach(probe, AttachTarget(""), self.program)
        self.links += links
        return [link.note for link in links if link.note]

    def attach(self, file, sites: Sequence[ProbeSite], **options) -> None:
        if self.way == "multi":
            self.links += uprobe_multi.attach_sites(file, sites, self.program, **options)
        else:
            self.links += uprobe.attach_sites(file, sites, self.program, **options)

    def detach(self) -> None:
        while self.links:
            self.links.pop().close()

    def __getitem__(self, slot: int) -> int:
        key, value = bytearray(struct.pack("I", slot)), bytearray(8)
        bpf(Command.MAP_LOOKUP_ELEM, struct.pack("IxxxxQQQ", self._map, address(key), address(value), 0))
        return struct.unpack("Q", value)[0]

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()
        os.close(self.program)
        os.close(self._map)


def _counting(table: int, cookies: bool) -> bytes:
    a = Assembler()
    a.mov(R6, R1)
    a.mov(R0, 0)
    if cookies:
        a._add(Instruction(0x85, imm=_GET_ATTACH_COOKIE))
    a.store(W, R10, -4, R0)
    a.load_map(R1, table)
    a.mov(R2, R10)
    a.add(R2, -4)
    a._add(Instruction(0x85, imm=1))  # map_lookup_elem
    a.jump_if(R0, "==", 0, "out")
    a.mov(R1, 1)
    a._add(Instruction(0xDB, R0.value, R1.value))  # *(u64 *)r0 += r1, atomically
    a.label("out")
    a.mov(R0, 1)
    a.exit()
    return a.assemble()


class Program:
    """A workload that says "ready" and waits for a line before it does its work."""

    def __init__(self, *words: object, **options) -> None:
        self.process = subprocess.Popen(
            list(map(str, words)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
        )
        self.pid = self.process.pid
        self.output = ""
        line = self.process.stdout.readline()
        assert line == "ready\n", line

    def go(self) -> str:
        """Release the program. Returns its output once it has ended."""
        message, _ = self.process.communicate("\n", timeout=60)
        assert self.process.returncode == 0
        return message

    def seen_by(self, tracer: str, *words: object) -> Result:
        """Run the program while a tracer traces it.

        Returns the result; a refused tracer leaves it waiting. The output of the program is in ``output``.
        """
        try:
            looking = start(tracer, "-f", "json", "-p", self.pid, *words)
        except EarlyExit as error:
            return error.result
        self.output = self.go()
        return finish(looking)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:
            self.process.kill()


def has_multi() -> bool:
    """Return whether this kernel has uprobe.multi, by asking for a link that cannot be."""
    with contextlib.suppress(OSError), Counter("multi") as counter:
        return uprobe_multi.explain_refusal(counter.program) == errno.EBADF
    return False


def has_multi_for_processes() -> bool:
    """Return whether such a link sees all threads of a process that it is for."""
    with contextlib.suppress(OSError), Counter("multi") as counter:
        return (
            uprobe_multi.explain_refusal(counter.program, uprobe_multi.NOBODY) == errno.EINVAL and has_multi()
        )
    return False


def has_cookies() -> bool:
    """Return whether programs get attach cookies."""
    return not helper_refusal(ProgType.KPROBE, _GET_ATTACH_COOKIE)


def working_program(times: int, function: str = "work") -> Program:
    return Program(workload("marks"), function, times)


def build_library(path: object, answer: int = 42) -> None:
    """Build the library of tests/workloads/library.c."""
    source = SOURCES / "library.c"
    subprocess.run(["gcc", "-shared", "-fPIC", f"-DANSWER={answer}", "-o", path, source], check=True)
