"""Test filters that name processes by something else than a process id."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from pytracer.errors import UsageError
from pytracer.kernel import filter_values


def test_processes_are_ids_and_names(tmp_path):
    program = shutil.copy(shutil.which("sleep"), tmp_path / "nap-of-a-test")
    own_pid = os.getpid()
    with subprocess.Popen([program, "60"]) as process:
        try:
            while Path(f"/proc/{process.pid}/comm").read_text() != "nap-of-a-test\n":  # before its exec
                time.sleep(0.001)
            assert filter_values.processes("nap-of-a-test") == [process.pid]
            assert filter_values.processes(f"{own_pid}, nap-of-a-test,{process.pid}") == [
                own_pid,
                process.pid,
            ]
            assert {own_pid, process.pid} <= set(filter_values.with_descendants([own_pid]))
            assert process.pid not in filter_values.with_descendants([own_pid], hidden=process.pid)
            assert own_pid in filter_values.with_descendants([os.getppid()])
        finally:
            process.kill()


def test_an_invalid_process_is_refused():
    for text in ("nothing-is-called-so", "0", ""):
        with pytest.raises(UsageError):
            filter_values.processes(text)
