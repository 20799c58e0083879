"""Make the box's file tree:

Debian by debootstrap, the packages of scripts/setup, the vagrant user, wheels.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from lab import debian
from lab.apt import Mirror
from lab.debian import requirements
from lab.errors import LabError
from lab.kernels import KERNELS, Kernel

__all__ = ["BoxTree", "packages", "requirements"]

BASE = (
    "linux-image-cloud-amd64",
    "grub2-common",  # its boot menu is made when another kernel is installed
    "systemd-sysv",
    "systemd-resolved",
    "dbus",
    "udev",
    "openssh-server",
    "sudo",
    "rsync",
    "iproute2",
)
WITHIN = {"bullseye": ("systemd-resolved",)}  # what is no package of its own there
GRUB_MODULES = Path("/usr/lib/grub/i386-pc")
WHEELS = "usr/local/share/pytracer-wheels"

FILES = {
    "etc/hostname": "pytracer\n",
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 pytracer\n::1 localhost ip6-localhost ip6-loopback\n",
    "etc/fstab": "/dev/vda1 / ext4 errors=remount-ro 0 1\n",
    "etc/machine-id": "",
    "etc/sudoers.d/vagrant": "vagrant ALL=(ALL) NOPASSWD: ALL\n",
    # libvirt's DHCP server knows machines by the address that Vagrant looks for.
    "etc/systemd/network/80-ethernet.network": (
        "[Match]\nName=eth*\n\n[Network]\nDHCP=yes\n\n[DHCPv4]\nClientIdentifier=mac\n"
    ),
    "etc/default/grub": (
        'GRUB_DEFAULT=0\nGRUB_TIMEOUT=0\nGRUB_DISTRIBUTOR=Debian\nGRUB_TERMINAL="console serial"\n'
        'GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"\nGRUB_CMDLINE_LINUX="{options}"\n'
    ),
    "etc/apt/apt.conf.d/99no-timers": 'APT::Periodic::Enable "0";\n',
    "etc/pip.conf": (
        "# What pytracer needs is in this folder, so that no network is needed.\n"
        "# PIP_NO_INDEX=0 in the environment makes pip ask its index again.\n"
        f"[global]\nno-index = true\nfind-links = /{WHEELS}\n"
    ),
}
# Until update-grub is run in the guest.
GRUB = """\
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
linux /vmlinuz root=/dev/vda1 ro {options}
initrd /initrd.img
boot
"""
OPTIONS = ("net.ifnames=0", "console=tty0", "console=ttyS0,115200")


def packages(checkout: Path, kernel: Kernel) -> list[str]:
    """Return the system's own packages, and those that scripts/setup installs."""
    left_out = WITHIN.get(kernel.suite, ())
    return [name for name in (*BASE, *debian.wanted(checkout)) if name not in left_out]


class BoxTree(debian.DebianTree):
    """A file tree that becomes the box's disk."""

    def __init__(self, root: Path, kernel: Kernel, mirror: Mirror, checkout: Path, log: Path) -> None:
        super().__init__(root, kernel.suite, mirror, checkout, log)
        self.kernel = kernel

    def install(self, archives: Path) -> None:
        """Install Debian with debootstrap; its packages are kept for the next time."""
        self.debootstrap(packages(self.checkout, self.kernel), archives)

    def add_wheels(self) -> None:
        """Add the wheels that the guest's pip will need."""
        self.fetch_wheels(self.root / WHEELS)

    def configure(self, emulated: bool) -> None:
        """Configure the vagrant user, the network and the boot."""
        # The same for every kernel that may be booted.
        emulation = {kernel.append for kernel in KERNELS if kernel.append and emulated}
        options = " ".join((*OPTIONS, *sorted(emulation)))
        for name, text in FILES.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_text(text.replace("{options}", options))
        (self.root / "etc/sudoers.d/vagrant").chmod(0o440)
        resolver = self.root / "etc/resolv.conf"
        resolver.unlink(missing_ok=True)
        resolver.symlink_to("../run/systemd/resolve/stub-resolv.conf")

        self.inside("useradd", "--create-home", "--shell", "/bin/bash", "vagrant")
        keys = self.root / "home/vagrant/.ssh/authorized_keys"
        keys.parent.mkdir(mode=0o700)
        shutil.copyfile(public_key(), keys)
        keys.chmod(0o600)
        self.inside("chown", "-R", "vagrant:vagrant", "/home/vagrant/.ssh")

        self.inside("systemctl", "enable", "systemd-networkd", "systemd-resolved", "ssh")
        self.inside("systemctl", "mask", "systemd-networkd-wait-online.service")
        grub = self.root / "boot/grub/grub.cfg"
        grub.parent.mkdir(parents=True, exist_ok=True)
        grub.write_text(GRUB.replace("{options}", options))
        shutil.copytree(GRUB_MODULES, grub.parent / GRUB_MODULES.name)


def public_key() -> Path:
    """Return the insecure key that Vagrant first logs in with, from the distribution's own package."""
    output = subprocess.run(["dpkg-query", "-L", "vagrant"], capture_output=True, text=True, check=False)
    key_files = [Path(line) for line in output.stdout.splitlines() if line.endswith("/keys/vagrant.pub")]
    if not key_files or not key_files[0].is_file():
        raise LabError("vagrant's public key was not found", "apt-get install --reinstall vagrant")
    return key_files[0]
