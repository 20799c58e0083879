"""Test that a process whose main thread has exited is read through another of its threads."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytracer.arrays import np
from pytracer.kernel import filter_values
from pytracer.procfs import has_ended, living
from pytracer.symbols import memory_maps, program_files
from pytracer.symbols.root import Root
from pytracer.symbols.user import UNKNOWN, UserSymbols
from support.workloads import workload


@pytest.fixture
def headless() -> Iterator[int]:
    """Run a process whose main thread has exited, while another waits."""
    command = [workload("marks"), "headless", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.kill()


def test_a_living_thread_stands_for_an_exited_main_thread(headless: int) -> None:
    assert has_ended(headless)
    assert living(headless) not in (headless, 0)
    assert not has_ended(living(headless))
    assert living(os.getpid()) == os.getpid()
    assert living(1 << 30) == 1 << 30


def test_memory_root_files_and_namespaces_of_a_headless_process_are_found(headless: int) -> None:
    assert memory_maps.image_of(headless)
    mappings = memory_maps.parse(memory_maps.read(headless))
    [mapping] = [mapping for mapping in mappings if mapping.name == "marks"]
    handle = memory_maps.find_file(headless, mapping)
    assert handle is not None
    with handle:
        assert handle.stat.st_ino == mapping.inode
    with Root(headless) as root:
        assert root.read("/etc/passwd") == Path("/etc/passwd").read_bytes()
    with program_files.find("marks", headless) as file:
        assert file.mapped
        assert file.name == workload("marks")
    for resolve in (filter_values.network_namespace, filter_values.mount_namespace):
        assert resolve(str(headless)) == resolve(str(os.getpid()))


def test_functions_of_a_headless_process_have_names(headless: int) -> None:
    symbols = UserSymbols()
    assert symbols.notice(headless)
    image = memory_maps.image_of(headless)
    [mapping] = [item for item in memory_maps.parse(memory_maps.read(headless)) if item.name == "marks"]
    [name] = symbols.names(headless, image, None, np.array([mapping.start + 8], np.uint64))
    assert name != UNKNOWN
    symbols.close()
