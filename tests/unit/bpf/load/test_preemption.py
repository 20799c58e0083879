"""Test the function that disables preemption around a program."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from pytracer.bpf.load import loader, preemption
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import EMPTY
from pytracer.errors import HeadersError

IDS = {"bpf_preempt_disable": 11, "bpf_preempt_enable": 13}


class Types:
    """The types of a kernel that has some functions."""

    def __init__(self, ids):
        self.ids = ids

    def find(self, _, name):
        return self.ids.get(name)


class Kernel:
    """A kernel that keeps the codes it was given, and refuses those that begin with ``refused``."""

    def __init__(self):
        self.given, self.refused = list[bytes](), b"?"

    def load(self, kind, code, log=None, **_):
        assert kind is ProgType.KPROBE
        self.given.append(code)
        if code.startswith(self.refused):
            if log:
                log[:10] = b"too large\n"
            raise OSError(errno.EACCES, "refused")
        return os.open("/dev/null", os.O_RDONLY)


@pytest.fixture
def kernel(monkeypatch):
    """Such a kernel, which has both functions."""
    made = Kernel()
    monkeypatch.setattr(preemption, "running_types", lambda: Types(IDS))
    monkeypatch.setattr(preemption, "load", made.load)
    monkeypatch.setattr(loader, "prog_load", made.load)
    preemption.caller.cache_clear()
    yield made
    preemption.caller.cache_clear()


def test_it_calls_what_is_behind_it_between_the_kernel_s_functions(kernel):
    code = preemption.caller()
    instructions = list(struct.iter_unpack("=BBhi", code))
    calls = [
        (at, registers >> 4, number)
        for at, (kind, registers, _, number) in enumerate(instructions)
        if kind == 0x85
    ]
    assert [(kind, number) for _, kind, number in calls] == [(2, 11), (1, 4), (2, 13)]
    assert calls[1][0] + 1 + calls[1][2] == len(instructions)
    assert kernel.given == [code + EMPTY]
    assert preemption.caller() == code
    assert len(kernel.given) == 1


@pytest.mark.parametrize("ids", [{}, {"bpf_preempt_disable": 11}])
def test_a_kernel_without_these_functions_is_not_tried(kernel, monkeypatch, ids):
    monkeypatch.setattr(preemption, "running_types", lambda: Types(ids))
    assert preemption.caller() == b""
    assert not kernel.given


def test_a_kernel_without_types(monkeypatch, kernel):
    def fail():
        raise HeadersError("no BTF")

    monkeypatch.setattr(preemption, "running_types", fail)
    assert preemption.caller() == b""


def test_a_kernel_that_refuses_the_calls(kernel):
    kernel.refused = b"\xbf"
    assert preemption.caller() == b""


def load(kernel, *, preempted):
    loading = loader.Loader("test", keep_logs=False)
    loading.load("program", EMPTY, ProgType.KPROBE, preempted=preempted)
    loading.close()
    return kernel.given[-1]


def test_only_a_program_that_can_be_preempted_is_called(kernel):
    caller = preemption.caller()
    assert load(kernel, preempted=True) == caller + EMPTY
    assert load(kernel, preempted=False) == EMPTY


def test_a_program_with_too_large_a_stack_for_a_call_is_loaded_alone(kernel):
    caller = preemption.caller()
    kernel.refused = caller
    with pytest.raises(OSError, match="refused"):
        kernel.load(ProgType.KPROBE, caller)
    assert load(kernel, preempted=True) == EMPTY
