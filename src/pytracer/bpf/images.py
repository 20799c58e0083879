"""The images that are kept: what their keys cover, where they are, and which are dropped.

A key covers all that could change what the compiler makes of a tracer: its C and macros, the kernel's build
(and with it the BTF), where its types are taken from, the formats of the trace events it names, pytracer's
own way of building, BCC and the libraries it compiles with. Those libraries are only known once they have
compiled, so an image also says which files made it, and is used only while they are the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytracer.bpf.cachedir import CacheDir, distrust
from pytracer.bpf.identity import file_identity, find_libbcc, kernel_identity
from pytracer.bpf.image import Image, ImageError, decode
from pytracer.bpf.toolchain import bcc_version, find_bcc
from pytracer.errors import ToolchainError
from pytracer.kernel import tracefs
from pytracer.kernel.btf import VMLINUX

FOLDER = "images"
SUFFIX = ".image"
MAX_IMAGES = 512
_DAY = 86400
_MAKERS = ("libbcc", "libLLVM", "libclang", "libbpf")


@dataclass(frozen=True)
class Recipe:
    """What programs are built from.

    ``name`` is the tracer's file, ``text`` its C as one text, ``cflags`` are the compiler's, ``programs`` the
    functions wanted, ``events`` the trace events (``category:event``) whose arguments they take, ``headers``
    the source of kernel types that was asked for ("": the best there is).
    """

    name: str
    text: str
    cflags: tuple[str, ...]
    programs: tuple[str, ...]
    events: tuple[str, ...] = ()
    headers: str = ""


def key_of(recipe: Recipe) -> str:
    """The key of what this recipe gives on this machine. Raises ToolchainError where there is no BCC."""
    parts = [recipe.name, recipe.text, recipe.headers, *recipe.cflags, *recipe.programs]
    parts += [f"{event} {hashlib.sha256(tracefs.event_format(event)).hexdigest()}" for event in recipe.events]
    parts += [_types(recipe.headers), *_writers()]
    libbcc = find_libbcc()
    if libbcc is None:
        raise ToolchainError("BCC's library is not where libraries are")
    parts += [bcc_version(find_bcc()), file_identity(libbcc)]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)} {part}".encode())
    return digest.hexdigest()


def makers() -> tuple[str, ...]:
    """The compiler's libraries in this process, once it has compiled, as identities of their files."""
    paths = {line.split(maxsplit=5)[5].rstrip("\n") for line in _mapped() if line.count("/")}
    found = sorted(path for path in paths if Path(path).name.startswith(_MAKERS))
    return tuple(file_identity(Path(path)) for path in found)


def _mapped() -> list[str]:
    with Path("/proc/self/maps").open() as file:
        return file.readlines()


def find(cache: CacheDir, recipe: Recipe, key: str) -> Image | None:
    """The image of that key, if there is one that is whole, nobody else's, and up to date."""
    path = _path(recipe, key)
    if distrust(cache.path / FOLDER):
        return None
    data = cache.read(path)
    if data is None:
        return None
    try:
        image = decode(data)
    except ImageError:
        return None
    if image.key != key or not _made_here(image):
        return None
    _touch(cache.path / path)
    return image


def keep(cache: CacheDir, recipe: Recipe, image: Image) -> None:
    """Put an image into the cache. A cache that takes nothing is no reason to stop."""
    with contextlib.suppress(OSError):
        folder = cache.folder(FOLDER)
        cache.write(_path(recipe, image.key), image.encode())
        _prune(folder)


@dataclass(frozen=True)
class Kept:
    """A file of the cache: the tracer's ``name``, its ``size`` in bytes, when it was last ``used`` (seconds
    since the epoch, to the day)."""

    path: Path
    name: str
    size: int
    used: float


def kept(cache: CacheDir) -> Iterator[Kept]:
    """The images there are."""
    folder = cache.path / FOLDER
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            status = path.lstat()
            name = path.name.removesuffix(SUFFIX).rpartition("-")[0]
            yield Kept(path, name, status.st_size, status.st_mtime)


def _path(recipe: Recipe, key: str) -> str:
    return f"{FOLDER}/{recipe.name}-{key[:32]}{SUFFIX}"


def _made_here(image: Image) -> bool:
    """Whether the libraries that made an image are those that would make it again."""
    for identity in image.made_by:
        path = identity.rsplit(" ", 2)[0]
        try:
            if file_identity(Path(path)) != identity:
                return False
        except OSError:
            return False
    return True


def _types(headers: str) -> str:
    """Which kernel types the compiler would be given."""
    system = os.uname()
    build = Path("/lib/modules", system.release, "build")
    parts = [kernel_identity(VMLINUX if VMLINUX.exists() else build / "include/generated/autoconf.h")]
    if headers in ("", "package") and (headers or not VMLINUX.exists()):
        for path in (build, build / "include/generated/autoconf.h", build / "Makefile"):
            with contextlib.suppress(OSError):
                parts.append(file_identity(path.resolve()))
    return "\0".join([str(VMLINUX.exists()), *parts])


def _writers() -> Sequence[str]:
    """The modules that decide what is compiled, so that a new version of pytracer starts afresh."""
    here = Path(__file__).parent
    files = sorted((here / "headers").glob("*.py"))
    files += [here / f"{name}.py" for name in ("build", "image", "layout")]
    return [file_identity(path) for path in files]


def _touch(path: Path) -> None:
    """Note that an image is in use, about once a day."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > _DAY:
            os.utime(path)


def _prune(folder: Path) -> None:
    """Keep the newest; drop what a start that was killed left half written."""
    found = []
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):
            age = time.time() - entry.lstat().st_mtime
            if entry.name.startswith(".new-") and age > _DAY:
                entry.unlink()
            elif entry.name.endswith(SUFFIX):
                found.append((age, entry))
    for _, entry in sorted(found)[MAX_IMAGES:]:
        with contextlib.suppress(OSError):
            entry.unlink()
