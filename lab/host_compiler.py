"""Compile for pytracer in a VM, on the host and for the VM's kernel: python -m lab.host_compiler.

BCC takes 5 to 18 s in an emulated machine and a fraction of one here. pytracer in the VM puts requests into
a folder (pytracer.bpf.compile.remote); this program, in a mount namespace of its own, shows BCC and pytracer
the types, the notes, the trace events and the header package of that kernel instead of this machine's,
compiles, and answers with the image, or with the compiler's message. A request from any other build of a
kernel is refused.

`python -m lab.host_compiler KERNEL FOLDER` serves until it is ended; `python -m lab.host_compiler KERNEL`
compiles every tracer with all alternatives that the kernel may choose, and fails if one does not compile
(`--headers package`: with that package). KERNEL is the lab's name for it, or NAME=IMAGE:MODULES.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn
from unittest.mock import patch

from lab import compile_inputs
from lab.errors import FAILED, LabError, say
from lab.every_plan import compile_requests
from lab.fetch import find_tested
from lab.kernels import TestedKernel
from pytracer.bpf.cache.directory import VARIABLE as CACHE
from pytracer.bpf.compile.compiler import compile_image, encode_outcome
from pytracer.bpf.compile.headers import SOURCES, find_headers, packaged
from pytracer.bpf.compile.remote import ANSWER, REQUEST, VARIABLE, CompileRequest
from pytracer.bpf.identity import kernel_identity
from pytracer.bpf.image import Image
from pytracer.errors import BuildError, PytracerError
from pytracer.kernel.btf import VMLINUX, Btf

ROOT = Path(__file__).resolve().parent.parent
KERNEL = Path("/sys/kernel")
EVENTS = KERNEL / "tracing/events"
LOG = "log"
LOOK = 0.02  # seconds between two looks for requests


class HostCompiler:
    """The compiler process of one VM, which serves it until it is stopped."""

    def __init__(self, kernel: TestedKernel) -> None:
        """Start the compiler for a kernel whose facts are there."""
        self._folder = tempfile.TemporaryDirectory(prefix="pytracer-lab-")
        self.folder = Path(self._folder.name)
        with (self.folder / LOG).open("wb") as log:
            self._process = subprocess.Popen(
                command(kernel, str(self.folder)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    @property
    def options(self) -> list[str]:
        """Options of scripts/lab, by which pytracer in the VM finds it."""
        return ["--rw", str(self.folder), "--env", f"{VARIABLE}={self.folder}"]

    def stop(self) -> tuple[list[str], bool]:
        """Stop it; the lines that it wrote, and whether it had ended by itself, which is a failure."""
        failed = self._process.poll() is not None
        self._process.terminate()
        self._process.wait()
        with self._folder:
            return (self.folder / LOG).read_text(errors="replace").splitlines(), failed


def command(kernel: TestedKernel, *folder: str) -> list[str]:
    """Return the command that runs this program in a mount namespace of its own."""
    return ["unshare", "--mount", sys.executable, "-m", "lab.host_compiler", kernel.word, *folder]


def show(kernel: compile_inputs.Facts) -> None:
    """Mount the files of another kernel over the running one's, in this mount namespace."""
    subprocess.run(["mount", "-t", "tmpfs", "none", KERNEL], check=True)
    for name, path in compile_inputs.COPIES.items():
        (KERNEL / path).parent.mkdir(exist_ok=True)
        if (kernel.folder / name).exists():  # not every kernel has BTF
            shutil.copyfile(kernel.folder / name, KERNEL / path)
    EVENTS.parent.mkdir()
    (KERNEL / "debug").mkdir()
    (KERNEL / "debug/tracing").symlink_to(EVENTS.parent)  # where BCC up to 0.26 looks
    shutil.copytree(kernel.folder / compile_inputs.EVENTS, EVENTS)
    if kernel.sources:
        subprocess.run(["mount", "--bind", kernel.sources, "/usr/src"], check=True)


@contextmanager
def posing_as(kernel: compile_inputs.Facts) -> Iterator[None]:
    """Present a kernel's uname and files to this process, with a cache of its own for that kernel."""
    signal.signal(signal.SIGTERM, end)
    own_uname = os.uname()
    kernel_uname = os.uname_result(
        (own_uname.sysname, own_uname.nodename, kernel.release, kernel.version, own_uname.machine)
    )
    show(kernel)
    find_package = functools.partial(packaged.find_package, modules=kernel.modules)
    with (
        tempfile.TemporaryDirectory(prefix="pytracer-lab-") as cache,
        patch.object(os, "uname", lambda: kernel_uname),
        patch.object(packaged, "find_package", find_package),
        patch.dict(os.environ, {CACHE: cache}),
    ):
        yield


def compiled(request: CompileRequest, source: str | None = None) -> Image:
    """Compile what was requested, with types from a source of :mod:`pytracer.bpf.compile.headers`.

    Raises BuildError if it is for another kernel, HeadersError, and the compiler's errors.
    """
    if request.kernel != (identity := kernel_identity(VMLINUX)):
        raise BuildError(f"{request.name} is for {request.kernel}, and this compiler for {identity}")
    for event, text in request.formats:  # those of modules come with the requests
        path = EVENTS / event / "format"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    headers = find_headers(request.text, prefer=source)
    return compile_image(request.key, request.name, request.text, request.cflags, headers, request.programs)


def answer(path: Path) -> None:
    """Answer one request, and write a line about it."""
    start = time.monotonic()
    request = CompileRequest.decode(path.read_bytes())
    outcome = encode_outcome(lambda: compiled(request))
    path.unlink()
    new = path.with_name(f".new-{path.stem}")
    new.write_bytes(outcome)
    new.rename(path.with_suffix(ANSWER))
    print(f"{request.name} {time.monotonic() - start:.2f} s", flush=True)


def serve(folder: Path) -> None:
    """Answer the requests in a folder, one after the other, until it is ended."""
    parent = os.getppid()
    while os.getppid() == parent:
        for path in folder.glob(f"*{REQUEST}"):
            answer(path)
        time.sleep(LOOK)


def compile_all(name: str, source: str | None) -> int:
    """Compile every tracer for the kernel that this process poses as; the number that do not compile."""
    number = failed = 0
    missing_events = {event for event in compile_inputs.events() if not (EVENTS / event).is_dir()}
    for request in compile_requests(kernel_identity(VMLINUX), Btf.load(), missing_events):
        number += 1
        try:
            compiled(request, source)
        except PytracerError as error:
            failed += 1
            print(f"{request.name} {' '.join(request.cflags)}: {error.message}\n{error.detail}", flush=True)
    print(f"{name}: {number} shapes of all tracers compiled, {failed} failed", flush=True)
    return failed


def end(number: int, _frame: FrameType | None) -> NoReturn:
    """Handle a signal: the cache is removed at exit."""
    raise SystemExit(128 + number)


def main() -> int:
    """Serve requests, or compile all programs."""
    parser = argparse.ArgumentParser(prog="python -m lab.host_compiler")
    parser.add_argument("kernel", help="the lab's name for it, or NAME=IMAGE:MODULES")
    parser.add_argument("folder", nargs="?", type=Path, help="of requests; default: compile every tracer")
    parser.add_argument("--headers", choices=SOURCES, help="the types that every tracer is compiled with")
    options = parser.parse_args()
    try:
        kernel = find_tested(options.kernel)
        with posing_as(compile_inputs.of(kernel)):
            if options.folder is None:
                return 1 if compile_all(kernel.name, options.headers) else 0
            serve(options.folder)
            return 0
    except LabError as error:
        say(f"error: {error}" + (f" ({error.hint})" if error.hint else ""))
        return FAILED


if __name__ == "__main__":
    raise SystemExit(main())
