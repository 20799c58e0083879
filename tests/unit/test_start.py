"""Test which modules a start loads before programs are attached."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.starts import Start, start

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


PRINTING = {
    "list": ("list",),
    "help": ("--help",),
    "completion": ("completion", "bash"),
    "candidates": ("completion", "candidates", ""),
    "tracer": ("syscalls", "--help"),
}
NOT_TO_PRINT = (
    *SLOW,
    "_ctypes",
    "asyncio",
    "json",
    "multiprocessing",
    "urllib.parse",
    "zipfile",
    "pytracer.bpf",
    "pytracer.features",
    "pytracer.kernel.btf",
    "pytracer.kernel.filter_values",
    "pytracer.lang",
    "pytracer.request.request_builder",
    "pytracer.sinks.table",
    "pytracer.trace",
)
WITH_OPTIONS = {
    *("_ctypes", "json", "shutil", "tempfile", "textwrap", "urllib.parse"),
    *("pytracer.features", "pytracer.kernel.btf", "pytracer.kernel.filter_values"),
    "pytracer.request.request_builder",
}
"""What also those load that parse or show the options of a tracer."""


@pytest.fixture(scope="module", params=PRINTING)
def printing(request) -> tuple[str, Start]:
    return request.param, start(*PRINTING[request.param])


def test_commands_that_only_print_load_few_modules(printing):
    name, run = printing
    allowed = WITH_OPTIONS if name in ("candidates", "tracer") else set()
    assert run.output
    assert not run.modules & ({*NOT_TO_PRINT} - allowed)


def test_commands_that_only_print_open_no_files_of_the_machine(printing):
    _, run = printing
    assert not run.opened("'/sys/") + run.opened("'/proc/")
    assert run.processes == 0
