"""Test what is read of a process's start."""

from __future__ import annotations

import os
import subprocess
import sys

from pytracer.targets.process_starts import start_of


def test_a_process():
    process = subprocess.Popen(["/bin/sleep", "60"], env={"NAME": "a=b", "OTHER": ""})
    try:
        while not start_of(process.pid).words[0].endswith("sleep"):  # it has not executed yet
            pass
        start = start_of(process.pid)
    finally:
        process.kill()
        process.wait()
    assert start.words[:2] == ("/bin/sleep", "60")
    assert start.environment["NAME"] == "a=b"
    assert start.environment["OTHER"] == ""
    assert os.path.realpath("/bin/sleep") in start.files


def test_a_command():
    start = start_of(0, ("env", "NAME=value", sys.executable, "-c", "1"))
    assert os.path.realpath(sys.executable) in start.files
    assert start.words == ("env", "NAME=value", sys.executable, "-c", "1")
    assert start.environment["NAME"] == "value"
