"""Download Debian's packages by apt with a root of its own, without changes to the machine's apt.

The mirror, its keyring and whatever the machine needs to reach it come from the machine's own
configuration; signatures are checked by apt as ever.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.host import which
from lab.kernels import Kernel

KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
SIGNED_BY = re.compile(r"signed-by\s*[:=]\s*(/[^\s\]]+)", re.I)
FOLLOWED = re.compile(r"linux-(image|headers|binary|modules|base|kbuild)-\d")
MIRROR_VARIABLE = "PYTRACER_LAB_MIRROR"
# Of the machine's configuration all but where things are and what is run afterwards.
LEFT_OUT = re.compile(r"Dir\b|APT::Update\b|DPkg\b|APT::Default-Release\b|APT::Get\b|Acquire::IndexTargets\b")


@dataclass(frozen=True)
class Mirror:
    """The Debian mirrors that this machine's apt uses."""

    main: str
    security: str
    keyring: str


def stanzas(text: str) -> list[dict[str, str]]:
    """Parse control data to dictionaries; folded lines are joined."""
    result = []
    for stanza in re.split(r"\n\s*\n", text.strip()):
        pairs = (line.partition(":") for line in re.sub(r"\n[ \t]+", " ", stanza).splitlines() if ":" in line)
        result.append({name.strip(): value.strip() for name, _, value in pairs})
    return [stanza for stanza in result if stanza]


def read_mirror(targets: str) -> Mirror | None:
    """Parse the mirror from what `apt-get indextargets` prints; Label is empty before the first update."""
    main = security = sources = ""
    for target in stanzas(targets):
        uri, release = target.get("Repo-URI", ""), target.get("Release", "")
        origin, label = target.get("Origin", ""), target.get("Label", "")
        is_security = label == "Debian-Security" or release.endswith(("-security", "/updates"))
        if not uri or (origin and origin != "Debian"):
            continue
        if not origin and not re.search(r"/debian(-security)?/?$", uri):
            continue
        if is_security:
            security = security or uri
        else:
            main, sources = main or uri, sources or target.get("Sourcesentry", "")
    if not main:
        return None
    return Mirror(main, security or re.sub(r"/debian/?$", "/debian-security/", main), _keyring(sources))


def _keyring(entry: str) -> str:
    """Return the keyring that signs a source (FILE:LINE), else Debian's own, else whatever apt trusts."""
    try:
        text = Path(entry.rpartition(":")[0]).read_text()
    except OSError:
        text = ""
    keyrings = [path for path in SIGNED_BY.findall(text) if Path(path).is_file()]
    return next(iter([*keyrings, *(str(path) for path in KEYRINGS if path.is_file())]), "")


def find_mirror() -> Mirror:
    """Return the mirror to use: the one named in the environment, else the machine's own."""
    if not (which("apt-get") and which("dpkg-deb")):
        raise LabError(
            "fetching needs apt-get and dpkg-deb", "bring a kernel: --kernel-image FILE --modules DIR"
        )
    named_mirror = os.environ.get(MIRROR_VARIABLE)
    if named_mirror:
        keyring = next((str(path) for path in KEYRINGS if path.is_file()), "")
        return Mirror(named_mirror, re.sub(r"/debian/?$", "/debian-security/", named_mirror), keyring)
    output = subprocess.run(
        ["apt-get", "indextargets", "Created-By: Packages"], capture_output=True, text=True, check=False
    )
    mirror = read_mirror(output.stdout)
    if mirror is None:
        raise LabError("this machine's apt has no Debian mirror", f"{MIRROR_VARIABLE}=URI names one")
    return mirror


def sources_list(kernel: Kernel, mirror: Mirror) -> str:
    """Return the sources for one kernel."""
    options = "[arch=amd64" + (f" signed-by={mirror.keyring}" if mirror.keyring else "") + "]"
    lines = [f"deb {options} {mirror.main} {kernel.suite} main"]
    if kernel.security:
        lines.append(f"deb {options} {mirror.security} {kernel.suite}-security main")
    return "\n".join(lines) + "\n"


class Apt:
    """The apt of one suite, with lists, cache and configuration in one folder."""

    def __init__(self, root: Path, kernel: Kernel, mirror: Mirror) -> None:
        self.root = root
        for folder in ("lists/partial", "cache/archives/partial", "state", "parts"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "sources.list").write_text(sources_list(kernel, mirror))
        (root / "status").touch()
        dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
        lines = [line for line in dump.splitlines() if not LEFT_OUT.match(line)]
        own_settings = {
            "Dir::Etc::sourcelist": root / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::parts": root / "parts",
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State": root / "state",
            "Dir::State::lists": root / "lists",
            "Dir::State::status": root / "status",
            "Dir::Cache": root / "cache",
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",  # apt's own user need not be able to look into our folder
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        lines += [f'{name} "{value}";' for name, value in own_settings.items()]
        (root / "apt.conf").write_text("\n".join(lines) + "\n")

    def run(self, *command: str, folder: Path | None = None) -> str:
        """Run one of apt's programs. Returns its output. Raises LabError with its last words."""
        environment = os.environ | {"APT_CONFIG": str(self.root / "apt.conf"), "LC_ALL": "C.UTF-8"}
        process = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=folder or self.root,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        errors = [
            line for line in process.stderr.splitlines() if line.startswith(("E:", "Err:", "W: Failed"))
        ]
        if process.returncode or (command[1] == "update" and errors):
            last = errors[-1] if errors else (process.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise LabError(f"{' '.join(command[:2])} failed: {last}", "is the network up?")
        return process.stdout

    def update(self) -> None:
        """Read the suite's lists again."""
        self.run("apt-get", "update", "-q")

    def show(self, package: str) -> dict[str, str]:
        """Return the newest version of a package in the suite."""
        packages = stanzas(self.run("apt-cache", "show", "--no-all-versions", package))
        if not packages:
            raise LabError(f"no package {package} in this suite")
        return packages[0]

    def closure(self, *starts: str) -> dict[str, str]:
        """Return the packages of an image and its headers with their versions: only the kernel's own
        packages."""
        versions: dict[str, str] = {}
        pending = list(starts)
        while pending:
            name = pending.pop(0)
            if name in versions:
                continue
            stanza = self.show(name)
            versions[name] = stanza["Version"]
            dependencies = f"{stanza.get('Pre-Depends', '')},{stanza.get('Depends', '')}"
            # Of alternatives the first: the signed one.
            firsts = [clause.split("|")[0].split("(")[0].strip() for clause in dependencies.split(",")]
            pending += [first.split(":")[0] for first in firsts if FOLLOWED.match(first)]
        return {name: version for name, version in versions.items() if name not in starts}

    def download(self, versions: dict[str, str], folder: Path) -> list[Path]:
        """Fetch packages into a folder; apt checks them against the signed lists."""
        self.run(
            "apt-get", "download", *(f"{name}={version}" for name, version in versions.items()), folder=folder
        )
        return sorted(folder.glob("*.deb"))
