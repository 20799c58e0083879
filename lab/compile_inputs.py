"""Copy out of a kernel of the lab what a compiler outside of it needs to compile for it.

A kernel is booted for that once; the copies are kept in the lab's cache.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError, say
from lab.fetch import cached, fetch
from lab.host import cache_folder
from lab.kernels import Kernel, KernelByImage, TestedKernel
from pytracer.bpf.compile.headers.packaged import MODULES
from pytracer.bpf.compile.headers.words import trace_events

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 300  # seconds
COPIES = {"btf": "btf/vmlinux", "notes": "notes"}
"""Files below /sys/kernel, by the names of their copies."""
EVENTS = "events"
"""The folder of the format files of trace events, as tracefs has them."""
SCRIPT = r"""
set -e
cd "$1"
shift
[ ! -f /sys/kernel/btf/vmlinux ] || cp /sys/kernel/btf/vmlinux btf
cp /sys/kernel/notes notes
[ -d /sys/kernel/tracing/events ] || mount -t tracefs none /sys/kernel/tracing
mkdir events
for event; do
    [ ! -f "/sys/kernel/tracing/events/$event/format" ] || mkdir -p "events/$event"
    [ ! -d "events/$event" ] || cat "/sys/kernel/tracing/events/$event/format" >"events/$event/format"
done
printf '%s\n' "$@" >asked
uname -r >release
uname -v >version
"""


@dataclass(frozen=True)
class Facts:
    """One kernel's copies, its ``uname``, and its /lib/modules and /usr/src (None: the host's)."""

    folder: Path
    release: str
    version: str
    modules: Path = MODULES
    sources: Path | None = None


def events() -> list[str]:
    """Return the trace events that pytracer's C names, as category/event."""
    texts = (path.read_text() for path in (ROOT / "probes_c").rglob("*.[ch]"))
    return sorted({"/".join(event) for text in texts for event in trace_events(text)})


def of(kernel: TestedKernel) -> Facts:
    """Return a kernel's facts; boot it for them if they, or events, are not there. Raises LabError."""
    sources: Path | None
    if isinstance(kernel, Kernel):
        tree = (cached(kernel.name) or fetch(kernel)).folder
        folder, modules, sources = tree / "facts", tree / "lib/modules", tree / "usr/src"
    else:
        folder = _folder_of(kernel)
        modules, sources = Path(kernel.modules).resolve().parent if kernel.modules else MODULES, None
    if not folder.is_dir() or not {*events()} <= {*(folder / "asked").read_text().split()}:
        _boot(kernel, folder)
    release, version = ((folder / name).read_text().strip() for name in ("release", "version"))
    return Facts(folder, release, version, modules, sources)


def _folder_of(kernel: KernelByImage) -> Path:
    """Return the folder in the cache for the facts of an image, as long as it is not another one."""
    image = Path(kernel.file).resolve()
    try:
        state = image.stat()
    except OSError as error:
        raise LabError(f"{kernel.name}: cannot read {image}: {error.strerror}") from error
    words = f"{image}\0{state.st_size}\0{state.st_mtime_ns}"
    return cache_folder() / "images" / hashlib.sha256(words.encode()).hexdigest()[:16]


def _boot(kernel: TestedKernel, folder: Path) -> None:
    say(f"{kernel.name}: is booted once for its types")
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix="facts-", dir=folder.parent))
    try:
        lab = [sys.executable, str(ROOT / "scripts/lab"), "--timeout", str(LIMIT), "--rw", str(new)]
        process = subprocess.run(
            [*lab, *kernel.options, "--", "sh", "-c", SCRIPT, "facts", str(new), *events()],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise LabError(f"{kernel.name}: its types could not be had", process.stderr.strip()[-500:])
        if folder.is_dir():
            folder.rename(new / "old")
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
