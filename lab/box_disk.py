"""Make a bootable disk and a box for libvirt from a file tree, by writing files, without loop devices."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

from lab.box_tree import GRUB_MODULES
from lab.errors import LabError

MODULES = ("biosdisk", "part_msdos", "ext2", "normal", "linux", "serial", "terminal", "configfile", "gzio")
SIZE = 8
"""GiB; the image holds only what is used."""
SECTOR = 512
FIRST = 2048
"""The sector the partition begins at; GRUB lives between the first one and this."""
BOOT_CODE = 440
"""Bytes of a disk's first sector that are code; the partition table is behind them."""

# KVM is only named where a VM was seen to run with it.
VAGRANTFILE = """\
Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |machine|
    machine.driver = "{driver}"
  end
end
"""


def run(*command: str, text: str = "") -> None:
    """Run a program with something on its standard input. Raises LabError with its last words if it fails."""
    process = subprocess.run(command, capture_output=True, text=True, check=False, input=text)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise LabError(f"{command[0]} failed: {last}")


def make(tree: Path, work_folder: Path, emulated: bool) -> None:
    """Write ``packed`` in the work folder."""
    raw, core, image = work_folder / "disk", work_folder / "core", work_folder / "box.img"
    with raw.open("wb") as disk:
        disk.truncate(SIZE << 30)
    run("sfdisk", "--quiet", str(raw), text=f"start={FIRST}, type=83, bootable\n")
    blocks = (SIZE << 20) - FIRST * SECTOR // 1024
    offset_option = f"offset={FIRST * SECTOR}"
    run(
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-L",
        "root",
        "-d",
        str(tree),
        "-E",
        offset_option,
        str(raw),
        f"{blocks}k",
    )

    run("grub-mkimage", "-O", "i386-pc", "-o", str(core), "-p", "(hd0,msdos1)/boot/grub", *MODULES)
    code = core.read_bytes()
    if len(code) > (FIRST - 1) * SECTOR:
        raise LabError("GRUB does not fit before the first partition")
    with raw.open("r+b") as disk:
        disk.write((GRUB_MODULES / "boot.img").read_bytes()[:BOOT_CODE])
        disk.seek(SECTOR)
        disk.write(code)

    run(
        "qemu-img",
        "convert",
        "-c",
        "-m",
        str(min(os.cpu_count() or 1, 16)),
        "-O",
        "qcow2",
        str(raw),
        str(image),
    )
    raw.unlink()
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": SIZE}
    (work_folder / "metadata.json").write_text(json.dumps(metadata) + "\n")
    (work_folder / "Vagrantfile").write_text(VAGRANTFILE.format(driver="qemu" if emulated else "kvm"))
    with tarfile.open(work_folder / "packed", "w") as packed:
        for name in ("metadata.json", "Vagrantfile", "box.img"):
            packed.add(work_folder / name, name)
