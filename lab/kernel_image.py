"""A kernel that can be booted: its image, its modules, and what the initramfs must load of them."""

from __future__ import annotations

import gzip
import lzma
import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.fetch import Fetched
from lab.host import which
from lab.kernels import Kernel

# What reaches the root file system and the host, in the order in which it is asked for.
WANTED = ("virtio_pci", "virtio_console", "virtio_rng", "overlay")
FILE_SYSTEMS = {"virtiofs": ("virtiofs",), "9p": ("9pnet_virtio", "9p")}


@dataclass(frozen=True)
class KernelImage:
    """One kernel, from the cache or from a path of the user's."""

    name: str
    release: str
    file: Path
    modules: Path | None
    """The folder that is /lib/modules/RELEASE."""
    tree: Path | None
    """Below it are usr/src and boot, to be placed where the packages have them."""
    append: str = ""

    def has(self, module: str) -> bool:
        """Return whether the kernel has a driver, built in or as a module."""
        return module in self._built_in() or module in self._paths()

    def file_system(self, name: str) -> str:
        """Return the file system for the host's files: virtiofs if the kernel has it, else 9p."""
        if name != "auto":
            return name
        if self.has("virtiofs") or (self.modules is None and self._version() >= (5, 4)):
            return "virtiofs"
        return "9p"

    def early_modules(self, file_system: str) -> list[tuple[str, bytes]]:
        """Return the modules for the initramfs, uncompressed, each after those that it needs."""
        if self.modules is None:
            return []
        order: list[str] = []
        for module in (*WANTED, *FILE_SYSTEMS[file_system]):
            self._add(module, order)
        return [
            (Path(path).name.partition(".ko")[0], unpacked(self.modules / path))
            for path in dict.fromkeys(order)
        ]

    def _add(self, module: str, order: list[str]) -> None:
        path = self._paths().get(module)
        if path:
            order += [*reversed(self._needs()[path]), path]

    def _version(self) -> tuple[int, int]:
        match = re.match(r"(\d+)\.(\d+)", self.release)
        return (int(match[1]), int(match[2])) if match else (0, 0)

    def _built_in(self) -> set[str]:
        try:
            text = (self.modules / "modules.builtin").read_text() if self.modules else ""
        except OSError:
            return set()
        return {_module_name(line) for line in text.splitlines()}

    def _needs(self) -> dict[str, list[str]]:
        try:
            text = (self.modules / "modules.dep").read_text() if self.modules else ""
        except OSError:
            raise LabError(f"no modules.dep in {self.modules}", "depmod makes it") from None
        return {path: needs.split() for path, _, needs in (line.partition(":") for line in text.splitlines())}

    def _paths(self) -> dict[str, str]:
        return {_module_name(path): path for path in self._needs()}


def _module_name(path: str) -> str:
    return Path(path).name.partition(".ko")[0].replace("-", "_")


def unpacked(path: Path) -> bytes:
    """Decompress a module of any of the three formats that distributions use."""
    raw = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(raw)
    if path.suffix == ".gz":
        return gzip.decompress(raw)
    if path.suffix == ".zst":
        zstd = which("zstd")
        if not zstd:
            raise LabError(
                "missing: zstd, which this kernel's modules are compressed with", "apt-get install zstd"
            )
        return subprocess.run([zstd, "-dcq"], input=raw, capture_output=True, check=True).stdout
    return raw


def release_of(file: Path) -> str:
    """Return the release in a bzImage's header, such as "4.19.0-27-amd64"; empty if it is none."""
    with file.open("rb") as image:
        head = image.read(0x210)
        if len(head) < 0x210 or head[0x202:0x206] != b"HdrS":
            return ""
        image.seek(0x200 + struct.unpack_from("<H", head, 0x20E)[0])
        return image.read(256).split(b"\0")[0].decode("ascii", "replace").split(" ")[0]


def from_cache(kernel: Kernel, fetched: Fetched) -> KernelImage:
    """Return a fetched kernel."""
    tree, modules = fetched.folder, fetched.folder / "lib/modules" / fetched.release
    places = (tree / "boot" / f"vmlinuz-{fetched.release}", modules / "vmlinuz")
    file = next((candidate for candidate in places if candidate.is_file()), None)
    if file is None:
        images = sorted(path for path in tree.rglob("vmlinuz*") if path.is_file())
        if not images:
            raise LabError(f"{kernel.name}: no kernel image in {tree}", f"scripts/lab fetch {kernel.name}")
        file = images[0]
    return KernelImage(kernel.name, fetched.release, file, modules.resolve(), tree, kernel.append)


def from_path(file: Path, modules: Path | None) -> KernelImage:
    """Return a kernel that the user brings; its modules as /lib/modules/RELEASE, or any folder above that."""
    if not file.is_file():
        raise LabError(f"no kernel image {file}")
    release = release_of(file)
    if not release:
        raise LabError(f"{file} is not a kernel image for x86 (bzImage)")
    if modules is None:
        return KernelImage(release, release, file.resolve(), None, None)
    places = [
        modules,
        modules / release,
        modules / "lib/modules" / release,
        modules / "usr/lib/modules" / release,
    ]
    for path in places:
        if (path / "modules.dep").is_file():
            return KernelImage(release, release, file.resolve(), path.resolve(), None)
    raise LabError(f"no modules.dep for {release} in {modules}", f"depmod -b FOLDER {release} makes it")
