"""Run the example of each tracer, for lab/tracer_examples.py: its output, and what its programs cost.

Run by the Python that pytracer is installed for, in a VM of the lab whose clock counts instructions: then
the kernel's statistics of programs, which are times, are numbers of instructions. Prints JSON, one object
a line: the kernel first ({"release"}), then the runs ({"tracer", "arguments", "error", "output",
"programs": {name: [runs, instructions of all]}}).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab.guest.example_runs import EXAMPLES, PREPARE, SCRIPTS, SERVERS, Example

from pytracer.bpf.attach import raw_tracepoint
from pytracer.bpf.obj_info import read_program
from pytracer.bpf.objects import ObjectKind, iter_ids
from pytracer.bpf.sys import ProgType, bpf, prog_load
from pytracer.bpf.trial import return_code
from pytracer.prog.run_stats import count_runs

ROOT = Path(__file__).resolve().parents[2]
IN_THE_LAB = Path("/run/lab/settings")
LIMIT = 180  # seconds, for one run
LOOK = 0.03  # seconds between two looks for new programs
OUTPUT = 24  # lines
PYTRACER = [sys.executable, "-m", "pytracer"]
Programs = dict[str, tuple[int, int]]


class ProgramHolder:
    """Holds a descriptor of each program that is loaded during the block, so that it can still be read when
    its owner has ended."""

    def __init__(self) -> None:
        self._known = set(iter_ids(ObjectKind.PROGRAM))
        self._held: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> ProgramHolder:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        for descriptor in self._held:
            os.close(descriptor)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK):
            self._look()

    def _look(self) -> None:
        for number in iter_ids(ObjectKind.PROGRAM):
            if number not in self._known:
                self._known.add(number)
                with contextlib.suppress(OSError):  # it has been unloaded
                    self._held.append(bpf(ObjectKind.PROGRAM.value[1], struct.pack("I", number)))

    def programs(self) -> Programs:
        """Return the runs and the time of the programs that ran, by name."""
        programs: Programs = {}
        for descriptor in self._held:
            info = read_program(descriptor, code=False)
            runs, time = programs.get(info.name, (0, 0))
            if info.run_count:
                programs[info.name] = (runs + info.run_count, time + info.run_time)
        return programs


def floor() -> float:
    """Return what the statistics say of a program that does nothing: the reading of the clock itself."""
    program = prog_load(ProgType.RAW_TRACEPOINT, return_code(0))
    link = raw_tracepoint.attach_to_event("sys_enter", program)
    for _ in range(2000):
        os.getppid()
    os.close(link)
    info = read_program(program, code=False)
    os.close(program)
    return info.run_time / info.run_count


@contextlib.contextmanager
def prepared() -> Iterator[dict[str, str]]:
    """Make the files and servers of the examples, in a folder that becomes the current one. Yields the
    environment of their commands."""
    sys.path[1:1] = [str(ROOT / "tests"), str(ROOT / "tests/kernel")]
    memory_cgroup = importlib.import_module("support.memory").memory_cgroup
    workload = importlib.import_module("support.workloads").workload
    with tempfile.TemporaryDirectory() as folder, memory_cgroup(24 << 20) as cgroup:
        os.chdir(folder)
        subprocess.run(["bash", "-c", PREPARE], check=False, stdout=subprocess.DEVNULL)
        for file, name in SCRIPTS.items():
            module, attribute = name.split(".")
            Path(file).write_text(getattr(importlib.import_module(module), attribute))
        servers = subprocess.Popen([sys.executable, "-c", SERVERS])
        try:
            programs = {name.upper(): str(workload(name)) for name in ("mutexes", "rings")}
            yield os.environ | {"CGROUP": str(cgroup)} | programs
        finally:
            servers.kill()
            servers.wait()
            os.chdir("/")
            subprocess.run(["umount", "--lazy", f"{folder}/data"], check=False)


def run(name: str, example: Example, environment: dict[str, str]) -> dict[str, Any]:
    """Run one example and return what became of it."""
    if example.setup:
        subprocess.run(["bash", "-c", example.setup], check=False, env=environment, stdout=subprocess.DEVNULL)
    results = Path("results")  # apart from the output of the command
    results.unlink(missing_ok=True)
    words = f"{' '.join(PYTRACER)} {name} -v -o {results} {example.arguments}"
    if example.command:
        words += f" -- {example.command}"
    with ProgramHolder() as holder:
        tracer = subprocess.Popen(
            ["bash", "-c", f"exec {words}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        errors = wait_until_traced(tracer)
        if example.beside and tracer.poll() is None:
            subprocess.run(["bash", "-c", example.beside], env=environment, check=False, capture_output=True)
            if not re.search(r"-d \d|\d 1\b", example.arguments):
                os.killpg(tracer.pid, signal.SIGINT)
        try:
            errors += tracer.communicate(timeout=LIMIT)[1]
        except subprocess.TimeoutExpired:
            os.killpg(tracer.pid, signal.SIGKILL)
            tracer.communicate()
        return {
            "tracer": name,
            "arguments": f"{example.arguments} -- {example.command}".strip()
            if example.command
            else example.arguments,
            "error": failure(tracer.returncode, errors),
            "output": results.read_text().splitlines()[:OUTPUT] if results.exists() else [],
            "programs": holder.programs(),
        }


def failure(status: int, errors: str) -> str:
    """Return what pytracer says went wrong; "" if its status is that of the command."""
    messages = [line for line in errors.splitlines() if line.startswith("pytracer: error: ")]
    return messages[-1] if messages else f"ended by signal {-status}" if status < 0 else ""


def wait_until_traced(tracer: subprocess.Popen[str]) -> str:
    """Read its messages until its probes are attached. Returns them."""
    output = ""
    assert tracer.stderr is not None
    for line in tracer.stderr:
        output += line
        if "tracing" in line:
            break
    return output


def main() -> None:
    """Print all of it, line by line as it comes."""
    if not IN_THE_LAB.exists():
        sys.exit("tracer_examples: changes the machine it runs on: scripts/record --examples boots one")
    names = sys.argv[1:] or list(EXAMPLES)
    with count_runs(), prepared() as environment:
        print(json.dumps({"release": os.uname().release, "floor": floor()}), flush=True)
        for name in names:
            print(json.dumps(run(name, EXAMPLES[name], environment)), flush=True)


if __name__ == "__main__":
    main()
