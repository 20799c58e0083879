"""Which kernel and which BCC this is: what cached headers depend on."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import struct
from pathlib import Path

from pytracer.bpf.digest import sha256
from pytracer.errors import HeadersError

_LIBRARY_FOLDERS = ("/usr/local/lib", "/usr/local/lib64", "/usr/lib64", "/usr/lib", "/lib64", "/lib")
_BUILD_ID = 3


def kernel_identity(evidence: Path, *, notes: Path = Path("/sys/kernel/notes")) -> str:
    """What tells one kernel build from every other: its names, and its build id.

    A kernel that does not say its build id is told by a hash of ``evidence``, a file that goes with it (its
    BTF, its headers). ``HeadersError`` if that cannot be read.
    """
    system = os.uname()
    mark = build_id(notes)
    if not mark:
        try:
            mark = sha256(evidence.read_bytes()).hexdigest()
        except OSError as error:
            raise HeadersError(f"cannot read {evidence}: {error.strerror}") from error
    return " ".join((system.release, system.version, system.machine, mark))


def build_id(notes: Path) -> str:
    """The GNU build id in a file of ELF notes, in hexadecimal; "" if there is none to be read."""
    try:
        data = notes.read_bytes()
    except OSError:
        return ""
    at = 0
    while at + 12 <= len(data):
        name_size, size, kind = struct.unpack_from("=3I", data, at)
        name_at = at + 12
        value_at = name_at + (name_size + 3 & ~3)
        if kind == _BUILD_ID and data[name_at : name_at + name_size] == b"GNU\0":
            return data[value_at : value_at + size].hex()
        at = value_at + (size + 3 & ~3)
    return ""


def kernel_version(signature: Path = Path("/proc/version_signature")) -> tuple[int, int, int]:
    """The running kernel's version. Debian and Ubuntu keep its last number out of the release's name."""
    system = os.uname()
    match = re.search(r"Debian (\d+)\.(\d+)\.(\d+)", system.version)
    with contextlib.suppress(OSError):
        match = match or re.search(r" (\d+)\.(\d+)\.(\d+)\s*$", signature.read_text())
    if match:
        return int(match[1]), int(match[2]), int(match[3])
    numbers = [int(n) for n in re.findall(r"\d+", system.release.partition("-")[0])]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return major, minor, patch


@functools.cache
def version_code() -> int:
    """LINUX_VERSION_CODE, which kernels before 5.0 (6c4fc209fcf9) want to see in a kprobe program."""
    major, minor, patch = kernel_version()
    return major << 16 | minor << 8 | min(patch, 255)


def find_libbcc() -> Path | None:
    """BCC's library, by the places it is installed in; None if it is in none of them."""
    folders = [*filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")), *_LIBRARY_FOLDERS]
    for folder in map(Path, folders):
        for pattern in ("libbcc.so.0", "*-linux-gnu*/libbcc.so.0"):
            for found in sorted(folder.glob(pattern)):
                return found.resolve()
    return None


def file_identity(path: Path) -> str:
    """What changes when a file is replaced: path, size (bytes) and time of change (ns)."""
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"
