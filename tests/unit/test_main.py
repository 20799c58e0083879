"""Test the end of the command line's process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

MAIN = """
import atexit, os, signal, sys
import pytracer.cli.main
atexit.register(print, "at exit")
def main():
    print("shown")
    return 3
pytracer.cli.main.main = main
from pytracer import startup
from pytracer.__main__ import command
"""


def run_process(code: str, **streams: int) -> tuple[int, list[str]]:
    """Run code after MAIN in a process; return its exit status and the lines that it printed."""
    environment = os.environ | {"PYTHONUNBUFFERED": ""}
    process = subprocess.run(
        [sys.executable, "-c", MAIN + code], stdout=subprocess.PIPE, text=True, env=environment, **streams
    )
    return process.returncode, process.stdout.splitlines()


def test_the_exit_status_stays_once_all_is_shown():
    interrupts = "os._exit = lambda status: signal.raise_signal(signal.SIGINT)\n"
    assert run_process(interrupts + "sys.exit(command())")[0] == 3


def test_an_interrupt_while_modules_are_loaded():
    interrupts = (
        "sys.modules.pop('pytracer.cli.main'); sys.path_hooks.insert(0, lambda _: signal.raise_signal(2))\n"
    )
    clear = "sys.path_importer_cache.clear()\n"
    assert run_process(f"{interrupts}{clear}sys.exit(command())")[0] == 130


def test_exit_handlers_run_at_the_end_of_the_process():
    assert run_process("command()\nprint('torn down')") == (3, ["shown", "at exit"])


@pytest.mark.parametrize(
    "code",
    [
        "sys.setprofile(lambda *_: None)",
        "sys.settrace(lambda *_: None)",
        "import threading; stop = threading.Event(); threading.Thread(target=stop.wait).start()",
    ],
    ids=["profiler", "debugger", "thread"],
)
def test_the_process_ends_as_usual_beside(code):
    code += "\nstatus = command()\nprint('goes on', status)\nif 'stop' in globals(): stop.set()"
    assert run_process(code)[1] == ["shown", "goes on 3", "at exit"]


def test_a_full_disk_is_reported_at_the_end():
    code = "os.dup2(os.open('/dev/full', os.O_WRONLY), 1)\nsys.exit(command())"
    status, _ = run_process(code, stderr=subprocess.DEVNULL)
    assert status == 120  # Python's own, for output that could not be flushed


def test_the_library_leaves_the_caller_as_it_is():
    code = """
import gc
from pytracer import arrays
startup.resume()
with startup.without_blas_threads():
    print("OPENBLAS_NUM_THREADS" in os.environ, gc.isenabled(), gc.get_freeze_count())
startup.begin()
with startup.without_blas_threads():
    print(os.environ["OPENBLAS_NUM_THREADS"], gc.isenabled())
print("OPENBLAS_NUM_THREADS" in os.environ)
startup.resume()
print(gc.isenabled())
os.environ["OPENBLAS_NUM_THREADS"] = "7"
with startup.without_blas_threads():
    print(os.environ["OPENBLAS_NUM_THREADS"])
print(os.environ["OPENBLAS_NUM_THREADS"])
"""
    assert run_process(code)[1][:6] == ["False True 0", "1 False", "False", "True", "7", "7"]
