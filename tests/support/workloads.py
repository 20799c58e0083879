"""Compile the programs of tests/workloads, once a run."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "workloads"
STATIC = ["-nostdlib", "-static", "-ffreestanding", "-fno-stack-protector"]
BITS_32 = [*STATIC, "-O0", "-m32", "-fno-pie", "-no-pie"]
PLUGIN = ["-O0", "-fno-omit-frame-pointer", "-shared", "-fPIC"]
FLAGS = {
    "accept32": [],
    "bind32": [],
    "alpha": PLUGIN,
    "argcalls": [],
    "beta": PLUGIN,
    "calls": STATIC,
    "execs": [],
    "faults": ["-O0", "-fno-omit-frame-pointer", "-pthread"],
    "inlined": ["-O2", "-g"],
    "jitted": ["-O0", "-fno-omit-frame-pointer"],
    "leader": ["-pthread"],
    "marks": ["-pthread"],
    "outlived": [],
    "pairs": ["-g", "-pthread"],
    "plugins": ["-O0", "-fno-omit-frame-pointer", "-pthread", "-ldl"],
    "prefork": [],
    "returns": ["-pthread"],
    "rings": [],
    "opens": [*STATIC, "-no-pie"],
    "serials": ["-pthread"],
    "leaks": ["-O0", "-fno-omit-frame-pointer", "-pthread"],
    "mutexes": ["-O0", "-fno-omit-frame-pointer", "-pthread"],
    "stats": [],
    "opens32": BITS_32,
    "spin32": BITS_32,
    "spin": ["-O0", "-fno-omit-frame-pointer"],
    "stacked": ["-O0", "-fno-omit-frame-pointer"],
    "timed": ["-pthread"],
    "typed": ["-g"],
    "unwound": ["-O2", "-fomit-frame-pointer", "-pthread"],
    "widths": ["-g"],
}
COMPILERS = {
    ".cpp": ["g++", "-O1"],
    ".go": ["go", "build"],
    ".rs": ["rustc", "-O"],
}


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="pytracer-workloads-"))
    folder.chmod(0o755)  # workloads run as other users, too
    atexit.register(shutil.rmtree, folder)
    return folder


@functools.cache
def workload(name: str) -> str:
    """Return the path of a compiled C program, or of one in another language by its file: ``returns.go``."""
    path = _folder() / name
    language = Path(name).suffix
    if language:
        subprocess.run([*COMPILERS[language], "-o", path, SOURCES / name], env=_environment(), check=True)
    else:
        subprocess.run(["gcc", "-O1", "-o", path, SOURCES / f"{name}.c", *FLAGS[name]], check=True)
    return str(path)


def _environment() -> dict[str, str]:
    """Return the environment of compilers. Go needs a folder for its cache, and must not look for modules."""
    return {**os.environ, "GO111MODULE": "off", "CGO_ENABLED": "0", "GOCACHE": str(_folder() / "go")}
