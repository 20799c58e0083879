"""Have a compiler outside this machine compile: requests and answers are files in a folder that both see.

``PYTRACER_COMPILER`` names the folder. It is for emulated machines, where BCC takes 30 times as long as
beside them; ``scripts/test --lab`` sets it. The other end is lab/host_compiler.py. A request names the build
of its kernel, so that nothing is compiled for another one. If nobody answers, that is an error: the compiler
of this machine does not take over.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pytracer.bpf.compile.compiler import decode_outcome
from pytracer.bpf.compile.headers.words import TRACEFS, trace_events
from pytracer.bpf.identity import kernel_identity
from pytracer.bpf.image import Image
from pytracer.errors import BuildError
from pytracer.kernel.btf import VMLINUX
from pytracer.record import record

VARIABLE = "PYTRACER_COMPILER"
REQUEST, ANSWER = ".request", ".answer"
_LIMIT = 300  # seconds, until nobody is taken to answer
_LOOK = 0.05  # seconds between two looks for the answer


@record
class CompileRequest:
    """Input of a compile. ``kernel`` is the kernel's identity; ``formats`` are the format files of the trace
    events that ``text`` names, after ``category/event``; the rest is as
    :func:`~pytracer.bpf.compile.compiler.compile_image` takes it."""

    kernel: str
    key: str
    name: str
    text: str
    cflags: tuple[str, ...]
    programs: tuple[str, ...]
    formats: tuple[tuple[str, str], ...]

    def encode(self) -> bytes:
        """Return the request as the bytes of a file."""
        words = (self.kernel, self.key, self.name, self.text, self.cflags, self.programs, self.formats)
        return json.dumps(words).encode()

    @classmethod
    def decode(cls, data: bytes) -> CompileRequest:
        """Return the request that these bytes encode."""
        kernel, key, name, text, cflags, programs, formats = json.loads(data)
        return cls(kernel, key, name, text, tuple(cflags), tuple(programs), tuple(map(tuple, formats)))


def compile_remotely(
    folder: Path,
    key: str,
    name: str,
    text: str,
    cflags: tuple[str, ...],
    programs: tuple[str, ...],
    *,
    stop_requested: Callable[[], bool] = lambda: False,
) -> Image:
    """Write a request into the folder and wait for the answer.

    Raises what :func:`~pytracer.bpf.compile.compiler.compile_image` raised at the other end, BuildError if
    there is no answer, HeadersError if the kernel cannot be identified, and KeyboardInterrupt once
    ``stop_requested`` returns True.
    """
    request = CompileRequest(kernel_identity(VMLINUX), key, name, text, cflags, programs, _read_formats(text))
    try:
        path = _write_request(folder, request.encode())
        answer = path.with_suffix(ANSWER)
        deadline = time.monotonic() + _LIMIT
        while not answer.exists():
            if stop_requested():
                raise KeyboardInterrupt
            if time.monotonic() > deadline:
                raise BuildError(f"{name} is not compiled: {VARIABLE}={folder}: nobody answers")
            time.sleep(_LOOK)
        data = answer.read_bytes()
        answer.unlink()
    except OSError as error:
        raise BuildError(f"{name} is not compiled: {VARIABLE}={folder}: {error.strerror}") from error
    return decode_outcome(data)


def _write_request(folder: Path, data: bytes) -> Path:
    """Write a request under a temporary name, then rename it: the other end finds whole ones only."""
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    path = folder / (Path(temporary).name.removeprefix(".new-") + REQUEST)
    return Path(temporary).rename(path)


def _read_formats(text: str) -> tuple[tuple[str, str], ...]:
    formats = list[tuple[str, str]]()
    for category, event in trace_events(text):
        for root in TRACEFS:
            try:
                form = (root / "events" / category / event / "format").read_text()
            except OSError:  # most texts name more events than this kernel's alternatives take
                continue
            formats.append((f"{category}/{event}", form))
            break
    return tuple(formats)
