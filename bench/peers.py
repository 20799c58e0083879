"""The tools beside which pytracer is measured, and how each is started.

BCC's own tools want kernel headers. Where the running kernel's are not installed they get those that the lab
has fetched of another, which take as long to compile; where there are none either, the types that pytracer
makes of BTF, which are quicker. Else there would be nothing to compare with.
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
PATIENCE = 300.0  # seconds until something that is started must have said something: emulated, if need be


def find(*names: str) -> str:
    """Find the first of these programs that is installed. Raises MissingPeerError."""
    for name in names:
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/share/bcc/tools")
        if found:
            return found
    raise MissingPeerError(f"{names[0]} is not installed")


def bcc_environment(tool: str) -> dict[str, str]:
    """Return the environment in which a tool of BCC's compiles on this machine."""
    tracefs.root()
    if (Path("/lib/modules") / os.uname().release / "build").is_dir():
        return dict(os.environ)
    folder = lab_headers() or find_headers(Path(tool).read_text(errors="replace")).path
    return {**os.environ, "BCC_KERNEL_SOURCE": str(folder)}


def lab_headers() -> Path | None:
    """Return the headers of a kernel that the lab has fetched, as one folder; the current long-term
    kernel's."""
    for kernel in reversed(KERNELS[:-1]):
        fetched = cached(kernel.name)
        if fetched:
            halves = sorted((fetched.folder / "usr/src").glob("linux-headers-*"))
            build = [half for half in halves if not half.name.endswith("-common")]
            common = [half for half in halves if half.name.endswith("-common")]
            if build and common:
                return packaged.join(build[0], common[0], cache_dir())
    return None


def headers_note() -> str:
    """Say which headers BCC's tools compile against."""
    release = os.uname().release
    if (Path("/lib/modules") / release / "build").is_dir():
        return "BCC's tools use the kernel's header package"
    if lab_headers():
        return "BCC's tools use the header package of another kernel, this one having none"
    return "BCC's tools use the types that pytracer makes of BTF, this kernel having no header package"


def bpftrace_environment() -> dict[str, str]:
    """Return the environment for bpftrace, which looks for trace events but does not mount what shows
    them."""
    tracefs.root()
    return dict(os.environ)


def until_output(
    command: Sequence[str], wanted: str, environment: dict[str, str] | None = None
) -> tuple[float, int]:
    """Return the seconds from the start to the first line of output with ``wanted`` in it, and the process's
    resident memory then (KiB). The process is ended. Raises MissingPeerError where it ends before."""
    begun = time.monotonic()
    with running(command, environment) as process:
        _await(process, wanted)
        return time.monotonic() - begun, resident(process.pid)


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process whose output (both streams) can be read, until the block ends."""
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
        _await(process, ready)
        time.sleep(0.2)  # BCC's tools say so a moment before it is quite true
        yield process


def _await(process: subprocess.Popen[bytes], wanted: str) -> None:
    """Wait until it has printed this. Raises MissingPeerError if it ends, or prints nothing, before."""
    assert process.stdout is not None
    seen = b""
    while wanted.encode() not in seen:
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        data = os.read(process.stdout.fileno(), 65536) if ready else b""
        if not data:
            output = seen[-200:].decode(errors="replace")
            raise MissingPeerError(f"a peer does not run here: {output}")
        seen += data


def resident(pid: int) -> int:
    """Return the resident memory of a process in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise MissingPeerError("the process has ended")
