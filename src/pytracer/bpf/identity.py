"""Identify the running kernel and the installed BCC: the keys of cached headers and images."""

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


def kernel_identity(version_file: Path, *, notes: Path = Path("/sys/kernel/notes")) -> str:
    """Return a string that differs between any two kernel builds: release, version, machine, build id.

    Without a build id, a hash of ``version_file`` takes its place: a file that belongs to the kernel (its
    BTF, its headers). Raises HeadersError if that cannot be read.
    """
    system = os.uname()
    mark = build_id(notes)
    if not mark:
        try:
            mark = sha256(version_file.read_bytes()).hexdigest()
        except OSError as error:
            raise HeadersError(f"cannot read {version_file}: {error.strerror}") from error
    return " ".join((system.release, system.version, system.machine, mark))


def build_id(notes: Path) -> str:
    """Return the GNU build id in a file of ELF notes, in hexadecimal; "" if it has none or cannot be read."""
    try:
        data = notes.read_bytes()
    except OSError:
        return ""
    position = 0
    while position + 12 <= len(data):
        name_size, size, kind = struct.unpack_from("=3I", data, position)
        name_at = position + 12
        value_at = name_at + (name_size + 3 & ~3)
        if kind == _BUILD_ID and data[name_at : name_at + name_size] == b"GNU\0":
            return data[value_at : value_at + size].hex()
        position = value_at + (size + 3 & ~3)
    return ""


def kernel_version(signature: Path = Path("/proc/version_signature")) -> tuple[int, int, int]:
    """Return the running kernel's version. Debian and Ubuntu omit its last number from the release name."""
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
    """Return LINUX_VERSION_CODE, which kernels before 5.0 (6c4fc209fcf9) require in a kprobe program."""
    major, minor, patch = kernel_version()
    return major << 16 | minor << 8 | min(patch, 255)


def find_libbcc() -> Path | None:
    """Find BCC's library in the folders where libraries are installed; None if there is none."""
    folders = [*filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")), *_LIBRARY_FOLDERS]
    for folder in map(Path, folders):
        for pattern in ("libbcc.so.0", "*-linux-gnu*/libbcc.so.0"):
            for library in sorted(folder.glob(pattern)):
                return library.resolve()
    return None


def file_identity(path: Path) -> str:
    """Return a string that changes when a file is replaced: path, size (bytes) and time of change (ns)."""
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"
