"""Configure and compile a kernel from source, and install it as a distribution's packages do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from lab import kconfig
from lab.console import last_lines
from lab.errors import LabError, say
from lab.host import which

# What a header package holds: parts of the source, and over them what was made in the folder of the build.
SOURCE_HEADERS = ("include", "arch/x86/include")
MADE_HEADERS = ("include/config", "include/generated", "arch/x86/include/generated")
KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR")


def unpack(package: Path, folder: Path) -> Path:
    """Unpack a linux-source package below a folder. Returns the folder of its Makefile."""
    _run(["dpkg-deb", "-x", str(package), str(folder / "deb")], package)
    for archive in (folder / "deb/usr/src").glob("linux-source-*.tar.xz"):
        _run(["tar", "-x", "-C", str(folder), "-f", str(archive)], package)
    shutil.rmtree(folder / "deb")
    makefiles = list(folder.glob("linux-source-*/Makefile"))
    if len(makefiles) != 1:
        raise LabError(f"{package.name} does not hold the source of one kernel")
    return makefiles[0].parent


def _run(command: list[str], package: Path) -> None:
    process = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if process.returncode:
        raise LabError(f"{package.name} could not be unpacked: {process.stderr.strip()}")


class Make:
    """Calls the kernel's makefile with targets, for one variant."""

    def __init__(self, name: str, source: Path, work: Path, log: Path) -> None:
        self.name, self.source, self.work, self.log = name, source, work, log
        work.mkdir()

    def __call__(self, *targets: str) -> None:
        """Make targets on all processors at low priority.

        Raises LabError after printing the log's last lines.
        """
        # Nothing of the user's environment may change what comes out, or who and where get into it.
        environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        environment |= {"LC_ALL": "C", "KBUILD_BUILD_USER": "lab", "KBUILD_BUILD_HOST": "pytracer"}
        # If the lab is killed, make gets the signal that it passes on to all it has started.
        command = [
            "setpriv",
            "--pdeathsig",
            "TERM",
            "nice",
            "make",
            "-C",
            str(self.source),
            f"O={self.work}",
            "ARCH=x86_64",
        ]
        command += [f"LOCALVERSION=-{self.name}", f"-j{len(os.sched_getaffinity(0))}", *targets]
        with self.log.open("ab") as log:
            # A session of its own, so that all of it can be ended.
            running = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                status = running.wait()
            except BaseException:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()
                raise
        if status:
            say(f"the log's last lines:\n{last_lines(self.log.read_text(errors='replace'))}")
            raise LabError(f"{self.name}: make {' '.join(targets)} failed", f"the log is {self.log}")


def configure(make: Make, options: dict[str, str]) -> None:
    """Make the .config: the requested options, and "n" for all others. Raises LabError if it differs from the
    request."""
    fragment = make.work / "asked.config"
    fragment.write_text(kconfig.text_of(options))
    make(f"KCONFIG_ALLCONFIG={fragment}", "allnoconfig")
    # Options are dropped without a word where what they depend on is missing.
    if refused_options := kconfig.refused(options, (make.work / ".config").read_text()):
        raise LabError(
            f"{make.name}: not to be had in this kernel: {', '.join(refused_options)}",
            "see what they depend on",
        )


def install(make: Make, tree: Path, headers: bool) -> str:
    """Copy the built kernel below ``tree``, with headers if requested. Returns its release."""
    work_folder = make.work
    release = (work_folder / "include/config/kernel.release").read_text().strip()
    modules = tree / "lib/modules" / release
    modules.mkdir(parents=True)
    (tree / "boot").mkdir()
    for source, name in (
        ("arch/x86/boot/bzImage", "vmlinuz"),
        (".config", "config"),
        ("System.map", "System.map"),
    ):
        shutil.copyfile(work_folder / source, tree / "boot" / f"{name}-{release}")
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        if (work_folder / name).is_file():
            shutil.copyfile(work_folder / name, modules / name)
        else:
            (modules / name).touch()
    subprocess.run([which("depmod") or "depmod", "-b", tree, release], check=True, stdin=subprocess.DEVNULL)
    if headers:
        package = tree / "usr/src" / f"linux-headers-{release}"
        for top, parts in ((make.source, SOURCE_HEADERS), (work_folder, MADE_HEADERS)):
            for part in parts:
                shutil.copytree(top / part, package / part, dirs_exist_ok=True)
        (modules / "build").symlink_to(f"/usr/src/{package.name}")
    return release
