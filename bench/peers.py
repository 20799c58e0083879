"""Find and start the tools that pytracer is compared with.

BCC's tools need kernel headers. If those of the running kernel are not installed, the tools get another
kernel's headers from the lab, which take as long to compile. If the lab has none, they get the types that
pytracer writes from BTF, which take less.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.fetch import cached
from lab.kernels import KERNELS

from bench.measure import MissingPeerError
from pytracer.bpf.cache.directory import cache_dir
from pytracer.bpf.compile.headers import find_headers, packaged
from pytracer.kernel import tracefs

ROOT = Path(__file__).resolve().parent.parent
PYTRACER = [str(ROOT / ".venv/bin/python"), "-I", "-m", "pytracer"]
TIMEOUT = 300.0  # seconds without output from a process, which may run in an emulated machine


def find(*names: str) -> str:
    """Find the first of these programs that is installed. Raises MissingPeerError."""
    for name in names:
        path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/share/bcc/tools")
        if path:
            return path
    raise MissingPeerError(f"{names[0]} is not installed")


def bcc_environment(tool: str) -> dict[str, str]:
    """Return the environment in which a tool of BCC's compiles on this machine."""
    tracefs.root()
    if (Path("/lib/modules") / os.uname().release / "build").is_dir():
        return dict(os.environ)
    folder = lab_headers() or find_headers(Path(tool).read_text(errors="replace")).path
    return {**os.environ, "BCC_KERNEL_SOURCE": str(folder)}


def lab_headers() -> Path | None:
    """Return the headers of the newest long-term kernel that the lab has fetched, as one folder."""
    for kernel in reversed(KERNELS[:-1]):
        fetched = cached(kernel.name)
        if fetched:
            trees = sorted((fetched.folder / "usr/src").glob("linux-headers-*"))
            build = [tree for tree in trees if not tree.name.endswith("-common")]
            common = [tree for tree in trees if tree.name.endswith("-common")]
            if build and common:
                return packaged.join(build[0], common[0], cache_dir())
    return None


def headers_note() -> str:
    """Return a note about the headers that BCC's tools compile against."""
    release = os.uname().release
    if (Path("/lib/modules") / release / "build").is_dir():
        return "BCC's tools use the kernel's header package"
    if lab_headers():
        return "BCC's tools use the header package of another kernel, this one having none"
    return "BCC's tools use the types that pytracer makes of BTF, this kernel having no header package"


def bpftrace_environment() -> dict[str, str]:
    """Return the environment for bpftrace. Mounts tracefs, which bpftrace reads but does not mount."""
    tracefs.root()
    return dict(os.environ)


def until_output(
    command: Sequence[str], expected: str, environment: dict[str, str] | None = None
) -> tuple[float, int]:
    """Run a command until it prints ``expected``, then end it.

    Returns the seconds from the start until then, and its resident memory (KiB) at that moment. Raises
    MissingPeerError if it ends before.
    """
    start = time.monotonic()
    with running(command, environment) as process:
        await_output(process, expected)
        return time.monotonic() - start, resident(process.pid)


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process until the block ends. Its standard output and error come from one pipe."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout:
            process.stdout.close()


@contextlib.contextmanager
def tracing(
    command: Sequence[str], ready: str, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a tracer until the block ends; it has attached its probes once it printed ``ready``."""
    with running(command, environment) as process:
        await_output(process, ready)
        time.sleep(0.2)  # BCC's tools print it a moment before the last probe is attached
        yield process


def await_output(process: subprocess.Popen[bytes], expected: str) -> None:
    """Wait until a process prints ``expected``.

    Raises MissingPeerError if it ends or is silent for too long.
    """
    assert process.stdout is not None
    readable = select.poll()  # select() knows no descriptor beyond 1,023
    readable.register(process.stdout, select.POLLIN)
    output = b""
    while expected.encode() not in output:
        ready = readable.poll(TIMEOUT * 1e3)
        data = os.read(process.stdout.fileno(), 65536) if ready else b""
        if not data:
            end = output[-200:].decode(errors="replace")
            raise MissingPeerError(f"a peer does not run here: {end}")
        output += data


def resident(pid: int) -> int:
    """Return the resident memory of a process in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise MissingPeerError("the process has ended")
