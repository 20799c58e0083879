"""Put packages of the other kernels into the box, so that scripts/kernel needs no network."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from lab.apt import Apt, Mirror, sources_list, stanzas
from lab.errors import LabError
from lab.fetch import IMAGE
from lab.kernels import KERNELS, Kernel


def ask(checkout: Path, words: str, *arguments: str) -> str:
    """Run a line of shell with the functions of scripts/kernel, and return its output."""
    command = [
        "bash",
        "-c",
        f'source "$1"; shift; {words}',
        "box",
        str(checkout / "scripts/kernel"),
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def numbered(package_text: str) -> str:
    """Return the package of one kernel that a package without a number stands for, from `apt-cache show`."""
    for stanza in stanzas(package_text):
        dependency = re.search(r"linux-image-[0-9][^ ,(]*", stanza.get("Depends", ""))
        if dependency:
            return dependency[0]
    raise LabError(f"{IMAGE} depends on no kernel")


def fetch(tree: Path, own_kernel: Kernel, mirror: Mirror, checkout: Path, work_folder: Path) -> None:
    """Fetch what each other kernel adds to the tree, as apt in the box would choose it."""
    folder = tree / ask(checkout, 'printf %s "$brought"').lstrip("/")
    for kernel in KERNELS:
        if kernel.suite == own_kernel.suite:
            continue
        apt = Apt(work_folder / kernel.suite, own_kernel, mirror)
        source_list = apt.root / "only.list"
        source_list.write_text(sources_list(kernel, mirror))
        with (apt.root / "sources.list").open("a") as sources:
            sources.write(source_list.read_text())
        security = f"{kernel.suite}-security" if kernel.security else "-"
        preferences = apt.root / "preferences"
        preferences.write_text(ask(checkout, 'pin "$@"', kernel.suite, security, "mirror"))
        with (apt.root / "apt.conf").open("a") as settings:
            settings.write(f'Dir::Etc::preferences "{preferences}";\n')
        shutil.copyfile(tree / "var/lib/dpkg/status", apt.root / "status")
        apt.update()
        apt_options = (
            "Dir::State::status=/dev/null",
            f"Dir::Etc::sourcelist={source_list}",
            "Dir::Etc::preferences=/dev/null",
        )
        options = [word for option in apt_options for word in ("-o", option)]
        image = numbered(apt.run("apt-cache", "show", *options, "--no-all-versions", IMAGE))
        target = folder / kernel.name
        target.mkdir(parents=True)
        apt.run(
            "apt-get", "install", "--yes", "--download-only", "--no-install-recommends",
            "-o", f"Dir::Cache::archives={target}", image,
        )  # fmt: skip
        (target / "lock").unlink(missing_ok=True)
        shutil.rmtree(target / "partial", ignore_errors=True)
