"""Run the command line in a process that notes which modules it loads, and which files it opens."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

from pytracer.record import record

_CODE = """
import os, sys
events, notes = {"open": [], "os.fork": [], "os.posix_spawn": [], "subprocess.Popen": []}, os.dup(2)
sys.addaudithook(lambda event, given: events[event].append(str(given[:1])) if event in events else None)
sys.argv[0] = "pytracer"
from pytracer import startup
def leave(status):
    names = sorted(sys.modules)
    os.write(notes, ("\\nnoted " + repr([names, events])).encode())
    os._exit(status)
startup.leave = leave
from pytracer.__main__ import command
command()
"""


@record
class Start:
    """What a run of the command line did: its output, the modules that it loaded, the files that it opened,
    and the number of processes that it started."""

    output: str
    modules: frozenset[str]
    files: tuple[str, ...]
    processes: int

    def opened(self, part: str) -> list[str]:
        """Return the files with this in their names, modules excepted."""
        return [file for file in self.files if part in file and ".pyc" not in file]


def start(*words: str, cache: Path | None = None) -> Start:
    """Run ``pytracer`` with these words. Raises CalledProcessError if it fails."""
    environment = os.environ | ({"PYTRACER_CACHE_DIR": str(cache)} if cache else {})
    run = [sys.executable, "-I", "-c", _CODE, *words]
    process = subprocess.run(run, capture_output=True, text=True, env=environment)
    errors, _, notes = process.stderr.partition("\nnoted ")
    if process.returncode or not notes:
        raise AssertionError(f"{' '.join(words)}: status {process.returncode}\n{errors}")
    modules, events = ast.literal_eval(notes)
    processes = sum(len(paths) for event, paths in events.items() if event != "open")
    return Start(process.stdout, frozenset(modules), tuple(events["open"]), processes)
