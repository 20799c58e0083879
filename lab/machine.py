"""One virtual machine: QEMU, the daemons that share folders with it, and the pipes its output comes by."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from lab.errors import LabError
from lab.host import QEMU, Accelerator, virtiofsd, which
from lab.initramfs import Job, build
from lab.kernel_image import KernelImage

CONFINE = Path(__file__).parent / "confine.py"
CHANNELS = ("console", "out", "err", "control")
# No "quiet": the level keeps warnings on the console. An oops ends the run: what follows one means nothing.
APPEND = "console=ttyS0 loglevel=5 panic=-1 oops=panic random.trust_cpu=on net.ifnames=0"
# An emulated processor leaks nothing that these would keep in, and they cost it much.
EMULATED = "mitigations=off"


KVM_FAILED = "KVM internal error"
"""The words of QEMU for an instruction that KVM cannot run; the VM then stands still."""


@dataclass(frozen=True)
class Shape:
    """The VM's resources."""

    accelerator: Accelerator
    processors: int = 2
    memory: int = 3072
    file_system: str = "virtiofs"
    append: str = ""
    nodes: int = 1
    """The number of memory nodes, each with its part of the memory and of the processors."""


def memory_nodes(shape: Shape) -> list[str]:
    """Return QEMU's arguments for the memory. For virtiofs it must be shared with the daemons."""
    shared = shape.file_system == "virtiofs"
    if shape.nodes == 1 and not shared:
        return []
    kind, options = ("memfd", ",share=on") if shared else ("ram", "")
    line = []
    for node in range(shape.nodes):
        size = shape.memory // shape.nodes
        line += ["-object", f"memory-backend-{kind},id=memory{node},size={size}M{options}"]
        cpus = "".join(f",cpus={cpu}" for cpu in range(node, shape.processors, shape.nodes))
        line += ["-numa", f"node,nodeid={node},memdev=memory{node}{cpus}"]
    return line


def command_line(
    image: KernelImage, shape: Shape, writable: bool, folder: Path, pipes: dict[str, int]
) -> list[str]:
    """Return QEMU's arguments."""
    emulated = (EMULATED, image.append) if shape.accelerator.name == "tcg" else ()
    append = " ".join(filter(None, (APPEND, *emulated, shape.append)))
    line = [which(QEMU) or QEMU, "-M", "pc", *shape.accelerator.options]
    line += [
        "-smp",
        str(shape.processors),
        "-m",
        str(shape.memory // shape.nodes * shape.nodes),
        "-nodefaults",
        "-no-user-config",
    ]
    line += ["-display", "none", "-no-reboot", "-kernel", str(image.file), "-append", append]
    line += [
        "-initrd",
        str(folder / "initramfs"),
        "-device",
        "virtio-rng-pci",
        "-device",
        "virtio-serial-pci",
    ]
    for number, (name, pipe) in enumerate(pipes.items()):
        line += [
            "-add-fd",
            f"fd={pipe},set={number}",
            "-chardev",
            f"file,id={name},append=on,path=/dev/fdset/{number}",
        ]
        line += (
            ["-serial", f"chardev:{name}"]
            if name == "console"
            else ["-device", f"virtserialport,chardev={name},name=lab.{name}"]
        )
    shares = {"hostroot": "/"} | ({"labrw": ""} if writable else {})
    line += memory_nodes(shape)
    if shape.file_system == "virtiofs":
        for tag in shares:
            line += ["-chardev", f"socket,id={tag},path={folder / tag}"]
            line += ["-device", f"vhost-user-fs-pci,queue-size=1024,chardev={tag},tag={tag}"]
    return line


def share_9p(folder: str, tag: str, read_only: bool) -> list[str]:
    """Return QEMU's arguments for a folder by 9p."""
    if "," in folder:
        raise LabError(f"9p cannot share {folder}: it has a comma in its name")
    options = f"local,path={folder},mount_tag={tag},security_model=none,multidevs=remap"
    return ["-virtfs", options + (",readonly=on" if read_only else "")]


def virtiofsd_command(program: str, folder: str, descriptor: int) -> list[str]:
    """Return the daemon's arguments: QEMU's own, or those of its successor."""
    if program.endswith("qemu/virtiofsd"):
        options = f"source={folder},cache=always,sandbox=chroot,no_posix_lock,log_level=warn"
        return [program, f"--fd={descriptor}", "-o", options]
    return [program, f"--fd={descriptor}", "--shared-dir", folder, "--cache=always", "--sandbox=chroot"]


class Machine:
    """Runs as long as the block; afterwards no process, socket or file of it is left."""

    def __init__(self, image: KernelImage, shape: Shape, job: Job, mark: str) -> None:
        self.image, self.shape, self.job, self.mark = image, shape, job, mark
        self.pipes: dict[str, int] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._folder: Path | None = None

    def __enter__(self) -> Machine:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        self._folder = folder = Path(tempfile.mkdtemp(prefix="pytracer-lab-"))
        (folder / "initramfs").write_bytes(build(self.job, self.image, self.shape.file_system, self.mark))
        writable = self.job.writable
        extra: list[str] = []
        if self.shape.file_system == "virtiofs":
            self._share("/", "hostroot", read_only=True)
            if writable:
                self._share(writable, "labrw", read_only=False)
        else:
            extra += share_9p("/", "hostroot", True)
            if writable:
                extra += share_9p(writable, "labrw", False)
        guest_ends: dict[str, int] = {}
        try:
            for name in CHANNELS:
                self.pipes[name], guest_ends[name] = os.pipe()
            line = command_line(self.image, self.shape, bool(writable), folder, guest_ends)
            self._spawn([*line, *extra], "qemu", "rw", tuple(guest_ends.values()))
        finally:
            for end in guest_ends.values():
                os.close(end)

    def _share(self, folder: str, tag: str, read_only: bool) -> None:
        """Start a daemon that listens on a socket; the socket exists before the daemon runs."""
        program = virtiofsd()
        if program is None:
            raise LabError("missing: virtiofsd", "scripts/lab setup")
        if "," in folder:
            raise LabError(f"virtiofs cannot share {folder}: it has a comma in its name")
        assert self._folder is not None
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self._folder / tag))
            listening.listen(1)
            number = listening.fileno()
            command = virtiofsd_command(program, folder, number)
            self._spawn(command, tag, "ro" if read_only else "rw", (number,))

    def _spawn(self, command: list[str], name: str, mode: str, descriptors: tuple[int, ...]) -> None:
        assert self._folder is not None
        with open(self._folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(CONFINE), str(os.getpid()), mode, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=descriptors,
                start_new_session=True,  # Ctrl-C is for the lab, which then ends the VM
            )
        self._processes.append(process)

    def complaints(self) -> str:
        """Return the messages of QEMU and the daemons, for when the VM was lost."""
        if self._folder is None:
            return ""
        texts = [path.read_text(errors="replace") for path in sorted(self._folder.glob("*.log"))]
        # Behind what KVM says, QEMU writes out all registers.
        lines = [line for text in texts for line in text.splitlines() if KVM_FAILED in line]
        return "\n".join([*lines, *(line for text in texts for line in text.splitlines()[-5:])])

    def stop(self) -> None:
        """End everything, QEMU first; may be called again."""
        for process in reversed(self._processes):
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()
        for pipe in self.pipes.values():
            os.close(pipe)
        self.pipes.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
