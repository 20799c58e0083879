"""The image cache: keys, files, and the removal of old images.

A key covers everything that could change the result of compiling a tracer: its C and macros, the kernel's
build (and with it the BTF), the source of kernel types, the formats of the trace events it names, pytracer's
own compile code, BCC and the libraries it compiles with. Those libraries are only known after a compile, so
an image also names the files that made it, and is used only while they are unchanged.

See "Images" in docs/internals.md.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from pytracer.bpf.cache import aging
from pytracer.bpf.cache.directory import CacheDir, explain_distrust
from pytracer.bpf.digest import sha256
from pytracer.bpf.identity import file_identity, find_libbcc, kernel_identity
from pytracer.bpf.image import Image, ImageError, decode
from pytracer.bpf.toolchain import bcc_version, find_bcc
from pytracer.kernel import tracefs
from pytracer.kernel.btf import VMLINUX
from pytracer.record import record

FOLDER = "images"
SUFFIX = ".image"
MAX_IMAGES = 512
MAX_BYTES = 64 << 20
# As in bpf/compile/headers/packaged.py, which a start that finds its image does not load.
_KHEADERS = Path("/sys/kernel/kheaders.tar.xz")
_MODULES = Path("/lib/modules")
_MAKERS = ("libbcc", "libLLVM", "libclang", "libbpf")
# Environment variables of BCC and clang: an architecture, a version, further folders of headers, options.
_COMPILER_VARIABLES = (
    "ARCH",
    "BCC_LINUX_VERSION_CODE",
    "CCC_OVERRIDE_OPTIONS",
    "COMPILER_PATH",
    "CPATH",
    "C_INCLUDE_PATH",
)


@record
class Recipe:
    """The input from which programs are built.

    ``name`` is the tracer's file, ``text`` its C as one text, ``cflags`` are the compiler's, ``programs`` the
    wanted functions, ``events`` the trace events (``category:event``) whose arguments they take, ``headers``
    the requested source of kernel types ("": the best available), ``pack`` the file of a pack that holds the
    programs ("": none).
    """

    name: str
    text: str
    cflags: tuple[str, ...]
    programs: tuple[str, ...]
    events: tuple[str, ...] = ()
    headers: str = ""
    pack: str = ""


def key_of(recipe: Recipe) -> str:
    """Return the key of this recipe on this machine.

    Raises ToolchainError if there is no BCC, HeadersError if the kernel cannot be identified.
    """
    formats = [f"{event} {sha256(tracefs.event_format(event)).hexdigest()}" for event in recipe.events]
    libbcc = find_libbcc()  # None where only the dynamic linker knows; ``made_by`` knows it, too
    compiler = [bcc_version(find_bcc()), file_identity(libbcc) if libbcc else ""]
    compiler += [os.environ.get(name, "") for name in _COMPILER_VARIABLES]
    groups: list[Sequence[str]] = [(recipe.name, recipe.text, recipe.headers), recipe.cflags, recipe.programs]
    groups += [formats, _identify_types(recipe.headers), _identify_writers(), compiler]
    digest = sha256()
    for group in groups:
        digest.update(f"{len(group)} parts ".encode())
        for part in group:
            data = part.encode(errors="surrogateescape")
            digest.update(f"{len(data)} ".encode() + data)
    return digest.hexdigest()


def compiler_identity() -> tuple[str, ...]:
    """Return the file identities of the compiler's libraries in this process, once it has compiled.

    Raises ImageError if they are not visible, or are no longer the files that were loaded: then an image
    could not tell when it is out of date.
    """
    try:
        lines = _read_maps()
    except OSError as error:
        raise ImageError(f"which library compiled cannot be seen ({error.strerror})") from error
    paths = {line.split(maxsplit=5)[5].rstrip("\n") for line in lines if line.count("/")}
    libraries = sorted(path for path in paths if Path(path).name.startswith(_MAKERS))
    if not any(Path(path).name.startswith("libbcc") for path in libraries):
        raise ImageError("which library compiled cannot be seen")
    try:
        return tuple(file_identity(Path(path)) for path in libraries)
    except OSError as error:
        raise ImageError(f"{error.filename} was replaced after it was loaded") from error


def _read_maps() -> list[str]:
    with Path("/proc/self/maps").open(errors="surrogateescape") as file:
        return file.readlines()


def look_up(cache: CacheDir, recipe: Recipe, key: str) -> Image | None:
    """Return the image of that key if it is whole, trusted and up to date; else None."""
    path = _image_path(recipe, key)
    if explain_distrust(cache.path / FOLDER):
        return None
    data = cache.read(path)
    if data is None:
        return None
    try:
        image = decode(data)
    except ImageError:
        return None
    if image.key != key or not _was_made_by_this_compiler(image):
        return None
    aging.mark_used(cache.path / path)
    return image


def store(cache: CacheDir, recipe: Recipe, image: Image) -> None:
    """Store an image in the cache.

    Raises ImageError if it does not name its compiler, CacheError if the cache cannot be trusted. A full or
    read-only disk is ignored.
    """
    if not image.made_by:
        raise ImageError("the libraries that compiled it are unknown")
    folder = cache.folder(FOLDER)
    with contextlib.suppress(OSError):
        cache.write(_image_path(recipe, image.key), image.encode())
        aging.prune(folder, SUFFIX, MAX_IMAGES, MAX_BYTES)


def _image_path(recipe: Recipe, key: str) -> str:
    return f"{FOLDER}/{Path(recipe.name).name}-{key[:32]}{SUFFIX}"


def _was_made_by_this_compiler(image: Image) -> bool:
    """Return whether the libraries that made an image are unchanged."""
    if not image.made_by:
        return False
    for identity in image.made_by:
        path = identity.rsplit(" ", 2)[0]
        try:
            if file_identity(Path(path)) != identity:
                return False
        except OSError:
            return False
    return True


def _identify_types(headers: str) -> Sequence[str]:
    """Return identities of the kernel types that the compiler would get: of the requested source, or of
    all."""
    build = _MODULES / os.uname().release / "build"
    identity_files = (VMLINUX, _KHEADERS, build / "include/generated/autoconf.h")
    parts = [kernel_identity(next((path for path in identity_files if path.exists()), VMLINUX))]
    if headers in ("", "btf"):
        parts.append(f"BTF {VMLINUX.exists()}")
    if headers in ("", "package"):
        for path in (build, build / "include/generated/autoconf.h", build / "Makefile"):
            with contextlib.suppress(OSError):
                parts.append(file_identity(path.resolve()))
    return parts


def _identify_writers() -> Sequence[str]:
    """Return identities of the modules that affect a compile, so that a new version does not use old
    images."""
    bpf = Path(__file__).parent.parent
    files = sorted((bpf / "compile").rglob("*.py"))
    files += [bpf / f"{name}.py" for name in ("image", "line_info", "load/tail_calls")]
    return [file_identity(path) for path in files]
