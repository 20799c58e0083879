"""Test the check for leftovers: it finds those of a test, and ignores what others have loaded."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import subprocess
import sys

import pytest

from pytracer.bpf.attach.cgroup_skb import POINTS
from pytracer.bpf.attach.owner import encode_short_name, is_dead, is_dead_short, name_owner
from pytracer.bpf.sys import Command, ProgType, bpf, prog_load, program_info
from pytracer.bpf.trial import return_code
from support import leftovers
from support.cgroups import cgroup

pytestmark = pytest.mark.kernel

HOLD = """
import sys
from pytracer.bpf.trial import return_code
from pytracer.bpf.sys import ProgType, prog_load, program_info
program = prog_load(ProgType.SOCKET_FILTER, return_code(0), name="somebody_s")
print(program_info(program)[0], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def alone_requests(monkeypatch):
    """Count how often a turn alone is requested; the kernel gets only a moment."""
    monkeypatch.setattr(leftovers, "GRACE", 0.2)
    monkeypatch.setattr(leftovers, "UNHELD_GRACE", 0.1)
    return []


def find_new_leftovers(before, alone_requests):
    return leftovers.find_leftovers(before, lambda: alone_requests.append(1))


def test_objects_that_this_process_holds_are_found(alone_requests):
    before = leftovers.loaded_ids()
    program = prog_load(ProgType.SOCKET_FILTER, return_code(0), name="left")
    own_program = ("program", program_info(program)[0])
    assert own_program in find_new_leftovers(before, alone_requests)
    os.close(program)
    assert own_program not in find_new_leftovers(before, alone_requests)


@pytest.mark.parametrize(
    ("mark", "expected"), [(leftovers.MARK, True), ("PYTRACER_TEST_RUN=1", False)], ids=["ours", "theirs"]
)
def test_processes_are_identified_by_their_mark(alone_requests, mark, expected):
    name, _, value = mark.partition("=")
    before = leftovers.loaded_ids()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {name: value},
    ) as process:
        other = ("program", int(process.stdout.readline()))
        assert (other in find_new_leftovers(before, alone_requests)) is expected


def test_objects_without_a_holder_are_checked_again_alone(alone_requests):
    before = leftovers.loaded_ids()
    ingress = POINTS["ingress"]
    with cgroup() as folder:
        folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        program = prog_load(ProgType.CGROUP_SKB, return_code(1), attach_type=ingress, name="left")
        bpf(Command.PROG_ATTACH, struct.pack("IIII", folder_fd, program, ingress, 0))
        unheld = ("program", program_info(program)[0])
        assert unheld in find_new_leftovers(before, alone_requests)
        assert alone_requests == []  # this process holds it
        os.close(program)
        assert unheld in find_new_leftovers(before, alone_requests)
        assert alone_requests == [1]
        bpf(Command.PROG_DETACH, struct.pack("III", folder_fd, 0, ingress))
        os.close(folder_fd)


def test_objects_that_another_test_removes_in_time_are_no_leftovers(alone_requests):
    before = leftovers.loaded_ids()
    ingress = POINTS["ingress"]
    with cgroup() as folder:
        folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        program = prog_load(ProgType.CGROUP_SKB, return_code(1), attach_type=ingress, name="beside")
        bpf(Command.PROG_ATTACH, struct.pack("IIII", folder_fd, program, ingress, 0))
        other = ("program", program_info(program)[0])
        os.close(program)

        def wait_until_alone():
            bpf(Command.PROG_DETACH, struct.pack("III", folder_fd, 0, ingress))
            os.close(folder_fd)

        assert other in leftovers.loaded_ids()
        assert other not in leftovers.find_leftovers(before, wait_until_alone)


def test_a_process_that_proc_hides_has_not_ended():
    """Its filters would be removed as those of a killed tracer."""
    own_name, never = (
        name_owner(os.getpid()),
        name_owner(os.getpid()).replace(f"_{os.getpid()}_", "_4194303_"),
    )
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            assert ctypes.CDLL(None).unshare(0x20000) == 0  # CLONE_NEWNS
            for words in (["--make-rprivate", "/"], ["-t", "proc", "-o", "hidepid=2", "proc", "/proc"]):
                subprocess.run(["mount", *words], check=True)
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            assert name_owner(os.getppid()) == ""
            states = [is_dead(own_name), is_dead_short(encode_short_name(own_name)), is_dead(never)]
            os._exit(0 if states == [False, False, True] else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
