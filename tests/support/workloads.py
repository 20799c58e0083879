"""The C programs of tests/workloads, compiled once a run."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "workloads"
PLUGIN = ["-O0", "-fno-omit-frame-pointer", "-shared", "-fPIC"]
FLAGS = {
    "accept32": [],
    "alpha": PLUGIN,
    "asked": [],
    "beta": PLUGIN,
    "calls": ["-nostdlib", "-static", "-ffreestanding", "-fno-stack-protector"],
    "execs": [],
    "faults": ["-O0", "-fno-omit-frame-pointer", "-pthread"],
    "leader": ["-pthread"],
    "marks": ["-pthread"],
    "plugins": ["-O0", "-fno-omit-frame-pointer", "-pthread", "-ldl"],
    "opens": ["-nostdlib", "-static", "-ffreestanding", "-fno-stack-protector", "-no-pie"],
    "serials": ["-pthread"],
    "spin32": [
        "-O0",
        "-m32",
        "-nostdlib",
        "-static",
        "-ffreestanding",
        "-fno-pie",
        "-no-pie",
        "-fno-stack-protector",
    ],
    "spin": ["-O0", "-fno-omit-frame-pointer"],
    "stacked": ["-O0", "-fno-omit-frame-pointer"],
    "timed": ["-pthread"],
    "typed": ["-g"],
    "widths": ["-g"],
}


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="pytracer-workloads-"))
    folder.chmod(0o755)  # workloads run as other users, too
    atexit.register(shutil.rmtree, folder)
    return folder


@functools.cache
def workload(name: str) -> str:
    """The path of the compiled program."""
    path = _folder() / name
    subprocess.run(["gcc", "-O1", "-o", path, SOURCES / f"{name}.c", *FLAGS[name]], check=True)
    return str(path)
