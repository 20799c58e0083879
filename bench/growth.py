"""Measure growth: a tracer of many functions, a kernel with many programs, a machine with many CPUs.

``python -m bench.growth`` measures tracers on this machine, and prints a JSON object for each.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import MissingPeerError, Row
from bench.peers import PYTRACER, ROOT, await_output, resident, running, until_output
from bench.work import compile_c
from pytracer.bpf.asm.assembler import Assembler, Register
from pytracer.bpf.attach.perf import raise_fd_limit
from pytracer.bpf.objects import file_info
from pytracer.bpf.sys import MapType, ProgType, map_create, prog_load

LAB, LIMIT = "6.12", 1500  # seconds to boot, and for the tracers, the compiler included
CPUS = (2, 16, 64)
TRACERS = {"syscalls": "rows with values of each CPU", "opensnoop": "a ring buffer"}


def functions(power_max: int) -> Iterator[Row]:
    """Measure ``funccount`` with a pattern that matches many functions of a program."""
    with tempfile.TemporaryDirectory(prefix="pytracer-bench-") as folder:
        for number in _powers(power_max):
            program = _program(Path(folder), number)
            command = [*PYTRACER, "funccount", "-v", "--max-probes", str(number), f"u:{program}:part_*"]
            until_output(command, "pytracer: tracing")  # compiles
            seconds, memory = until_output(command, "pytracer: tracing")
            each = "for a function of its pattern"
            yield f"time until `funccount` traces, {each}", number, seconds * 1e6 / number, "us"
            yield f"resident memory of `funccount`, {each}", number, memory / number, "KiB"


def _powers(power_max: int) -> Iterator[int]:
    return (10**power for power in range(2, power_max + 1))


def _program(folder: Path, number: int) -> Path:
    """Make a program with functions part_0, part_1, ... Raises MissingPeerError without a compiler."""
    source, program = folder / "functions.c", folder / f"functions-{number}"
    parts = (f"void part_{i}(void) {{}}\n" for i in range(number))
    source.write_text("".join(parts) + "int main() { return 0; }\n")
    compile_c(source, program)
    return program


def programs(power_max: int) -> Iterator[Row]:
    """Measure ``prog`` and the start of a tracer while others' programs are loaded, each with its own map."""
    command = [*PYTRACER, "syscalls", "-v"]
    until_output(command, "pytracer: tracing")  # compiles
    for number in _powers(power_max):
        with _loaded(number):
            start = time.monotonic()
            subprocess.run([*PYTRACER, "prog"], check=True, stdout=subprocess.DEVNULL)
            times = {"of `prog`, which watches for 1 s": time.monotonic() - start}
            times["until `syscalls` traces"], _ = until_output(command, "pytracer: tracing")
        for what, seconds in times.items():
            yield f"time {what}, for a program of others", number, seconds * 1e6 / number, "us"


@contextlib.contextmanager
def _loaded(number: int) -> Iterator[None]:
    """Load programs that nothing runs, each with a map of its own, until the block ends."""
    raise_fd_limit(number)
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            map_fd = map_create(MapType.ARRAY, 4, 8, 1)
            code = Assembler()
            code.load_map(Register.R1, map_fd)
            code.mov(Register.R0, 0)
            code.exit()
            stack.callback(os.close, prog_load(ProgType.SOCKET_FILTER, code.assemble()))
            os.close(map_fd)  # the program holds it
        yield


def cpus(number_max: int) -> Iterator[Row | MissingPeerError]:
    """Measure the memory and the start of tracers in virtual machines with up to so many CPUs.

    They are emulated, and their clock counts instructions: the figures of time compare with each other alone.
    """
    for number in (number for number in CPUS if number <= number_max):
        lab = [sys.executable, str(ROOT / "scripts/lab"), LAB, "--accel", "icount", "--memory", "6144"]
        limits = ["--boot-timeout", str(LIMIT), "--timeout", str(LIMIT)]
        command = [*lab, "--cpus", str(number), *limits, "--", sys.executable, "-m", "bench.growth"]
        run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if run.returncode:
            yield MissingPeerError(f"{number} CPUs: the lab ended with {run.returncode}")
            continue
        for record in map(json.loads, run.stdout.splitlines()):
            each = f"`{record['tracer']}` ({TRACERS[record['tracer']]}), for a CPU"
            yield f"memory in the kernel of the maps of {each}", number, record["maps"] / number, "KiB"
            yield f"resident memory of {each}", number, record["resident"] / number, "KiB"
            yield f"time until tracing of {each}", number, record["seconds"] * 1e3 / number, "ms"


def _measure_here() -> None:
    for tracer in TRACERS:
        command = [*PYTRACER, tracer, "-v", "-d", "600"]
        until_output(command, "pytracer: tracing")  # compiles
        start = time.monotonic()
        with running(command) as process:
            await_output(process, "pytracer: tracing")
            record = {
                "tracer": tracer,
                "seconds": time.monotonic() - start,
                "resident": resident(process.pid),
                "maps": maps_memory(process.pid) / 1024,
            }
            print(json.dumps(record), flush=True)


def maps_memory(pid: int) -> int:
    """Return the bytes of kernel memory that the maps of a process take, as their descriptors tell."""
    memory_by_map = dict[str, int]()
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):
            fields = file_info(path.read_text())
            if "map_id" in fields:
                memory_by_map[fields["map_id"]] = int(fields["memlock"])
    return sum(memory_by_map.values())


if __name__ == "__main__":
    _measure_here()
