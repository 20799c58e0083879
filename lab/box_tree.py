"""The box's file tree: Debian by debootstrap, what scripts/setup installs, the vagrant user, wheels."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from lab.apt import Mirror
from lab.errors import LabError
from lab.kernels import KERNELS, Kernel

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
# Mounts and processes that debootstrap leaves behind end with these.
ASIDE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--")
GRUB_MODULES = Path("/usr/lib/grub/i386-pc")
WHEELS = "usr/local/share/pytracer-wheels"
OLDEST = (3, 10)
"""The Python that scripts/setup asks for."""
GLIBC = range(31, 16, -1)
"""2.N for the manylinux tags: from the oldest suite's glibc down to the oldest that wheels are made for."""

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
    """The system's own, and what scripts/setup says that it installs."""
    script = 'source "$1"; distribution; printf "%s\\n" "$manager" "${wanted[@]}" "${python_wanted[@]}"'
    asked = subprocess.run(
        ["bash", "-c", script, "box", str(checkout / "scripts/setup")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    manager, *wanted = asked.stdout.split()
    if manager != "apt-get":
        raise LabError("boxes are built on Debian and its kin", "scripts/lab runs any kernel")
    left_out = WITHIN.get(kernel.suite, ())
    return [name for name in (*BASE, *wanted) if name not in left_out]


def requirements(checkout: Path) -> list[str]:
    """What pip will ask for when it installs the checkout."""
    text = (checkout / "pyproject.toml").read_text()
    found: list[str] = []
    for name in ("requires", "dependencies"):
        listed = re.search(rf"^{name} = \[(.*?)\]", text, re.M | re.S)
        found += re.findall(r'"([^"]+)"', listed[1]) if listed else []
    return found


class Tree:
    """A file tree that becomes the box's disk."""

    def __init__(self, root: Path, kernel: Kernel, mirror: Mirror, checkout: Path, log: Path) -> None:
        self.root = root
        self.kernel = kernel
        self.mirror = mirror
        self.checkout = checkout
        self.log = log

    def run(self, *command: str) -> None:
        """One step; if it fails, its last words."""
        with self.log.open("wb") as log:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode:
            lines = self.log.read_text(errors="replace").strip().splitlines() or ["no reason given"]
            telling = [line for line in lines if re.match(r"(E|W|ERROR|error)\b", line)] or lines
            program = next(word for word in command if word not in ASIDE)
            raise LabError(f"{program} failed: {telling[-1]}", "is the network up?")

    def inside(self, *command: str) -> None:
        """One step in the tree."""
        self.run(*ASIDE, "chroot", str(self.root), *command)

    def install(self, archives: Path) -> None:
        """Debian, with debootstrap; its packages are kept for the next time."""
        keyring = [f"--keyring={self.mirror.keyring}"] if self.mirror.keyring else []
        wanted = ",".join(packages(self.checkout, self.kernel))
        self.run(
            *ASIDE, "debootstrap", "--variant=minbase", *keyring, f"--cache-dir={archives}",
            f"--include={wanted}", self.kernel.suite, str(self.root), self.mirror.main,
        )  # fmt: skip

    def python(self) -> str:
        """The version of the tree's Python."""
        target = (self.root / "usr/bin/python3").readlink().name
        return target.removeprefix("python")

    def pip(self) -> str:
        """An interpreter of this machine that has pip."""
        for python in (str(self.checkout / ".venv/bin/python"), sys.executable):
            if Path(python).is_file():
                command = [python, "-I", "-m", "pip", "--version"]
                asked = subprocess.run(command, capture_output=True, check=False)
                if asked.returncode == 0:
                    return python
        raise LabError("no pip to fetch wheels with", "scripts/setup, or apt-get install python3-pip")

    def add_wheels(self) -> None:
        """Wheels for the tree's Python, fetched by this machine's pip as it is configured."""
        version = self.python()
        if tuple(map(int, version.split("."))) < OLDEST:
            raise LabError(
                f"Debian {self.kernel.suite} has Python {version}, pytracer needs {OLDEST[0]}.{OLDEST[1]}",
                "scripts/lab runs this kernel with this machine's user space",
            )
        platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in GLIBC]
        self.run(
            self.pip(), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet",
            f"--dest={self.root / WHEELS}", "--only-binary=:all:", "--implementation=cp",
            f"--python-version={version}", f"--abi=cp{version.replace('.', '')}", "--abi=abi3", "--abi=none",
            *platforms, "--platform=manylinux2014_x86_64", *requirements(self.checkout),
        )  # fmt: skip

    def configure(self, emulated: bool) -> None:
        """The vagrant user, the network, how it boots."""
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
        for folder in ("var/cache/apt/archives", "var/lib/apt/lists"):
            for path in (self.root / folder).glob("*"):
                if path.is_file():
                    path.unlink()


def public_key() -> Path:
    """The insecure key that Vagrant first logs in with, from the distribution's own package."""
    listed = subprocess.run(["dpkg-query", "-L", "vagrant"], capture_output=True, text=True, check=False)
    found = [Path(line) for line in listed.stdout.splitlines() if line.endswith("/keys/vagrant.pub")]
    if not found or not found[0].is_file():
        raise LabError("vagrant's public key was not found", "apt-get install --reinstall vagrant")
    return found[0]
