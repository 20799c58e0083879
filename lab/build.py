"""Build kernels from Debian's linux-source into the lab's cache, each completely or not at all.

The cache holds built/NAME-KEY/ (the kernel, placed as packages place theirs), built/NAME.json (which of
them is current, and what it was made of), built/NAME.log (what the compiler said) and source/ (the source
packages). KEY stands for the source's version and everything that the fragments ask for.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import kconfig
from lab.apt import Apt, find_mirror
from lab.compile import Make, configure, install, unpack
from lab.errors import LabError, say
from lab.fetch import locked
from lab.host import BUILDING, cache_folder, need, need_space
from lab.kernel_image import KernelImage
from lab.kernels import Kernel
from lab.kernels import by_name as kernel_by_name
from lab.variants import FRAGMENTS, VARIANTS, Variant, by_name

SPACE = 6000  # megabytes, for the source and what is compiled of one variant after another
PACKAGE = "linux-source"


@dataclass(frozen=True)
class Built:
    """A kernel that was built."""

    name: str
    release: str
    tree: str
    version: str
    """The version of the source package."""
    configuration: str
    """A digest of the requested options."""

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return folder_of_all() / self.tree


def folder_of_all() -> Path:
    """Return the folder of all built kernels."""
    return cache_folder() / "built"


def digest(variant: Variant) -> str:
    """Return a digest of what a kernel is built from besides its source: options and headers."""
    options_text = kconfig.text_of(kconfig.merged(FRAGMENTS / name for name in variant.fragments))
    return hashlib.sha256(f"{variant.base} {variant.headers}\n{options_text}".encode()).hexdigest()


def built(variant: Variant) -> Built | None:
    """Return the variant as it was built last, if its fragments are still the same, without the network."""
    try:
        record = Built(**json.loads((folder_of_all() / f"{variant.name}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.folder.is_dir() and record.configuration == digest(variant) else None


def find(word: str) -> Variant:
    """Return the variant of that name. Raises LabError if there is none."""
    variant = by_name(word)
    if variant is None:
        raise LabError(f"no such kernel to build: {word}", "one of " + ", ".join(v.name for v in VARIANTS))
    return variant


def image(variant: Variant) -> KernelImage:
    """Return the variant as a kernel that can be booted; build it if it is not there yet."""
    record = built(variant)
    if record is None:
        build([variant])
        record = built(variant)
        assert record is not None
    file = record.folder / "boot" / f"vmlinuz-{record.release}"
    modules = record.folder / "lib/modules" / record.release
    append = _base(variant).append
    return KernelImage(variant.name, record.release, file, modules, record.folder, append)


def build(variants: Sequence[Variant]) -> None:
    """Rebuild variants whose source or fragments have changed.

    Raises LabError if the source or a requested option is not available, or if the compiler fails.
    """
    if os.uname().machine != "x86_64":
        raise LabError(
            "kernels are built on x86-64 only", "--kernel-image FILE --modules DIR runs any kernel"
        )
    mirror = find_mirror()
    need(BUILDING)
    build_folder, sources = folder_of_all(), cache_folder() / "source"
    for folder in (build_folder, sources):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(build_folder, fcntl.LOCK_EX):
        for stale in build_folder.glob("new-*"):  # what a run that was killed left
            shutil.rmtree(stale, ignore_errors=True)
        for base, kernel in {variant.base: _base(variant) for variant in variants}.items():
            say(f"reading {kernel.suite}'s lists")
            apt = Apt(sources / "apt" / kernel.suite, kernel, mirror)
            apt.update()
            package, version = _package(apt)
            due = [variant for variant in variants if variant.base == base and not _current(variant, version)]
            if due:
                need_space(build_folder, SPACE)
                _build_all(due, version, _download(apt, package, version, sources), build_folder)
        _prune(build_folder)


def _base(variant: Variant) -> Kernel:
    kernel = kernel_by_name(variant.base)
    assert kernel is not None
    return kernel


def _current(variant: Variant, version: str) -> bool:
    record = built(variant)
    if record is None or record.version != version:
        return False
    say(f"{variant.name}: {record.release} is up to date")
    return True


def _package(apt: Apt) -> tuple[str, str]:
    """Return the suite's package of kernel source, and its version, by way of the one that always leads to
    it."""
    depends = apt.show(PACKAGE).get("Depends", "")
    name = next((word for word in depends.replace(",", " ").split() if word.startswith(f"{PACKAGE}-")), "")
    if not name:
        raise LabError(f"the suite's {PACKAGE} leads to no source: {depends}")
    return name, apt.show(name)["Version"]


def _download(apt: Apt, package: str, version: str, sources: Path) -> Path:
    """Download the source package's file, which is kept for the next build; older ones are dropped."""
    name = f"{package}_{version.replace(':', '%3a')}_all.deb"
    if not (sources / name).is_file():
        for old in sources.glob(f"{package}_*.deb"):
            old.unlink()
        say(f"fetching {package} {version}")
        with tempfile.TemporaryDirectory(prefix="new-", dir=sources) as scratch:
            for file in apt.download({package: version}, Path(scratch)):
                file.replace(sources / name)
    return sources / name


def _build_all(variants: list[Variant], version: str, package: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="new-", dir=folder) as scratch:
        say(f"unpacking {package.name}")
        source = unpack(package, Path(scratch))
        for variant in variants:
            log = folder / f"{variant.name}.log"
            log.write_bytes(b"")
            say(f"{variant.name}: configuring and compiling, which takes minutes ({log})")
            work_folder = Path(scratch) / variant.name
            make = Make(variant.name, source, work_folder, log)
            configure(make, kconfig.merged(FRAGMENTS / name for name in variant.fragments))
            make("bzImage")
            release = install(make, work_folder / "tree", variant.headers)
            key = hashlib.sha256(f"{version}\n{digest(variant)}".encode()).hexdigest()[:16]
            final = folder / f"{variant.name}-{key}"
            if final.exists():  # what an interrupted run left; no manifest names it
                shutil.rmtree(final)
            (work_folder / "tree").rename(final)
            record = Built(variant.name, release, final.name, version, digest(variant))
            record_file = folder / f"{variant.name}.json.new"
            record_file.write_text(json.dumps(asdict(record), indent=2) + "\n")
            record_file.replace(folder / f"{variant.name}.json")
            shutil.rmtree(work_folder)
            say(f"{variant.name}: is {release}")


def _prune(folder: Path) -> None:
    """Remove kernels that no manifest names and no VM uses."""
    current = set()
    for manifest in folder.glob("*.json"):
        try:
            current.add(json.loads(manifest.read_text())["tree"])
        except (ValueError, TypeError, KeyError):
            continue
    for tree in folder.iterdir():
        if tree.is_dir() and tree.name not in current and not tree.name.startswith("new-"):
            with locked(tree, fcntl.LOCK_EX | fcntl.LOCK_NB) as is_locked:
                if is_locked:
                    shutil.rmtree(tree, ignore_errors=True)
