"""Copy out of a kernel of the lab what a compiler outside of it needs to compile for it.

A kernel is booted for that once, after it was fetched; the copies are kept in its tree.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError, say
from lab.fetch import Fetched, cached, fetch
from lab.kernels import Kernel
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
cp /sys/kernel/btf/vmlinux btf
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
    """One kernel's copies, and its ``uname``."""

    folder: Path
    release: str
    version: str

    def read(self, name: str) -> bytes:
        """Return one of COPIES."""
        return (self.folder / name).read_bytes()


def events() -> list[str]:
    """Return the trace events that pytracer's C names, as category/event."""
    texts = (path.read_text() for path in (ROOT / "probes_c").rglob("*.[ch]"))
    return sorted({"/".join(event) for text in texts for event in trace_events(text)})


def of(kernel: Kernel) -> Facts:
    """Return a kernel's facts; boot it for them if they, or events, are not there. Raises LabError."""
    fetched = cached(kernel.name) or fetch(kernel)
    folder = fetched.folder / "facts"
    if not folder.is_dir() or not {*events()} <= {*(folder / "asked").read_text().split()}:
        _boot(kernel, fetched, folder)
    return Facts(folder, *((folder / name).read_text().strip() for name in ("release", "version")))


def _boot(kernel: Kernel, fetched: Fetched, folder: Path) -> None:
    say(f"{kernel.name}: is booted once for its types ({fetched.release})")
    new = Path(tempfile.mkdtemp(prefix="facts-", dir=fetched.folder))
    try:
        lab = [sys.executable, str(ROOT / "scripts/lab"), "--timeout", str(LIMIT), "--rw", str(new)]
        process = subprocess.run(
            [*lab, kernel.name, "--", "sh", "-c", SCRIPT, "facts", str(new), *events()],
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
