"""Fetch Debian's kernels into the lab's cache, each completely or not at all.

The cache holds trees/NAME-VERSION/ (the packages' files and modules.dep), NAME.json (which tree is
current, and what it was made of) and apt/SUITE/ (the private apt root).
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.apt import Apt, Mirror, find_mirror
from lab.errors import LabError, say
from lab.host import cache_folder, need, need_space, which
from lab.kernels import KERNELS, Kernel, KernelByImage, TestedKernel, by_name, names

IMAGE, HEADERS = "linux-image-cloud-amd64", "linux-headers-cloud-amd64"
SPACE = 1200  # megabytes, for one kernel's packages and files and a suite's lists


@dataclass(frozen=True)
class Fetched:
    """A kernel in the cache."""

    name: str
    release: str
    tree: str
    packages: dict[str, str]

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return cache_folder() / "trees" / self.tree


def cached(name: str) -> Fetched | None:
    """Return the kernel of that name if it is in the cache, without the network."""
    try:
        fetched = Fetched(**json.loads((cache_folder() / f"{name}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return fetched if fetched.folder.is_dir() else None


def find(word: str) -> Kernel:
    """Find a supported kernel by its name, or by the number that "newest" has."""
    kernel = by_name(word)
    if kernel:
        return kernel
    for candidate in KERNELS:
        kernel_files = cached(candidate.name)
        if kernel_files and (kernel_files.release == word or kernel_files.release.startswith(f"{word}.")):
            return candidate
    raise LabError(f"unknown kernel: {word}", f"one of {names()}; or --kernel-image FILE --modules DIR")


def find_tested(word: str) -> TestedKernel:
    """Find a supported kernel, or parse one by image (NAME=IMAGE:MODULES). Raises LabError."""
    return KernelByImage.parse(word) if "=" in word else find(word)


@contextmanager
def locked(path: Path, operation: int) -> Iterator[bool]:
    """Hold a lock on an existing file or folder. Yields False if another process has it and LOCK_NB was
    requested."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def fetch(kernel: Kernel, mirror: Mirror | None = None) -> Fetched:
    """Update a kernel's cache from its suite."""
    need(["depmod"])
    cache = cache_folder()
    (cache / "trees").mkdir(parents=True, exist_ok=True)
    need_space(cache, SPACE)
    with locked(cache / "trees", fcntl.LOCK_EX):
        apt = Apt(cache / "apt" / kernel.suite, kernel, mirror or find_mirror())
        say(f"{kernel.name}: reading {kernel.suite}'s lists")
        apt.update()
        packages = apt.closure(IMAGE, HEADERS)
        old = cached(kernel.name)
        if old and old.packages == packages:
            say(f"{kernel.name}: {old.release} is up to date")
            return old
        say(f"{kernel.name}: fetching {', '.join(packages)}")
        with tempfile.TemporaryDirectory(prefix="new-", dir=cache / "trees") as scratch:
            fetched = _unpack(kernel, apt, packages, Path(scratch))
        record_file = cache / f"{kernel.name}.json.new"
        record_file.write_text(json.dumps(asdict(fetched), indent=2) + "\n")
        record_file.replace(cache / f"{kernel.name}.json")
        _prune(cache)
    say(f"{kernel.name}: is {fetched.release}")
    return fetched


def _unpack(kernel: Kernel, apt: Apt, packages: dict[str, str], scratch: Path) -> Fetched:
    debs = scratch / "debs"
    debs.mkdir()
    tree = scratch / "tree"
    tree.mkdir()
    for deb in apt.download(packages, debs):
        # The order of packages must not decide what "lib" is: all of them are unpacked below it.
        process = subprocess.run(["dpkg-deb", "-x", deb, tree], capture_output=True, text=True, check=False)
        if process.returncode:
            raise LabError(f"{deb.name} could not be unpacked: {process.stderr.strip()}")
    if not (tree / "lib").exists():
        (tree / "lib").symlink_to("usr/lib")
    releases = [path.name for path in (tree / "lib/modules").iterdir() if (path / "kernel").is_dir()]
    if len(releases) != 1:
        raise LabError(f"{kernel.name}: modules for one kernel were expected, not for {releases}")
    subprocess.run(
        [which("depmod") or "depmod", "-b", tree, releases[0]], check=True, stdin=subprocess.DEVNULL
    )
    version = next(iter(packages.values()))
    name = f"{kernel.name}-{version}"
    final = cache_folder() / "trees" / name
    if final.exists():  # what an interrupted run left; no manifest names it, or its files differ
        shutil.rmtree(final)
    tree.rename(final)
    return Fetched(kernel.name, releases[0], name, packages)


def _prune(cache: Path) -> None:
    """Remove trees that no manifest names and no VM uses."""
    current = {
        kernel_files.tree for kernel_files in (cached(kernel.name) for kernel in KERNELS) if kernel_files
    }
    for tree in (cache / "trees").iterdir():
        if tree.name not in current and not tree.name.startswith("new-"):
            with locked(tree, fcntl.LOCK_EX | fcntl.LOCK_NB) as is_locked:
                if is_locked:
                    shutil.rmtree(tree, ignore_errors=True)
