"""Test the system call numbers in C files against the tables of all ABIs."""

from __future__ import annotations

import re

import pytest

from pytracer.bpf.compile.source import probes_folder
from pytracer.kernel import syscalls
from pytracer.spec import registry
from pytracer.spec.calls import CallProbe

pytestmark = pytest.mark.skipif(not syscalls.have_names(), reason="libseccomp.so.2 is not installed")
ABIS = ("x86_64", "i386", "aarch64", "arm")
NUMBER = r",\s*(-?\d+)"
LINE = re.compile(rf"PT_IS\(\s*call,\s*(\w+){NUMBER * 4}\s*\)")


def lines():
    headers = [probes_folder() / "include" / name for name in ("filecalls.h", "fsops.h", "waits.h")]
    for path in (*sorted(probes_folder().glob("*.c")), *headers):
        text = path.read_text()
        matches = LINE.findall(text)
        assert len(matches) == text.count("PT_IS(")
        for name, *numbers in matches:
            yield pytest.param(name, [*map(int, numbers)], id=f"{path.stem}-{name}")


@pytest.mark.parametrize(("name", "numbers"), [*lines()])
def test_numbers_are_those_of_the_tables(name, numbers):
    table = [syscalls.number_of(abi, name) for abi in ABIS]
    assert numbers == [-1 if number is None else number for number in table]


def declared():
    for tracer in registry.all_tracers():
        for hook in tracer.hooks:
            calls = hook.alternatives[0].probes[0]
            text = (probes_folder() / tracer.c_file).read_text()
            if isinstance(calls, CallProbe) and (names := [name for name, *_ in LINE.findall(text)]):
                yield pytest.param(set(calls.calls), set(names), id=tracer.name)


@pytest.mark.parametrize(("calls", "in_c"), [*declared()])
def test_the_calls_that_a_tracer_declares_are_those_of_its_c(calls, in_c):
    """A call that is missing in the declaration would not be seen by its function or trace event."""
    assert calls - {"socketcall"} == in_c  # which the C knows by its number
