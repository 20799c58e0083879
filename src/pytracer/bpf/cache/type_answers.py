"""Keep what a start asked of the kernel's BTF, so that the next start need not read it.

The file is of one build of the kernel and one version of the code that reads BTF: its first line has the
identity of both, and the number of answers.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pytracer.bpf.cache.directory import CacheDir, cache_dir, explain_distrust
from pytracer.bpf.digest import sha256
from pytracer.bpf.identity import file_identity, kernel_identity
from pytracer.errors import CacheError, HeadersError
from pytracer.kernel import btf, btf_format, running_types

FOLDER = "types"
_MAX_ANSWERS = 4096  # a pattern of a user's can ask for 100,000 functions


def recall() -> dict[str, int]:
    """Return the answers of earlier runs under this kernel; none if there is no trusted file of them."""
    with contextlib.suppress(CacheError, HeadersError, OSError, ValueError):
        cache = _find_cache()
        if cache is None or explain_distrust(cache.path / FOLDER):
            return {}
        name, identity = _identify()
        data = cache.read(name)
        if data is None:
            return {}
        head, *lines = data.decode().splitlines()
        end, answers = f"{len(lines)} answers", {}
        if head != f"{identity} {end}":
            return {}
        for line in lines:
            question, _, answer = line.rpartition(" ")
            answers[question] = int(answer)
        return answers
    return {}


def keep() -> None:
    """Store what is new since the last time."""
    types = running_types.read_so_far()
    if types is None or not types.has_new or len(types.answers) > _MAX_ANSWERS:
        return
    with contextlib.suppress(CacheError, HeadersError, OSError):
        cache = _find_cache()
        if cache is None:
            return
        name, identity = _identify()
        lines = [f"{question} {answer}\n" for question, answer in types.answers.items()]
        cache.folder(FOLDER)
        cache.write(name, "".join([f"{identity} {len(lines)} answers\n", *lines]).encode())
        types.has_new = False


def read_kernel(data: bytes) -> str:
    """Return the release of the kernel of a file of answers."""
    return data.partition(b" ")[0].decode(errors="replace")


def _find_cache() -> CacheDir | None:
    """Return the cache folder if the process loads programs, and what it writes is kept."""
    if os.geteuid():
        return None
    cache = cache_dir()
    return None if cache.note else cache


def _identify() -> tuple[str, str]:
    """Return the file's name, one for each kernel, and the beginning of its first line."""
    kernel = f"{kernel_identity(btf.VMLINUX)} {btf.VMLINUX.stat().st_size}"
    code = (file_identity(Path(module.__file__ or "")) for module in (btf, btf_format, running_types))
    return f"{FOLDER}/{sha256(kernel.encode()).hexdigest()[:32]}", " ".join((kernel, *code))
