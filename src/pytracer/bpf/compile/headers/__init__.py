"""Kernel types for BCC to compile against.

``find_headers`` returns the folder for ``BCC_KERNEL_SOURCE``: generated from the kernel's BTF with only the
types that the text needs, or the distribution's header package, or the headers that the kernel itself keeps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pytracer.bpf.cache.directory import cache_dir, remove
from pytracer.bpf.cache.sealed import HeadersWriteError
from pytracer.bpf.compile.headers import packaged
from pytracer.bpf.compile.headers.generated import make_tree
from pytracer.bpf.compile.layout_check import MemberOffset
from pytracer.bpf.identity import find_libbcc
from pytracer.errors import HeadersError, UnknownNameError
from pytracer.kernel.btf import VMLINUX
from pytracer.record import record

__all__ = ["SOURCES", "Headers", "discard", "find_headers", "from_btf"]

Source = Literal["btf", "package", "kheaders"]
SOURCES: tuple[Source, ...] = ("btf", "package", "kheaders")

# Kernels from 7.0 on embed tagged structs without a name, which plain C does not have.
_EXTENSIONS = ("-fms-extensions", "-Wno-microsoft")


@record
class Headers:
    """Headers with the kernel's types.

    ``path`` is the value for ``BCC_KERNEL_SOURCE``, ``describe`` one line for the user, ``cflags`` the
    compiler flags that they need, ``checks`` the members to verify in the bytecode
    (:mod:`pytracer.bpf.compile.layout_check`), empty for the kernel's own headers. ``cached``: they were
    generated at an earlier start.
    """

    source: Source
    path: Path
    describe: str
    cflags: tuple[str, ...] = ()
    checks: tuple[MemberOffset, ...] = ()
    cached: bool = False


def find_headers(text: str, *, prefer: str | None = None) -> Headers:
    """Find the kernel types for a probe's C ``text`` (with pytracer's own includes inlined).

    With ``prefer`` (``btf``, ``package`` or ``kheaders``), only that source is used. Raises HeadersError if
    there is none, with a hint what to install.
    """
    generators: dict[str, Callable[[str], Headers]] = {
        "btf": from_btf,
        "package": _package,
        "kheaders": _kheaders,
    }
    if prefer is not None:
        if prefer not in generators:
            raise UnknownNameError("source of kernel types", prefer, generators)
        return generators[prefer](text)
    reasons, unwritten = list[str](), list[HeadersWriteError]()
    for make in generators.values():
        try:
            return make(text)
        except HeadersError as error:
            reasons.append(error.message)
            unwritten += [error] if isinstance(error, HeadersWriteError) else []
    if unwritten:
        raise unwritten[0]
    raise HeadersError(
        "no kernel types to compile against",
        hint=packaged.install_hint(),
        detail="\n".join(reasons),
    )


def discard(headers: Headers) -> None:
    """Remove generated headers from the cache, with all that was generated from the same source."""
    folder = cache_dir().path / "headers"
    for path in (headers.path, *folder.glob("own-bpf-*"), *folder.glob("kheaders-*")):
        if path.parent == folder and (path == headers.path or headers.source == "kheaders"):
            remove(path)


def from_btf(text: str, path: Path = VMLINUX) -> Headers:
    """Generate the kernel types for ``text`` from a file of BTF, of this or another kernel. Raises
    HeadersError."""
    tree = make_tree(text, cache_dir(), btf_path=path)
    note = " (cached)" if tree.cached else ""
    return Headers("btf", tree.path, f"types from {path}{note}", _EXTENSIONS, tree.checks, tree.cached)


def _package(text: str) -> Headers:  # noqa: ARG001 - the package has everything
    path = packaged.find_package(cache_dir)
    return Headers("package", _own(path), f"headers from {path}", _EXTENSIONS)


def _kheaders(text: str) -> Headers:  # noqa: ARG001 - so has the archive
    cache = cache_dir()
    path, cached = packaged.unpack_kheaders(cache)
    note = " (cached)" if cached else ""
    describe = f"headers from {packaged.KHEADERS}{note} for {os.uname().release}"
    return Headers("kheaders", _own(path), describe, _EXTENSIONS, cached=cached)


def _own(path: Path) -> Path:
    return packaged.replace_bpf_header(path, cache_dir(), find_libbcc())
