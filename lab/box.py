"""Run the box's command line: make a Vagrant box from the distribution's packages, and try it."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path

from lab import box_disk, box_kernels, box_try, host
from lab.apt import find_mirror
from lab.box_tree import GRUB_MODULES, BoxTree, packages, requirements
from lab.box_try import temporary
from lab.errors import LabError, SignalReceivedError, raise_on_signals
from lab.host import which
from lab.kernels import KERNELS, Kernel, by_name, names

ROOT = Path(__file__).resolve().parent.parent
NOWHERE = Path("/")  # where Vagrant finds no Vagrantfile, next to which it would make a folder
OWN = "6.1"
"""The kernel of the box's suite, whose Python and BCC pytracer runs with."""
KERNEL_VARIABLE = "PYTRACER_KERNEL"  # the Vagrantfile reads it, too
BOX_VARIABLE = "PYTRACER_BOX"
VERSION = "0"
"""The version that Vagrant gives to a box added from a file. Published boxes have others."""
SPACE = 6000
MADE_BY = ("lab/debian.py", "lab/box_tree.py", "lab/box_disk.py", "lab/box_kernels.py")

DESCRIPTION = f"""
Makes a Vagrant box on this machine and tries pytracer in it.

  build   make the box: debootstrap, a disk image without loop devices, everything that
          scripts/setup would install; as root
  add     give it to Vagrant, under the name that the Vagrantfile uses
  try     the above as far as needed, then vagrant up, both commands of the README, halt, destroy;
          as root. libvirtd runs in namespaces of its own with a configuration of its own and no
          way to any network: nothing on this machine is changed, and nothing stays behind.
          The exit status is that of what failed first
  clean   remove what build made, and the box from Vagrant

The box holds Python wheels of what pyproject.toml names and an /etc/pip.conf that makes pip take
them from there only, and the packages of all kernels where scripts/kernel looks for them, so that
provisioning needs no network. PIP_NO_INDEX=0 in the guest's environment undoes the first.

{KERNEL_VARIABLE} chooses the kernel that try boots, as in the Vagrantfile: {names()} ({OWN}, the
box's own, if unset). {BOX_VARIABLE} gives the box another name.
"""
PACKAGES = {
    "debootstrap": "debootstrap",
    "sfdisk": "fdisk",
    "mke2fs": "e2fsprogs",
    "grub-mkimage": "grub-common",
    "qemu-img": "qemu-utils",
    "unshare": "util-linux",
    "vagrant": "vagrant",
    "libvirtd": "libvirt-daemon-system",
    "virsh": "libvirt-clients",
    "dnsmasq": "dnsmasq-base",
    "iptables": "iptables",
    "ip": "iproute2",
    "rsync": "rsync",
    "ssh": "openssh-client",
    host.QEMU: "qemu-system-x86",
}
BUILDING = ("debootstrap", "sfdisk", "mke2fs", "grub-mkimage", "qemu-img", "unshare", "vagrant")
TRYING = ("vagrant", "libvirtd", "virsh", "dnsmasq", "iptables", "ip", "rsync", "ssh", "unshare", host.QEMU)


def say(text: str) -> None:
    """Print a line."""
    print(f"box: {text}", file=sys.stderr, flush=True)


def need(programs: tuple[str, ...]) -> None:
    """Return one line that names what to install; "" if nothing is missing."""
    missing_packages = [PACKAGES[program] for program in programs if not which(program)]
    if "grub-mkimage" in programs and not GRUB_MODULES.is_dir():
        missing_packages.append("grub-pc-bin")
    if "libvirtd" in programs and which("dpkg-query"):
        query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", "vagrant-libvirt"]
        answer = subprocess.run(query, capture_output=True, text=True, check=False)
        if answer.stdout != "installed":
            missing_packages.append("vagrant-libvirt")
    if missing_packages:
        missing_packages = list(dict.fromkeys(missing_packages))
        line = f"apt-get install --no-install-recommends {' '.join(missing_packages)}"
        raise LabError(f"missing: {', '.join(missing_packages)}", line)


def need_root(action: str) -> None:
    """Check for root: debootstrap and namespaces need it."""
    if os.geteuid() != 0:
        raise LabError("not permitted", f"sudo scripts/box {action}")


class Box:
    """A box: its name and its file."""

    def __init__(self) -> None:
        kernel_name = os.environ.get(KERNEL_VARIABLE) or OWN
        if by_name(kernel_name) is None:
            raise LabError(f"no kernel {kernel_name} for the box", f"{KERNEL_VARIABLE} is one of {names()}")
        self.kernel: Kernel = next(kernel for kernel in KERNELS if kernel.name == OWN)
        self.folder = host.cache_folder() / "box"
        self.mark = self.folder / "added"

    @cached_property
    def file(self) -> Path:
        """The box's file. Its name has a digest of its inputs, so other packages or wheels make another
        box."""
        made_from = [repr((KERNELS, OWN, packages(ROOT, self.kernel), requirements(ROOT)))]
        made_from += [(ROOT / path).read_text() for path in MADE_BY]
        digest = hashlib.sha256("".join(made_from).encode()).hexdigest()[:12]
        return self.folder / f"{self.kernel.suite}-{digest}.box"

    @property
    def name(self) -> str:
        """The box's name in the Vagrantfile."""
        return os.environ.get(BOX_VARIABLE) or f"debian/{self.kernel.suite}64"

    def build(self) -> None:
        """Make the box, if it is not there."""
        if self.file.is_file():
            say(f"already built: {self.file.name}")
            return
        need_root("build")
        need(BUILDING)
        host.need_space(self.folder, SPACE)
        (self.folder / "debs").mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        with temporary(self.folder, "build-") as work_folder:
            tree = BoxTree(work_folder / "tree", self.kernel, find_mirror(), ROOT, work_folder / "log")
            say(f"installing Debian {self.kernel.suite} (some minutes)")
            tree.install(self.folder / "debs")
            say("fetching wheels")
            tree.add_wheels()
            say("fetching the other kernels' packages")
            box_kernels.fetch(tree.root, self.kernel, tree.mirror, ROOT, work_folder / "apt")
            tree.configure(emulated=host.accelerator() is host.TCG)
            say("making the disk")
            box_disk.make(tree.root, work_folder, emulated=host.accelerator() is host.TCG)
            for old in self.folder.glob(f"{self.kernel.suite}-*.box"):
                old.unlink()
            (work_folder / "packed").rename(self.file)
        size = self.file.stat().st_size >> 20
        say(f"built {self.file.name}: {size} MB in {time.monotonic() - start:.0f} s")

    def marks(self) -> dict[str, str]:
        """Return the boxes that were added: file name by box name."""
        return dict(json.loads(self.mark.read_text())) if self.mark.is_file() else {}

    def versions(self, box: str) -> list[str]:
        """Return the versions of a box that Vagrant has for libvirt."""
        output = box_try.vagrant(["box", "list", "--machine-readable"], NOWHERE, capture=True).stdout
        versions: list[str] = []
        name = provider = ""
        for line in output.splitlines():
            kind, _, value = line.split(",", 2)[-1].partition(",")
            if kind == "box-name":
                name = value
            elif kind == "box-provider":
                provider = value
            elif kind == "box-version" and name == box and provider == "libvirt":
                versions.append(value)
        return versions

    def add(self) -> None:
        """Add the box to Vagrant."""
        need(("vagrant",))
        if not self.file.is_file():
            raise LabError("there is no box yet", "sudo scripts/box build")
        versions = self.versions(self.name)
        other_versions = [version for version in versions if version != VERSION]
        if other_versions:
            raise LabError(
                f"Vagrant has a {self.name} of its own (version {other_versions[-1]})",
                f"{BOX_VARIABLE}=NAME gives this one another name",
            )
        marks = self.marks()
        if VERSION in versions:
            if self.name not in marks:
                raise LabError(
                    f"Vagrant has a {self.name} that scripts/box did not add",
                    f"{BOX_VARIABLE}=NAME gives this one another name",
                )
            if marks[self.name] == self.file.name:
                say(f"already added: {self.name}")
                return
        process = box_try.vagrant(
            ["box", "add", "--force", "--provider", "libvirt", "--name", self.name, str(self.file)], NOWHERE
        )
        if process.returncode:
            raise LabError("vagrant box add failed")
        self.mark.write_text(json.dumps(marks | {self.name: self.file.name}))

    def attempt(self, commands: list[str], console: Path | None = None) -> int:
        """Start the box and run pytracer in it. Returns the exit status of what failed first."""
        need_root("try")
        need(TRYING if self.file.is_file() else (*BUILDING, *TRYING))
        self.build()
        self.add()
        return box_try.attempt(ROOT, self.folder, commands, console)

    def clean(self) -> None:
        """Remove what build and add made."""
        for name in self.marks() if which("vagrant") else ():
            if VERSION in self.versions(name):
                selection = ["--force", "--provider", "libvirt", "--box-version", VERSION]
                box_try.vagrant(["box", "remove", *selection, name], NOWHERE)
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.exists():
            raise LabError(f"{self.folder} could not be removed", "sudo scripts/box clean")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/box", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("build", "add", "try", "clean"))
    parser.add_argument(
        "commands", nargs="*", metavar="COMMAND", help="what try runs instead, each by a shell"
    )
    parser.add_argument(
        "--console", type=Path, metavar="FILE", help="try keeps the machine's whole console here"
    )
    options = parser.parse_args(arguments)
    action = options.action
    if (options.commands or options.console) and action != "try":
        parser.error(f"{action} takes no commands and keeps no console")
    raise_on_signals()
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # as which() looks
    try:
        box = Box()
        if action == "try":
            return box.attempt(options.commands, options.console)
        {"build": box.build, "add": box.add, "clean": box.clean}[action]()
        return 0
    except LabError as error:
        say(f"error: {error}" + (f" ({error.hint})" if error.hint else ""))
    except (OSError, subprocess.SubprocessError) as error:
        say(f"error: {error}")
    except SignalReceivedError as received:
        say(f"ended by signal {received.number}")
        return 128 + received.number
    return 1
