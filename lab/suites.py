"""Debian suites as user space: a suite's root in the lab's cache, and in it an environment for this checkout.

The cache holds suites/SUITE-.../ (the root), suites/SUITE.json (which of them is current, and what it
was made of), suites/debs/ (packages as they were fetched) and environments/SUITE-.../ (what scripts/setup
made of this checkout with the suite's own Python). Each is complete or not there at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lab import debian
from lab.apt import Apt, find_mirror
from lab.errors import LabError, say
from lab.fetch import locked
from lab.host import cache_folder, need_space, which
from lab.kernels import KERNELS, Kernel

CHECKOUT = Path(__file__).resolve().parent.parent
LEFT_OUT = {"bullseye": "its Python is 3.9, and pytracer needs 3.10"}
OWN = ("kmod",)  # what only the lab asks for: modprobe
BCC = "python3-bpfcc"
SPACE = 2500  # megabytes, for one suite's packages and files and an environment
MADE_BY = ("scripts/setup", "pyproject.toml")
BELONGS_TO = "lab-checkout"  # in an environment: the path of its checkout
NOT_SOURCES = (".git", ".venv", "*.egg-info", "__pycache__", ".*_cache", "build", "dist")

# Runs scripts/setup on a copy of the checkout that lies at the checkout's own path in the root. Nothing of
# it reaches the root: that is the lower layer of an overlay. The layers have names of our own: a comma or
# colon would mean something to overlayfs.
SET_UP = """
set -eu
work=$1 root=$2 checkout=$3
cd "$work"
mkdir lower over merged
mount --bind "$root" lower
mount -t tmpfs tmpfs over
mkdir over/upper over/work
mount -t overlay -o lowerdir=lower,upperdir=over/upper,workdir=over/work overlay merged
mkdir -p "merged$checkout" merged/run/wheels
mount --bind copy "merged$checkout"
mount --bind wheels merged/run/wheels
mount -t proc proc merged/proc
exec chroot merged /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    PIP_NO_CACHE_DIR=1 PIP_NO_INDEX=1 PIP_FIND_LINKS=/run/wheels "$checkout/scripts/setup" --dev
"""


@dataclass(frozen=True)
class Suite:
    """A suite's root in the cache."""

    name: str
    root: str
    """The folder's name."""
    packages: dict[str, str]
    """The versions of the requested packages, by name."""

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return folder_of("suites") / self.root

    @property
    def bcc(self) -> str:
        """BCC's version, such as 0.31.0."""
        return self.packages[BCC].partition("+")[0].partition("-")[0]


@dataclass(frozen=True)
class UserSpace:
    """The user space of a guest in place of this machine's; folders of this machine."""

    suite: str
    root: Path
    environment: Path
    """Becomes the checkout's .venv."""
    checkout: Path = CHECKOUT


def folder_of(name: str) -> Path:
    """Return a folder of the cache by a path without symbolic links, which would lead elsewhere in a
    guest."""
    return cache_folder().resolve() / name


def names() -> list[str]:
    """Return the suites there can be, oldest first."""
    return [kernel.suite for kernel in KERNELS if kernel.suite not in LEFT_OUT]


def find(name: str) -> Kernel:
    """Find the kernel of a suite, which knows the suite's archive."""
    if name in LEFT_OUT:
        raise LabError(
            f"no user space of {name}: {LEFT_OUT[name]}", f"--suite is one of {', '.join(names())}"
        )
    for kernel in KERNELS:
        if kernel.suite == name:
            return kernel
    raise LabError(f"unknown suite: {name}", f"one of {', '.join(names())}")


def cached(name: str) -> Suite | None:
    """Return the suite's root if it is in the cache, without the network."""
    try:
        suite = Suite(**json.loads((folder_of("suites") / f"{name}.json").read_text()))
        return suite if suite.folder.is_dir() and suite.bcc else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def need() -> None:
    """Return one line that says why no root or environment can be made; "" if they can."""
    if os.geteuid() != 0:
        raise LabError("not permitted to install a suite", "sudo scripts/lab fetch --suite NAME")
    missing_programs = [name for name in ("debootstrap", "unshare", "chroot") if not which(name)]
    if missing_programs:
        raise LabError(f"missing: {', '.join(missing_programs)}", "apt-get install debootstrap util-linux")


def user_space(name: str) -> UserSpace:
    """Return a suite and an environment for this checkout; made if they are missing or out of date."""
    kernel = find(name)
    suite = cached(name)
    if suite is None or not set(_packages()) <= set(suite.packages):
        suite = fetch(kernel)
    return UserSpace(name, suite.folder, environment(suite))


def fetch(kernel: Kernel) -> Suite:
    """Update a suite's root."""
    need()
    cache = folder_of("suites")
    (cache / "debs").mkdir(parents=True, exist_ok=True)
    need_space(cache, SPACE)
    name, mirror, package_list = kernel.suite, find_mirror(), _packages()
    with locked(cache, fcntl.LOCK_EX):
        # debootstrap knows no security updates: the versions to compare with are those without.
        apt = Apt(cache_folder() / "apt" / f"{name}-main", replace(kernel, security=False), mirror)
        say(f"{name}: reading its lists")
        apt.update()
        packages = {package: apt.show(package)["Version"] for package in package_list}
        old = cached(name)
        if old and old.packages == packages:
            say(f"{name}: is up to date, with BCC {old.bcc}")
            return old
        say(f"{name}: installing Debian (some minutes)")
        suite = Suite(name, f"{name}-{_digest(repr(packages))}", packages)
        with _scratch(cache) as work_folder:
            root = work_folder / "root"
            tree = debian.DebianTree(root, name, mirror, CHECKOUT, work_folder / "log")
            tree.debootstrap(package_list, cache / "debs")
            root.chmod(0o755)  # whatever the umask
            if suite.folder.exists():  # what an interrupted run left: no manifest names it
                shutil.rmtree(suite.folder)
            root.rename(suite.folder)
        record_file = cache / f"{name}.json.new"
        record_file.write_text(json.dumps(asdict(suite), indent=2) + "\n")
        record_file.replace(cache / f"{name}.json")
        _prune(old for old in cache.glob(f"{name}-*") if old != suite.folder)
    say(f"{name}: has BCC {suite.bcc}")
    return suite


def environment(suite: Suite) -> Path:
    """Return the virtual environment that scripts/setup --dev makes of this checkout in a suite."""
    cache = folder_of("environments")
    owner = f"{suite.name}-{_digest(str(CHECKOUT))}"
    made_of = [suite.root, SET_UP, *((CHECKOUT / path).read_text() for path in MADE_BY)]
    final = cache / f"{owner}-{_digest(*made_of)}"
    if final.is_dir():
        return final
    need()
    cache.mkdir(parents=True, exist_ok=True)
    need_space(cache, SPACE)
    with locked(cache, fcntl.LOCK_EX), _scratch(cache) as work_folder:
        if final.is_dir():  # by another lab that we waited for
            return final
        say(f"{suite.name}: setting this checkout up")
        tree = debian.DebianTree(suite.folder, suite.name, find_mirror(), CHECKOUT, work_folder / "log")
        tree.fetch_wheels(work_folder / "wheels", "dev")
        left_out = shutil.ignore_patterns(*NOT_SOURCES)
        shutil.copytree(CHECKOUT, work_folder / "copy", symlinks=True, ignore=left_out)
        tree.run(
            *debian.ASIDE, "sh", "-c", SET_UP, "sh", str(work_folder), str(suite.folder), str(CHECKOUT),
            name=f"scripts/setup in {suite.name}",
        )  # fmt: skip
        copy = work_folder / "copy/.venv"
        (copy / BELONGS_TO).write_text(str(CHECKOUT))
        copy.rename(final)
        _prune(old for old in cache.glob(f"{suite.name}-*") if old != final and _is_over(old))
    return final


def _is_over(environment: Path) -> bool:
    """Return whether the environment belongs to this checkout, or to one that no longer exists."""
    try:
        checkout = Path((environment / BELONGS_TO).read_text())
    except OSError:
        return True
    return checkout == CHECKOUT or not checkout.is_dir()


@contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """Make a temporary folder, and remove those of killed processes. The caller holds the cache's lock."""
    for left in cache.glob("new-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="new-", dir=cache, ignore_cleanup_errors=True) as path:
        yield Path(path)


def _packages() -> list[str]:
    return [*OWN, *debian.wanted(CHECKOUT, "dev")]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _prune(folders: Iterable[Path]) -> None:
    """Remove older folders, unless a VM uses them."""
    for old in folders:
        with locked(old, fcntl.LOCK_EX | fcntl.LOCK_NB) as is_locked:
            if is_locked:
                shutil.rmtree(old, ignore_errors=True)
