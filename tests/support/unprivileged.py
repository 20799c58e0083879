"""Run Python without any privilege, whoever runs the tests."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys

import pytest


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this interpreter as nobody; the test is skipped where nobody cannot reach it."""
    if not _reachable():
        pytest.skip("this interpreter, or pytracer, cannot be reached without root")
    return _run(*arguments)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    return subprocess.run(
        [*prefix, sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


@functools.cache
def _reachable() -> bool:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return False
    try:
        return _run("-c", "import pytracer.cli").returncode == 0
    except OSError:
        return False
