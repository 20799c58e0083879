"""Test the filters of system calls by which calls of a command fail, with an interpreter."""

from __future__ import annotations

import errno
import platform

import pytest

from pytracer.kernel import syscall_filter
from pytracer.kernel.syscalls import X32_BIT
from pytracer.request import Condition, Fault, Request
from pytracer.spec import SyscallFilter, registry
from pytracer.trace.filter_session import confine
from support import classic_bpf

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers below are x86-64's")
OPENAT, EXECVE = 257, 59
FAILS = syscall_filter.ERRNO | errno.EIO
INTERPRETED_NUMBERS = (*range(600), 0xFFFFFFFF)


def make_filter(call, *conditions, notifies=False):
    fault = Fault(call, "EIO", conditions)
    request = Request(registry.get("inject"), fault=fault, command=("true",))
    return confine(request, SyscallFilter("", call=call, notifies=notifies))


def find_answers(confinement, arch=classic_bpf.NATIVE, flag=0, args=()):
    """Return the calls that the filter does not allow, and its answers."""
    program = classic_bpf.decode(confinement.program)
    answers = {
        number: classic_bpf.run(program, classic_bpf.call(number | flag, arch, args))
        for number in INTERPRETED_NUMBERS
    }
    return {number: answer for number, answer in answers.items() if answer != syscall_filter.ALLOW}


def test_one_call_fails_and_no_other():
    assert find_answers(make_filter("openat")) == {OPENAT: FAILS}


@pytest.mark.parametrize("notifies", [True, False])
@pytest.mark.parametrize(
    ("arch", "flag"), [(classic_bpf.I386, 0), (classic_bpf.ARM64, 0), (0, 0), (classic_bpf.NATIVE, X32_BIT)]
)
def test_calls_of_other_abis_pass(arch, flag, notifies):
    assert find_answers(make_filter("openat", notifies=notifies), arch, flag) == {}


def test_a_listener_is_asked_about_the_call_and_every_execve():
    confinement = make_filter("openat", notifies=True)
    waits = syscall_filter.USER_NOTIFICATION
    assert find_answers(confinement) == {EXECVE: waits, OPENAT: waits}
    assert confinement.flags & syscall_filter.NEW_LISTENER
    assert find_answers(make_filter("execve", notifies=True)) == {EXECVE: waits}
    assert make_filter("openat").flags == 0


def test_arguments_are_compared():
    condition = Condition(2, "!=", 0, 0x40)
    low = Condition(0, "==", 0xFFFFFF9C, 0xFFFFFFFF)
    confinement = make_filter("openat", condition, low)
    for first in (0xFFFFFF9C, 0xFFFFFFFFFFFFFF9C):  # an int: nobody knows its upper half
        assert find_answers(confinement, args=(first, 1, 0x41)) == {OPENAT: FAILS}
    assert find_answers(confinement, args=(0xFFFFFF9C, 1, 0x3F)) == {}
    assert find_answers(confinement, args=(3, 1, 0x41)) == {}
    assert find_answers(confinement, args=(0xFFFFFF9C, 1, 0x4000000000)) == {}
