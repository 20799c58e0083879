"""Make the initramfs: busybox, two scripts, the drivers for the real root, and the job."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from lab.host import which
from lab.kernel_image import KernelImage
from lab.suites import UserSpace

GUEST = Path(__file__).parent / "guest"
HOST = "/run/lab/host"
"""The mount point of this machine's files in a guest with a user space of its own."""
FOLDERS = ("bin", "dev", "proc", "sys", "job", "job/modules")


@dataclass(frozen=True)
class Job:
    """The command to run in the VM."""

    command: tuple[str, ...]
    folder: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    writable: str = ""
    """The one folder of the host that can be written, at the same path."""
    hostname: str = "lab"
    user_space: UserSpace | None = None
    """Instead of this machine's."""


def command_script(job: Job) -> str:
    """Write the command as a shell script for the guest's own /bin/sh, with every word quoted."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in job.environment.items()]
    lines += [f"cd {shlex.quote(job.folder)} || exit 125"]
    # "exec": the command gets the shell's place, and its status needs no passing on.
    lines += [f"exec {shlex.join(job.command)}"]
    return "\n".join(lines) + "\n"


def settings(job: Job, image: KernelImage, file_system: str, mark: str) -> str:
    """Return the settings of the guest's scripts, as shell variables."""
    space = job.user_space
    mount_point = HOST if space else ""
    values = {
        "FS": file_system,
        "RW": job.writable,
        "MODULES": f"{mount_point}{image.modules}" if image.modules else "",
        "TREE": f"{mount_point}{image.tree.resolve()}" if image.tree else "",
        "NAME": job.hostname,
        "MARK": mark,
        "ROOT": str(space.root) if space else "",
        "CHECKOUT": str(space.checkout) if space else "",
        "ENVIRONMENT": str(space.environment) if space else "",
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def entry(name: str, mode: int, content: bytes = b"", number: int = 0) -> bytes:
    """Write one file of a cpio archive in the "newc" format that Linux unpacks."""
    encoded = name.encode() + b"\0"
    numbers = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % value for value in numbers)
    start = header + encoded
    return start + bytes(-len(start) % 4) + content + bytes(-len(content) % 4)


def build(job: Job, image: KernelImage, file_system: str, mark: str) -> bytes:
    """Build the whole archive."""
    busybox = Path(which("busybox") or "/bin/busybox")
    files: list[tuple[str, int, bytes]] = [(folder, 0o040755, b"") for folder in FOLDERS]
    files += [
        ("bin/busybox", 0o100755, busybox.read_bytes()),
        ("init", 0o100755, (GUEST / "init.sh").read_bytes()),
        ("job/run.sh", 0o100755, (GUEST / "run.sh").read_bytes()),
        ("job/settings", 0o100644, settings(job, image, file_system, mark).encode()),
        ("job/command", 0o100644, command_script(job).encode("utf-8", "surrogateescape")),
    ]
    for index, (name, content) in enumerate(image.early_modules(file_system)):
        files.append((f"job/modules/{index:03}-{name}.ko", 0o100644, content))
    archive = b"".join(entry(name, mode, content, n + 1) for n, (name, mode, content) in enumerate(files))
    return archive + entry("TRAILER!!!", 0)
