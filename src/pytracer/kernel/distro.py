"""Find this distribution's package manager, to name packages in hints."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping

COMMANDS = {
    "apt-get": "apt-get install",
    "dnf": "dnf install",
    "zypper": "zypper install",
    "pacman": "pacman -S",
}
_LIKE = {
    "debian": "apt-get",
    "fedora": "dnf",
    "rhel": "dnf",
    "suse": "zypper",
    "opensuse": "zypper",
    "arch": "pacman",
}


def package_manager() -> str:
    """Return ``apt-get``, ``dnf``, ``zypper`` or ``pacman``; empty if it is none of these."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    for name in [release.get("ID", ""), *release.get("ID_LIKE", "").split()]:
        if name in _LIKE:
            return _LIKE[name]
    return next((name for name in COMMANDS if shutil.which(name)), "")


def install_command(packages: Mapping[str, str]) -> str:
    """Return the command that installs one of ``packages`` (package manager -> package) on this
    distribution."""
    manager = package_manager()
    if manager in packages:
        return f"sudo {COMMANDS[manager]} {packages[manager]}"
    names = ", ".join(sorted(set(packages.values())))
    return f"install the distribution's package ({names})"
