"""Find the programs for running virtual machines on this machine, and install what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab.errors import LabError, say

QEMU = "qemu-system-x86_64"
# QEMU's own, then its successor in Rust, where distributions put them.
VIRTIOFSD = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/bin/virtiofsd")

# Writes 0x10 to QEMU's debug exit port and halts: QEMU then exits with 0x10 * 2 + 1.
BOOT_SECTOR = bytes.fromhex("b010 e6f4 f4 ebfd").ljust(510, b"\0") + b"\x55\xaa"
BOOT_STATUS = 0x10 * 2 + 1

PACKAGES = {
    "apt-get": {
        "qemu": "qemu-system-x86",
        "busybox": "busybox-static",
        "depmod": "kmod",
        "keyring": "debian-archive-keyring",
        "zstd": "zstd",
        "xz": "xz-utils",
        "libc": "libc6-dev",
        "libelf": "libelf-dev",
    },
    "dnf": {"qemu": "qemu-system-x86-core", "busybox": "busybox", "depmod": "kmod", "virtiofsd": "virtiofsd"},
    "zypper": {"qemu": "qemu-x86", "busybox": "busybox-static", "depmod": "kmod", "virtiofsd": "virtiofsd"},
    "pacman": {"qemu": "qemu-system-x86", "busybox": "busybox", "depmod": "kmod", "virtiofsd": "virtiofsd"},
}
INSTALL = {
    "apt-get": "apt-get install --no-install-recommends",
    "dnf": "dnf install",
    "zypper": "zypper install",
    "pacman": "pacman -S",
}

# What running kernels takes, and what building them does; a program unless it is stated otherwise below.
RUNNING = ("qemu", "virtiofsd", "busybox", "depmod")
BUILDING = ("gcc", "make", "flex", "bison", "bc", "perl", "cpio", "xz", "pahole", "libc", "libelf", "depmod")
INCLUDES = {"libc": Path("/usr/include/stdlib.h"), "libelf": Path("/usr/include/gelf.h")}


def which(program: str) -> str | None:
    """Return the path of a program, also from the sbin folders if they are not in the PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def virtiofsd() -> str | None:
    """Return the daemon that shares a folder with a VM."""
    return next((path for path in VIRTIOFSD if os.access(path, os.X_OK)), None)


def _is_there(requirement: str) -> bool:
    if requirement == "virtiofsd":
        return virtiofsd() is not None
    if requirement in INCLUDES:
        return INCLUDES[requirement].is_file()
    return which({"qemu": QEMU}.get(requirement, requirement)) is not None


def missing(requirements: Sequence[str] = RUNNING) -> list[str]:
    """List which of these this machine lacks."""
    return [requirement for requirement in requirements if not _is_there(requirement)]


def packages(requirements: list[str]) -> tuple[str, list[str]]:
    """Return this machine's package manager ("" if unknown) and its names for the packages."""
    manager = next((name for name in PACKAGES if which(name)), "")
    package_names = dict(PACKAGES.get(manager, {}))
    if manager == "apt-get" and "virtiofsd" in requirements:
        # Up to Debian 12 it came with QEMU; since then it is a package of its own.
        answer = subprocess.run(["apt-cache", "show", "virtiofsd"], capture_output=True, check=False)
        package_names["virtiofsd"] = "virtiofsd" if answer.returncode == 0 else "qemu-system-common"
    return manager, [package_names.get(requirement, requirement) for requirement in requirements]


def need(requirements: Sequence[str]) -> None:
    """Return one line that names what to install; "" if nothing is missing."""
    missing_programs = missing(requirements)
    if missing_programs:
        manager, names = packages(missing_programs)
        setup = "scripts/lab setup" if set(missing_programs) <= set(RUNNING) else "scripts/lab setup build"
        hint = f"{setup}, or: {INSTALL[manager]} {' '.join(names)}" if manager else "install them"
        raise LabError(f"missing: {', '.join(missing_programs)}", hint)


def setup(requirements: Sequence[str] = RUNNING) -> None:
    """Install what is missing, with the distribution's own tool."""
    missing_programs = missing(requirements)
    manager, names = packages(missing_programs)
    if not missing_programs:
        say("nothing is missing")
        return
    if manager != "apt-get":
        line = (
            f"{INSTALL[manager]} {' '.join(names)}" if manager else f"install {', '.join(missing_programs)}"
        )
        raise LabError("set-up is for Debian and its kin", line)
    if os.geteuid() != 0:
        raise LabError("not permitted to install packages", "sudo scripts/lab setup")
    say(f"installing {' '.join(names)}")
    # Another installation may be under way: a new machine keeps itself up to date.
    command = ["apt-get", "-y", "-o", "DPkg::Lock::Timeout=300", "install", "--no-install-recommends", *names]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(command, check=False, env=environment, stdin=subprocess.DEVNULL).returncode:
        raise LabError("apt-get could not install them", "apt-get update")


def cache_folder() -> Path:
    """Return the folder for kernels."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if base.startswith("/") else Path.home() / ".cache") / "pytracer-lab"


def need_space(folder: Path, megabytes: int) -> None:
    """Raise LabError if an operation would fill the disk."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free >> 20
    if free < megabytes:
        raise LabError(f"no space: {megabytes} MB are needed in {folder}, {free} are free")


def memory_available() -> int:
    """Return the megabytes of memory that are available."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) >> 10
    return 1 << 20


@dataclass(frozen=True)
class Accelerator:
    """A way to run the VM's processor."""

    name: str
    options: tuple[str, ...]


KVM = Accelerator("kvm", ("-accel", "kvm", "-cpu", "host"))
TCG = Accelerator("tcg", ("-accel", "tcg,thread=single", "-cpu", "max"))
"""One thread for all processors: with a thread each, QEMU translates code that another processor is changing,
and keeps the stale translation. A kernel that patches itself, as all tracing makes it do, then meets the
patch's own int3 and panics ("Oops: int3"). Two VMs on two processors are faster this way as well."""
ICOUNT = Accelerator("tcg", (*TCG.options, "-icount", "shift=0"))
"""With a clock that counts instructions, a nanosecond each: what is measured by it depends neither on the
machine that emulates nor on what else that does."""
EMULATED = {"tcg": TCG, "icount": ICOUNT}


def boots(qemu: str, accelerator: Accelerator) -> bool:
    """Test whether a VM of this kind runs code: it boots one sector that makes QEMU exit with a number."""
    with tempfile.NamedTemporaryFile(prefix="pytracer-lab-") as disk:
        disk.write(BOOT_SECTOR)
        disk.flush()
        command = [qemu, "-M", "pc", *accelerator.options, "-m", "16", "-nodefaults", "-display", "none"]
        command += ["-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        command += ["-drive", f"file={disk.name},format=raw,if=ide,readonly=off,snapshot=on"]
        try:
            process = subprocess.run(
                command, timeout=10, check=False, stdin=subprocess.DEVNULL, capture_output=True
            )
        except subprocess.TimeoutExpired:
            return False
    return process.returncode == BOOT_STATUS


def kvm_works(qemu: str, ask_again: bool) -> bool:
    """Return whether KVM works; tried once for each boot of this machine and each QEMU."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    key = f"{boot} {Path(qemu).stat().st_mtime_ns}"
    record_file = cache_folder() / "kvm"
    if not ask_again and record_file.is_file():
        identity, _, answer = record_file.read_text().rpartition(" ")
        if identity == key:
            return answer == "yes"
    works = boots(qemu, KVM)
    record_file.parent.mkdir(parents=True, exist_ok=True)
    record_file.write_text(f"{key} {'yes' if works else 'no'}")
    return works


def remember_kvm_fails() -> None:
    """Record that KVM ran the boot sector and then failed in a kernel: until the next boot, auto emulates.

    Nested KVM may lack instructions that only kernels use (cmpxchg16b, seen within Firecracker).
    """
    record_file = cache_folder() / "kvm"
    identity = record_file.read_text().rpartition(" ")[0]
    record_file.write_text(f"{identity} no")


@cache
def accelerator(name: str = "auto") -> Accelerator:
    """Return KVM if a VM really runs with it, else emulation. A device node and its ioctls prove nothing."""
    if name in EMULATED:
        return EMULATED[name]
    qemu = which(QEMU)
    if qemu and os.access("/dev/kvm", os.R_OK | os.W_OK) and kvm_works(qemu, ask_again=name == "kvm"):
        return KVM
    if name == "kvm":
        raise LabError("KVM does not work on this machine", "--accel tcg")
    return TCG
