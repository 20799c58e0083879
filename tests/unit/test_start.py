"""Test which modules a start loads before programs are attached."""

from __future__ import annotations

import subprocess
import sys

import pytest

START = """import sys, pytracer.features.kernel_facts, pytracer.cli.main, pytracer.cli.tracer_parser
import pytracer.trace.run_tracer, pytracer.sinks.table
"""
SLOW = (
    "bcc",
    "base64",
    "csv",
    "datetime",
    "dataclasses",  # see pytracer.record
    "decimal",
    "difflib",
    "email",
    "gzip",
    "hashlib",
    "importlib.metadata",
    "inspect",
    "numpy",
    "platform",
    "psutil",
    "pyroute2",
    "shlex",
    "shutil",
    "socket",
    "subprocess",
    "tabulate",
    "tempfile",
    "textwrap",
    "traceback",
    "pytracer.lang.expressions",
    "pytracer.bpf.compile.bcc",
    "pytracer.bpf.compile.headers",
    "pytracer.bpf.asm.packet_filter",
    "pytracer.bpf.load.verifier",
    "pytracer.enrich",
    "pytracer.seccomp",
    "pytracer.symbols.user",
)


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    words = [sys.executable, "-c", START + "print(*sys.modules, sep='\\n')"]
    return set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("module", SLOW)
def test_a_start_does_without(loaded, module):
    assert module not in loaded


def test_modules_loaded_by_a_start_are_seen(loaded):
    """Check the test above, which would also pass if the names were wrong."""
    assert {"pytracer.trace.session", "pytracer.bpf.load.loader", "argparse"} <= loaded
    for module in SLOW:
        if module.startswith("pytracer."):
            __import__(module)
