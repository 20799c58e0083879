"""Make a Debian file tree: debootstrap, the packages of scripts/setup, Python wheels for its interpreter."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from lab.apt import Mirror
from lab.errors import LabError

# Mounts and processes that a step leaves behind end with these.
ASIDE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--")
OLDEST = (3, 10)
"""The oldest Python that scripts/setup accepts."""
GLIBC = range(31, 16, -1)
"""2.N for the manylinux tags: from the oldest suite's glibc down to the oldest that wheels are made for."""
LIMIT = 1800
"""Seconds for one step."""


def wanted(checkout: Path, level: str = "run") -> list[str]:
    """Return the packages that scripts/setup would install on Debian, for `run` or for `dev`."""
    script = (
        'source "$1"; distribution; [[ $2 == run ]] || wanted+=("${dev_wanted[@]}"); '
        'printf "%s\\n" "$manager" "${wanted[@]}" "${python_wanted[@]}"'
    )
    answer = subprocess.run(
        ["bash", "-c", script, "lab", str(checkout / "scripts/setup"), level],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    manager, *packages = answer.stdout.split()
    if manager != "apt-get":
        raise LabError(
            "Debian's file trees are made on Debian and its kin",
            "scripts/lab KERNEL runs any kernel with this machine's user space",
        )
    return packages


def requirements(checkout: Path, level: str = "run") -> list[str]:
    """Return the requirements that pip installs with the checkout, for `run` or for `dev`."""
    text = (checkout / "pyproject.toml").read_text()
    lines: list[str] = []
    for name in ("requires", "dependencies", *(["dev"] if level == "dev" else [])):
        match = re.search(rf"^{name} = \[(.*?)\]", text, re.M | re.S)
        lines += re.findall(r'"([^"]+)"', match[1]) if match else []
    return lines


class DebianTree:
    """A suite's file tree that is being made."""

    def __init__(self, root: Path, suite: str, mirror: Mirror, checkout: Path, log: Path) -> None:
        self.root = root
        self.suite = suite
        self.mirror = mirror
        self.checkout = checkout
        self.log = log

    def run(self, *command: str, name: str = "") -> None:
        """Run a step. Raises LabError with its last words if it fails; `name` is its name in messages."""
        name = name or next(word for word in command if word not in ASIDE)
        try:
            with self.log.open("wb") as log:
                process = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False,
                    timeout=LIMIT,
                )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise LabError(f"{name} did not end within {LIMIT} s", "is the network up?") from None
        if process.returncode:
            lines = self.log.read_text(errors="replace").strip().splitlines() or ["no reason given"]
            telling = [line for line in lines if re.match(r"(pytracer: )?(E|W|ERROR|error)\b", line)] or lines
            raise LabError(f"{name} failed: {telling[-1]}", "is the network up?")

    def inside(self, *command: str) -> None:
        """Run a step in the tree."""
        self.run(*ASIDE, "chroot", str(self.root), *command)

    def debootstrap(self, packages: list[str], archives: Path) -> None:
        """Install Debian with these packages; downloads are kept in `archives` for the next time."""
        keyring = [f"--keyring={self.mirror.keyring}"] if self.mirror.keyring else []
        self.run(
            *ASIDE, "debootstrap", "--variant=minbase", *keyring, f"--cache-dir={archives}",
            f"--include={','.join(packages)}", self.suite, str(self.root), self.mirror.main,
        )  # fmt: skip
        for folder in ("var/cache/apt/archives", "var/lib/apt/lists"):
            for path in (self.root / folder).glob("*"):
                if path.is_file():
                    path.unlink()

    def python(self) -> str:
        """Return the version of the tree's Python."""
        target = (self.root / "usr/bin/python3").readlink().name
        return target.removeprefix("python")

    def pip(self) -> str:
        """Find an interpreter of this machine that has pip."""
        for python in (str(self.checkout / ".venv/bin/python"), sys.executable):
            if Path(python).is_file():
                command = [python, "-I", "-m", "pip", "--version"]
                answer = subprocess.run(command, capture_output=True, check=False)
                if answer.returncode == 0:
                    return python
        raise LabError("no pip to fetch wheels with", "scripts/setup, or apt-get install python3-pip")

    def fetch_wheels(self, folder: Path, level: str = "run") -> None:
        """Download wheels for the tree's Python, by this machine's pip as it is configured."""
        version = self.python()
        if tuple(map(int, version.split("."))) < OLDEST:
            raise LabError(
                f"Debian {self.suite} has Python {version}, pytracer needs {OLDEST[0]}.{OLDEST[1]}",
                "scripts/lab runs this kernel with this machine's user space",
            )
        platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in GLIBC]
        self.run(
            self.pip(), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet",
            f"--dest={folder}", "--only-binary=:all:", "--implementation=cp",
            f"--python-version={version}", f"--abi=cp{version.replace('.', '')}", "--abi=abi3", "--abi=none",
            *platforms, "--platform=manylinux2014_x86_64", *requirements(self.checkout, level),
        )  # fmt: skip
