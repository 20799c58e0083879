"""Complete kernel headers: the distribution's package, or the archive in the kernel (kheaders).

Some distributions split theirs into a common part and one that was generated for a build; BCC takes one
folder, so these are joined with links in the cache.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from pytracer.bpf.cache import sealed
from pytracer.bpf.cache.directory import CacheDir
from pytracer.bpf.compile.headers.generated import FOLDER, needs_of
from pytracer.bpf.digest import sha256
from pytracer.bpf.identity import kernel_identity
from pytracer.errors import HeadersError
from pytracer.kernel.distro import install_command

KHEADERS = Path("/sys/kernel/kheaders.tar.xz")
MODULES = Path("/lib/modules")

KCONFIG = "include/linux/kconfig.h"
BPF = "include/uapi/linux/bpf.h"
_HELPER = re.compile(r"(?:\bFN\(|BPF_FUNC_)(\w+)")  # in the list of all helpers, and in its comments


def find_package(cache: Callable[[], CacheDir], *, modules: Path = MODULES) -> Path:
    """Return the folder of the running kernel's header package, joined in the cache if it is split in two.

    Raises HeadersError if there is none that is complete.
    """
    release = os.uname().release
    build = modules / release / "build"
    if (build / KCONFIG).is_file():
        return build.resolve()
    if not build.is_dir():
        raise HeadersError(f"there is no {build}", hint=install_hint())
    for source in (modules / release / "source", *_sources(build)):
        if (source / KCONFIG).is_file():
            return join(build.resolve(), source.resolve(), cache())
    raise HeadersError(f"{build} has no {KCONFIG}: the header package is not complete", hint=install_hint())


def replace_bpf_header(path: Path, cache: CacheDir, libbcc: Path | None) -> Path:
    """Return the headers in ``path`` with the kernel's bpf.h instead of BCC's, if it has all that BCC needs.

    BCC brings the bpf.h of the kernel it was made with. Newer kernels' headers, such as those of sockets,
    have inline functions that need definitions which it lacks. BCC includes kconfig.h first: in a tree of
    links in the cache, it also includes the kernel's bpf.h, whose guard then skips BCC's.
    """
    if libbcc is None:
        return path
    try:
        known_helpers = {
            f"BPF_FUNC_{name}" for name in _HELPER.findall((path / BPF).read_text(errors="replace"))
        }
    except OSError:
        return path
    if needs_of(libbcc)[0] - known_helpers:
        return path
    head = f'#include "{path / KCONFIG}"\n#include <uapi/linux/bpf.h>\n'
    parts = (path, (path / KCONFIG).stat().st_mtime_ns, head)
    key = sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]

    def fill(new: Path) -> None:
        for top in ("include", "arch"):
            if (path / top).is_dir():
                _link(new / top, [path / top], 1, shared_folders=["linux"])
        (new / KCONFIG).unlink()
        (new / KCONFIG).write_text(head)

    return sealed.load_or_create(cache, FOLDER, f"own-bpf-{key}", fill)


def unpack_kheaders(cache: CacheDir, *, archive: Path = KHEADERS) -> tuple[Path, bool]:
    """Unpack the headers that the kernel keeps. Returns their folder, and True if they were unpacked before.

    Raises HeadersError if the kernel keeps none, or the archive is damaged.
    """
    if not archive.is_file():
        raise HeadersError(
            f"there is no {archive}", hint="if the kernel has it as a module: modprobe kheaders"
        )
    key = sha256(kernel_identity(archive).encode()).hexdigest()[:32]
    path = cache.path / FOLDER / f"kheaders-{key}"
    if sealed.is_intact(path):
        return path, True

    def fill(new: Path) -> None:
        try:
            with tarfile.open(archive, "r:xz") as tar:
                _extract(tar, new)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise HeadersError(f"cannot unpack {archive}: {error}") from error
        if not (new / KCONFIG).is_file():
            raise HeadersError(f"{archive} holds no {KCONFIG}")

    return sealed.load_or_create(cache, FOLDER, path.name, fill), False


def install_hint() -> str:
    """Return the command that installs the running kernel's headers on this distribution."""
    release = os.uname().release
    return install_command(
        {
            "apt-get": f"linux-headers-{release}",
            "dnf": f"kernel-devel-{release}",
            "zypper": "kernel-default-devel",
            "pacman": "linux-headers",
        }
    )


def _sources(build: Path) -> list[Path]:
    """Return the folders that may have the common half: those that the build folder's makefile includes."""
    try:
        text = (build / "Makefile").read_text(errors="replace")
    except OSError:
        return []
    return [Path(found).parent for found in re.findall(r"^include\s+(/\S+/Makefile)\s*$", text, re.M)]


def join(build: Path, source: Path, cache: CacheDir) -> Path:
    """Join both halves of a header package to one tree of links in the cache.

    Folders that are in both halves are merged; files of the build half win.
    """
    key = sha256(f"{build}\0{source}\0{build.stat().st_mtime_ns}".encode()).hexdigest()[:32]

    def fill(new: Path) -> None:
        for top in ("include", "arch"):
            _link(new / top, [tree / top for tree in (build, source) if (tree / top).is_dir()], 8)

    return sealed.load_or_create(cache, FOLDER, f"package-{key}", fill)


def _link(target: Path, trees: list[Path], depth: int, shared_folders: Sequence[str] = ()) -> None:
    """Make links in ``target`` to the entries of the ``trees``. Folders in both, or ``shared_folders``, are
    merged."""
    entries: dict[str, list[Path]] = {}
    for tree in trees:
        for entry in tree.iterdir():
            entries.setdefault(entry.name, []).append(entry)
    target.mkdir(mode=0o700, exist_ok=True)
    for name, path in entries.items():
        folders = [entry for entry in path if entry.is_dir()]
        if (len(folders) > 1 or (folders and name in shared_folders)) and depth:
            _link(target / name, folders, depth - 1)
        else:
            (target / name).symlink_to(path[0])


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    """Extract plain files and folders only, and only inside ``folder``: headers consist of nothing else."""
    for entry in tar:
        parts = PurePosixPath(entry.name).parts
        if entry.name.startswith("/") or ".." in parts:
            raise HeadersError(f"the archive holds a file outside its folder: {entry.name}")
        target = folder.joinpath(*parts)
        if entry.isdir():
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif entry.isfile() and (data := tar.extractfile(entry)) is not None:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with target.open("xb") as file:
                shutil.copyfileobj(data, file)
