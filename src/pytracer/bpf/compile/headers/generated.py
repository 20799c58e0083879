"""Generate the folder for BCC's ``BCC_KERNEL_SOURCE`` from BTF, and keep it in the cache.

BCC includes ``include/linux/kconfig.h`` before everything else, so all types are in it; every other header
that BCC or the probe includes is an empty file. The key of a tree covers everything that decides its
contents, so a second start with the same text does not even read BTF.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pytracer.bpf.cache import sealed
from pytracer.bpf.cache.directory import CacheDir, read_trusted
from pytracer.bpf.compile.headers import btf_c, declarators, macros
from pytracer.bpf.compile.headers import words as words
from pytracer.bpf.compile.headers.btf_c import write_header
from pytracer.bpf.compile.headers.words import SourceWords
from pytracer.bpf.compile.layout_check import MemberOffset
from pytracer.bpf.digest import sha256
from pytracer.bpf.identity import file_identity, find_libbcc, kernel_identity, kernel_version
from pytracer.kernel.btf import VMLINUX, Btf
from pytracer.record import record

FOLDER = "headers"
KCONFIG = "include/linux/kconfig.h"
ORIGIN = "origin"
_CHECKS = "checks.json"
_DAY = 86400

# Included by BCC itself and by the code it generates, besides the includes found in its library.
_INCLUDES = (
    "asm/page.h linux/bpf_common.h linux/compiler.h linux/log2.h linux/types.h linux/version.h "
    "uapi/linux/bpf.h uapi/linux/if_ether.h uapi/linux/if_packet.h uapi/linux/ptrace.h"
)

_ENUMERATOR = re.compile(rb"BPF_FUNC_\w+")
_INCLUDE = re.compile(rb"#include <((?:uapi|linux|asm|net)/[\w/.-]+)>")


@record
class HeaderTree:
    """A finished tree: its folder, the members to verify in the bytecode, and whether it was cached."""

    path: Path
    checks: tuple[MemberOffset, ...]
    cached: bool


def make_tree(
    text: str, cache: CacheDir, *, btf_path: Path = VMLINUX, libbcc: Path | None = None
) -> HeaderTree:
    """Return the tree for a probe's ``text`` from ``cache``, or generate it there.

    ``libbcc`` is BCC's library, by default the installed one. Raises HeadersError if there is no BTF or it is
    damaged, CacheError if the cache became untrustworthy.
    """
    names = SourceWords.of(text)
    libbcc = libbcc or find_libbcc()
    name = _key(names, btf_path, libbcc)
    path = cache.path / FOLDER / name
    checks = _load(path)
    if checks is not None:
        _touch(path)
        return HeaderTree(path, checks, cached=True)
    helper_names, includes = needs_of(libbcc) if libbcc else (set[str](), set[str]())
    header = write_header(
        Btf.load(btf_path),
        names,
        version=kernel_version(),
        page_size=os.sysconf("SC_PAGE_SIZE"),
        wanted_enumerators=helper_names,
    )

    def fill(new: Path) -> None:
        for name in _stand_ins(names.includes | includes | set(_INCLUDES.split())):
            file = new / "include" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
        (new / KCONFIG).write_text(header.text)
        (new / _CHECKS).write_text(json.dumps(header.checks))
        (new / ORIGIN).write_text(os.uname().release if btf_path == VMLINUX else btf_path.name)

    path = sealed.load_or_create(cache, FOLDER, name, fill)
    _prune(path.parent)
    return HeaderTree(path, header.checks, cached=False)


def _load(path: Path) -> tuple[MemberOffset, ...] | None:
    """Return the checks of a tree if it is in the cache, complete and trusted; else None."""
    if not sealed.is_intact(path):
        return None
    data = read_trusted(path / _CHECKS)
    try:
        return None if data is None else tuple(MemberOffset(*check) for check in json.loads(data))
    except (ValueError, TypeError):
        return None


def _touch(path: Path) -> None:
    """Mark a tree as used, about once a day."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > _DAY:
            os.utime(path)


def _prune(folder: Path) -> None:
    """Remove trees that were not used for 90 days, and unfinished ones of killed starts."""
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):  # of a folder that is read-only, too
            if time.time() - entry.lstat().st_mtime > _DAY * (1 if entry.name.startswith(".new-") else 90):
                shutil.rmtree(entry, ignore_errors=True)


def _stand_ins(includes: set[str] | frozenset[str]) -> Iterator[str]:
    """Yield the includes that are kernel headers: neither BCC's, nor the compiler's, nor outside the tree."""
    for name in sorted(includes):
        parts = PurePosixPath(name).parts
        if len(parts) > 1 and parts[0] not in ("/", "bcc") and ".." not in parts:
            yield name


def _key(names: SourceWords, btf_path: Path, libbcc: Path | None) -> str:
    # The modules that write the header are part of the key: new versions of them do not use old trees.
    writers = (Path(module.__file__ or "") for module in (btf_c, macros, words, declarators))
    # The build id is the running kernel's, which another file of BTF need not be of.
    running = btf_path == VMLINUX
    identity = kernel_identity(btf_path) if running else kernel_identity(btf_path, notes=Path(os.devnull))
    parts = [identity, names.digest(), *map(file_identity, (Path(__file__), *writers))]
    if libbcc:
        parts.append(file_identity(libbcc))
    return sha256("\0".join(parts).encode()).hexdigest()[:32]


def needs_of(libbcc: Path) -> tuple[set[str], set[str]]:
    """Return the needs of the headers inside BCC's library: BPF_FUNC_ enumerators, and files they include."""
    with libbcc.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        enumerators = {found.decode() for found in _ENUMERATOR.findall(data)}
        includes = {found.decode() for found in _INCLUDE.findall(data)}
    return enumerators, includes
