"""scripts/test --lab [-j N] [--suite NAME] [--timeout SECONDS] [--shares N] [--compile-inside]
[--compile-all] [KERNEL...] [ARGUMENT...]
The tests, in VMs. ARGUMENTs are pytest's.

Without a kernel's name, on all of them; without -j, two at a time where there are two processors and memory
for both. Each line says which kernel it is from, and the last counts all tests: "N passed, N failed, N
skipped", and with pytest's --reruns how many passed only when they were repeated. A kernel whose tests did
not come to their end counts as one failure.

C of pytracer in a VM is compiled beside it, by lab/host_compiler.py; not with --suite, whose BCC is
another, and not with --compile-inside. With --compile-all, every tracer is first compiled for each kernel
with each alternative; that counts as one test a kernel. With --shares N, each kernel has the first
test of every Nth file, the first kernel from the first file on, the next from the second: with 2, two of
four kernels have each.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

from lab import compile_inputs, host_compiler, suites
from lab.errors import FAILED, LabError, say
from lab.fetch import cached, find
from lab.host import memory_available
from lab.host_compiler import HostCompiler
from lab.kernels import KERNELS, Kernel

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 6 * 3600
"""Seconds for the tests on one kernel: all of them, emulated."""
MEMORY = 3300
"""Megabytes for one of them: what the VM has, and QEMU."""
OPTIONS = {"-j": "kernels", "--suite": "", "--timeout": "seconds", "--shares": "parts of the tests"}
"""The options of this command, and the meaning of their numbers."""
INSIDE, ALL = "--compile-inside", "--compile-all"
"""Its options without one."""
SUMMARY = re.compile(r"^(?:=+ )?((?:\d+ \w+, )*\d+ \w+) in [\d.]+s\b.*$", re.M)
PLAIN = re.compile(r"^(\d+ passed, \d+ failed, \d+ skipped(?:, \d+ reruns?)?)$", re.M)
RERUNS = 5
"""Tests of one run of .ci/run that may fail at first and pass when repeated, one for each kernel. More of
them are failures."""


@dataclass(frozen=True)
class Counts:
    """The numbers of tests that passed, failed (errors included), were skipped and were repeated."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reruns: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
            self.reruns + other.reruns,
        )

    def __str__(self) -> str:
        reruns = f", {self.reruns} rerun{'s' * (self.reruns > 1)}" if self.reruns else ""
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped{reruns}"


def counted(output: str, status: int) -> Counts:
    """Parse the last line of pytest's output; at least one failure if that, or the status, is no success."""
    matches = [*SUMMARY.finditer(output), *PLAIN.finditer(output)]
    if not matches:
        return Counts(failed=1)
    last = max(matches, key=lambda match: match.start())
    numbers = {word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) (\w+)", last[1])}
    failed = numbers.get("failed", 0) + numbers.get("error", 0)
    passed, skipped, reruns = (numbers.get(name, 0) for name in ("passed", "skipped", "rerun"))
    return Counts(passed, failed or int(status != 0), skipped, reruns)


@dataclass
class KernelRun:
    """A running test run of one kernel."""

    kernel: Kernel
    process: subprocess.Popen[bytes]
    compiler: HostCompiler | None = None
    begun: float = field(default_factory=time.monotonic)
    output: bytearray = field(default_factory=bytearray)
    shown: int = 0

    def feed(self, data: bytes) -> None:
        """Process output, and show its complete lines."""
        self.output += data
        end = self.output.rfind(b"\n") + 1 if data else len(self.output)
        for line in self.output[self.shown : end].decode("utf-8", "replace").splitlines():
            print(f"{self.kernel.name:>6} | {line}", flush=True)
        self.shown = max(end, self.shown)

    def end(self) -> tuple[Counts, str]:
        """Wait for it; the counts, and a line on what became of it."""
        with self.process:  # closes the pipe
            status = self.process.wait()
        counts = counted(self.output.decode("utf-8", "replace"), status)
        compiles, failed = self.compiler.stop() if self.compiler else ([], False)
        if failed:
            self.feed(("\n".join(["the compiler beside it ended:", *compiles]) + "\n").encode())
            counts += Counts(failed=1)
        kernel_files = cached(self.kernel.name)
        release = kernel_files.release if kernel_files else "not fetched"
        seconds = time.monotonic() - self.begun
        note = f", {len(compiles)} compiles beside it" if self.compiler else ""
        note += f", exit status {status}" if status else ""
        return counts, f"{self.kernel.name:>6} ({release}): {counts} in {seconds:.0f} s{note}"


def command(
    kernel: Kernel, arguments: list[str], suite: str = "", limit: int = LIMIT, options: Sequence[str] = ()
) -> list[str]:
    """Return the command that runs the tests on a kernel. Paths among the arguments replace the default
    tests/kernel; ``options`` are further ones of scripts/lab."""
    words = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-m", "lab"]
    if not any(is_path(word) for word in arguments):
        words.append("tests/kernel")
    lab = [sys.executable, str(ROOT / "scripts/lab"), "--timeout", str(limit)]
    lab += [*(["--suite", suite] if suite else []), *options, kernel.name]
    return [*lab, "--", *words, *arguments]


def is_path(word: str) -> bool:
    """Return whether an argument names a test file or folder."""
    return not word.startswith("-") and (ROOT / word.partition("::")[0]).exists()


class CommandLine(NamedTuple):
    """The parsed command line: the number of kernels at a time, the kernels, pytest's arguments, the user
    space ("": this machine's), the time limit of each in seconds, whether to compile beside the VMs, whether
    to compile all tracers there first, and the parts that the tests are shared in."""

    jobs: int
    kernels: list[Kernel]
    arguments: list[str]
    suite: str
    limit: int
    beside: bool = False
    everything: bool = False
    shares: int = 1

    def arguments_for(self, kernel: Kernel) -> list[str]:
        """Return pytest's arguments for one of the kernels."""
        if self.shares == 1:
            return self.arguments
        return [f"--share={self.kernels.index(kernel) % self.shares + 1}/{self.shares}", *self.arguments]


def split(arguments: list[str]) -> CommandLine:
    """Parse the command line. Raises LabError for an unknown kernel or suite."""
    rest, kernels = list(arguments), list[Kernel]()
    jobs = max(1, min(2, os.cpu_count() or 1, memory_available() // MEMORY))
    suite, limit, shares, runs_beside, compiles_all = "", LIMIT, 1, True, False
    while rest and (rest[0] in (*OPTIONS, INSIDE, ALL) or not (rest[0].startswith("-") or is_path(rest[0]))):
        word = rest.pop(0)
        if word in (INSIDE, ALL):
            runs_beside, compiles_all = runs_beside and word != INSIDE, compiles_all or word == ALL
            continue
        if word not in OPTIONS:
            kernels.append(find(word))
            continue
        value = rest.pop(0) if rest else ""
        if word == "--suite":
            suite = suites.find(value).suite
        elif not value.isdecimal() or not int(value):
            raise LabError(
                f"{word} needs a number of {OPTIONS[word]}", "scripts/test --lab -j 2 --timeout 7200"
            )
        elif word == "-j":
            jobs = int(value)
        elif word == "--shares":
            shares = int(value)
        else:
            limit = int(value)
    return CommandLine(
        jobs, kernels or list(KERNELS), rest, suite, limit, runs_beside and not suite, compiles_all, shares
    )


def run_all(command_line: CommandLine) -> tuple[Counts, list[str]]:
    """Run the tests on every kernel; the sum, and a line for each."""
    pending, total, lines = list(command_line.kernels), Counts(), list[str]()
    running: list[KernelRun] = []
    try:
        with selectors.DefaultSelector() as selector:
            while pending or running:
                while pending and len(running) < command_line.jobs:
                    kernel = pending.pop(0)
                    compiler = HostCompiler(kernel) if command_line.beside else None
                    options = compiler.options if compiler else ()
                    process = subprocess.Popen(
                        command(
                            kernel,
                            command_line.arguments_for(kernel),
                            command_line.suite,
                            command_line.limit,
                            options,
                        ),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        cwd=ROOT,
                    )
                    running.append(KernelRun(kernel, process, compiler))
                    assert process.stdout is not None
                    selector.register(process.stdout, selectors.EVENT_READ, running[-1])
                for key, _ in selector.select():
                    run: KernelRun = key.data
                    data = os.read(key.fd, 1 << 16)
                    run.feed(data)
                    if not data:
                        selector.unregister(key.fileobj)
                        counts, line = run.end()
                        running.remove(run)
                        total += counts
                        lines.append(line)
    finally:
        for run in running:
            run.process.terminate()
        for run in running:
            with run.process:
                run.process.wait()
            if run.compiler:
                run.compiler.stop()
    return total, lines


def prepare(command_line: CommandLine) -> Counts:
    """Prepare to compile beside the VMs and, if requested, compile every tracer for each kernel, on all
    processors. Returns the kernels for which all compiled, and did not, as tests. Raises LabError."""
    for kernel in command_line.kernels:
        compile_inputs.of(kernel)
    if not command_line.everything:
        return Counts()
    total = Counts()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for kernel, result in zip(
            command_line.kernels, pool.map(compile_all, command_line.kernels), strict=True
        ):
            print(
                *(f"{kernel.name:>6} | {line}" for line in result.stdout.splitlines()), sep="\n", flush=True
            )
            total += Counts(failed=1) if result.returncode else Counts(1)
    return total


def compile_all(kernel: Kernel) -> subprocess.CompletedProcess[str]:
    """Compile every tracer for a kernel."""
    return subprocess.run(
        host_compiler.command(kernel),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        check=False,
    )


def total_of(words: list[str]) -> Counts:
    """Return the sum of failures without tests, and of logs: NUMBER [STATUS FILE]..., as .ci/run has them.

    Each rerun above RERUNS is a failure.
    """
    total = Counts(failed=int(words[0]))
    for status, log in zip(words[1::2], words[2::2], strict=True):
        total += counted(Path(log).read_text(errors="replace"), int(status))
    return total + Counts(failed=max(0, total.reruns - RERUNS))


def end(number: int, _frame: FrameType | None) -> NoReturn:
    """Handle a signal: the VMs are ended at exit."""
    raise SystemExit(128 + number)


def main(arguments: list[str] | None = None) -> int:
    """Run them and print the count; 0 where all is well, 1 where a test failed, 125 where nothing was run."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["--total"]:
        total = total_of(words[1:])
        print(total)
        return 1 if total.failed else 0
    try:
        command_line = split(words)
        prepared = prepare(command_line) if command_line.beside else Counts()
    except LabError as error:
        say(f"error: {error}" + (f" ({error.hint})" if error.hint else ""))
        return FAILED
    total, lines = run_all(command_line)
    total += prepared
    print("\n".join(lines), total, sep="\n", flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
