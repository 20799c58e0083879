"""Test map types as C uses them: compiled by BCC, and loaded from an image."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path

import pytest

from pytracer.bpf.asm.assembler import HelperId
from pytracer.bpf.compile.bcc import BccModule
from pytracer.bpf.compile.headers import find_headers
from pytracer.bpf.compile.source import read_source
from pytracer.bpf.image import Image, decode
from pytracer.bpf.load.loader import ImageModule
from pytracer.bpf.load.module import Module
from pytracer.bpf.sys import MapType, ProgType
from pytracer.features import feature_table
from pytracer.features.kernel_facts import RunningKernel
from pytracer.features.table.helpers import LOOP
from support.needs import needs
from support.prog_test_run import run

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

PROBES = Path(__file__).parents[1] / "support/probes"
FUNCTIONS = ("lru", "first_in", "last_in", "trie", "nested", "walked", "begin", "looped")


def compiled(name: str, flags: list[str]) -> BccModule:
    text = read_source(str(PROBES / name))
    return BccModule(name, text, flags, find_headers(text))


def kinds() -> BccModule:
    """Return all of kinds.c."""
    by_call = not feature_table.helper_refusal(ProgType.RAW_TRACEPOINT, LOOP.number)
    return compiled("kinds.c", ["-DPT_HAS_LOOPS", *(["-DPT_HAS_BPF_LOOP"] if by_call else [])])


@pytest.fixture(scope="module")
def image() -> Image:
    """Return the cached image."""
    module = kinds()
    try:
        return decode(module.image("a key", FUNCTIONS).encode())
    finally:
        module.close()


def loaded(module: Module, function: str) -> int:
    return module.load(function, ProgType.RAW_TRACEPOINT)


def least_recently_used(module):
    """An LRU map always accepts another entry."""
    for key in range(100, 1109):
        module.maps["recent"].update(struct.pack("I", key), struct.pack("I", 0))
    program = loaded(module, "lru")
    assert [run(program) for _ in range(3)] == [1, 2, 3]
    assert 0 < len(module.maps["recent"].read()[0]) <= 256


def queues_and_stacks(module):
    assert run(loaded(module, "first_in")) == 1
    assert run(loaded(module, "last_in")) == 3


def prefixes(module):
    program = loaded(module, "trie")
    assert run(program) == 0
    for bits, octets, value in ((8, (10, 0, 0, 0), 2), (24, (10, 1, 2, 0), 3), (32, (10, 1, 2, 4), 4)):
        module.maps["networks"].update(struct.pack("I4B", bits, *octets), struct.pack("I", value))
    assert run(program) == 3


def a_map_in_a_map(module):
    program = loaded(module, "nested")
    assert run(program) == 0
    module.maps["chosen"].update(bytes(4), struct.pack("I", module.maps["like_these"].fd))
    assert [run(program) for _ in range(23)] == list(range(1, 24))
    assert module.maps["like_these"].read()[1].tolist() == [23]


def stacks_of_the_kernel(module):
    assert run(loaded(module, "walked")) == 1


def going_on_in_others(module):
    program = loaded(module, "begin")
    assert [run(program) for _ in range(3)] == [102, 104, 106]


def loops(module):
    assert run(loaded(module, "looped")) == sum(range(50))


USES = [
    least_recently_used,
    queues_and_stacks,
    prefixes,
    a_map_in_a_map,
    stacks_of_the_kernel,
    going_on_in_others,
    loops,
]


@pytest.mark.smoke
def test_maps_of_each_type_compiled_by_bcc():
    module = kinds()
    try:
        for use in USES:
            use(module)
    finally:
        module.close()


@pytest.mark.parametrize("use", USES)
def test_from_an_image(image, use):
    module = ImageModule("kinds.c", image)
    try:
        use(module)
    finally:
        module.close()


def test_storage_is_each_tasks_own():
    with contextlib.closing(RunningKernel()) as facts:
        needs("task storage", facts.has_helper(HelperId.task_storage_get))
    module = compiled("stored.c", [])
    try:
        assert module.maps["stored"].type == MapType.TASK_STORAGE
        second_module = ImageModule("stored.c", decode(module.image("a key", ("kept",)).encode()))
        try:
            for loaded_module in (module, second_module):
                program = loaded(loaded_module, "kept")
                assert [run(program) for _ in range(23)] == list(range(1, 24))
                child = os.fork()
                if not child:
                    os._exit(run(program))
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        finally:
            second_module.close()
    finally:
        module.close()
