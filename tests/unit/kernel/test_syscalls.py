"""Test system calls by name and number: the tables of all ABIs, and machines without a table."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytracer.errors import UnknownNameError, UsageError
from pytracer.kernel import syscalls
from pytracer.request.sets import parse_set
from pytracer.spec import NameSet

COMPAT = 1 << 32
X32 = 0x40000000

needs_names = pytest.mark.skipif(not syscalls.have_names(), reason="libseccomp.so.2 is not installed")

CALLS = NameSet("calls", "", encode="syscalls")


@pytest.fixture
def no_libseccomp(monkeypatch):
    monkeypatch.setattr(syscalls, "_load_seccomp", lambda: None)
    syscalls.name_of.cache_clear()
    yield
    syscalls.name_of.cache_clear()


TABLE = [
    ("x86_64", "read", 0),
    ("x86_64", "openat", 257),
    ("x86_64", "getppid", 110),
    ("x86_64", "mseal", 462),
    ("aarch64", "read", 63),
    ("aarch64", "openat", 56),
    ("aarch64", "getppid", 173),
    ("aarch64", "mseal", 462),
    ("i386", "openat", 295),
    ("i386", "socketcall", 102),
    ("i386", "connect", 362),
    ("i386", "shmget", 395),
    ("arm", "openat", 322),
    ("arm", "connect", 283),
    ("x32", "read", 0),
    ("x32", "ioctl", 514),
]


@needs_names
@pytest.mark.parametrize(("abi", "name", "number"), TABLE)
def test_table(abi, name, number):
    assert syscalls.name_of(abi, number) == name
    assert syscalls.number_of(abi, name) == number


def header(name):
    """Return {call: number} of a header of the C library, for the ABIs of x86-64."""
    for folder in ("/usr/include/x86_64-linux-gnu/asm", "/usr/include/asm"):
        path = Path(folder, name)
        if path.exists():
            matches = re.findall(
                r"^#define __NR_(\w+) \(?(?:__X32_SYSCALL_BIT \+ )?(\d+)\)?$", path.read_text(), re.M
            )
            return {call: int(number) for call, number in matches}
    pytest.skip(f"no asm/{name}: the C library's headers for x86-64 are not installed")


@needs_names
@pytest.mark.parametrize(
    ("abi", "name"), [("x86_64", "unistd_64.h"), ("i386", "unistd_32.h"), ("x32", "unistd_x32.h")]
)
def test_every_call_of_the_headers_has_its_name_and_number(abi, name):
    calls = header(name)
    assert len(calls) > 300
    assert {number: syscalls.name_of(abi, number) for number in calls.values()} == {
        number: call for call, number in calls.items()
    }
    assert {call: syscalls.number_of(abi, call) for call in calls} == calls


@pytest.mark.parametrize(
    ("call", "machine", "abi", "number"),
    [
        (257, "x86_64", "x86_64", 257),
        (COMPAT | 295, "x86_64", "i386", 295),
        (COMPAT | 322, "aarch64", "arm", 322),
        (COMPAT | 1, "riscv64", "compat", 1),
        (X32 | 514, "x86_64", "x32", 514),
        (X32 | 514, "aarch64", "aarch64", X32 | 514),
        (0xFFFFFFFF, "x86_64", "x86_64", 0xFFFFFFFF),  # syscall(-1)
    ],
)
def test_abi_of(call, machine, abi, number):
    assert syscalls.abi_of(call, machine) == (abi, number)


@needs_names
@pytest.mark.parametrize(
    ("call", "machine", "label"),
    [
        (257, "x86_64", "openat"),
        (56, "aarch64", "openat"),
        (COMPAT | 295, "x86_64", "i386:openat"),
        (COMPAT | 359, "x86_64", "i386:socket"),
        (COMPAT | 322, "aarch64", "arm:openat"),
        (X32, "x86_64", "x32:read"),
        (999, "x86_64", "syscall_999"),
        (COMPAT | 999, "x86_64", "i386:syscall_999"),
        (X32 | 999, "x86_64", "x32:syscall_999"),
        (0xFFFFFFFF, "x86_64", "syscall_4294967295"),
        (COMPAT | 7, "riscv64", "compat:syscall_7"),
    ],
)
def test_label(call, machine, label):
    assert syscalls.label(call, machine) == label


@needs_names
@pytest.mark.parametrize(
    ("name", "machine", "calls"),
    [
        ("openat", "x86_64", {257, COMPAT | 295, X32 | 257}),
        ("openat", "aarch64", {56, COMPAT | 322}),
        ("open", "aarch64", {COMPAT | 5}),  # the 64-bit ABI has none
        ("connect", "x86_64", {42, COMPAT | 362, X32 | 42}),
        ("x86_64:openat", "x86_64", {257}),
        ("i386:openat", "x86_64", {COMPAT | 295}),
        ("i386:connect", "x86_64", {COMPAT | 362}),
        ("arm:openat", "aarch64", {COMPAT | 322}),
        ("x32:read", "x86_64", {X32}),
        ("syscall_999", "x86_64", {999, COMPAT | 999, X32 | 999}),
        ("i386:syscall_999", "x86_64", {COMPAT | 999}),
    ],
)
def test_calls_of(name, machine, calls):
    actual = syscalls.calls_of(name, machine)
    assert set(actual) == calls
    assert len(actual) == len(calls)


@needs_names
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_names_of_calls_round_trip(machine):
    for name in syscalls.all_names(machine):
        calls = syscalls.calls_of(f"{machine}:{name}", machine)
        assert [syscalls.label(call, machine) for call in calls] == [name]


@needs_names
@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("opennat", "no system call 'opennat'", "openat"),
        ("Read", "no system call 'Read'", "read"),
        ("zzzzzz", "no system call 'zzzzzz'", ""),
        ("", "no system call ''", ""),
        ("i386:opennat", "no system call 'i386:opennat'", "openat"),
        ("i368:openat", "no ABI 'i368'", "i386"),
        ("arm:openat", "no ABI 'arm'", "i386"),
        ("syscall_", "no system call 'syscall_'", ""),
        ("syscall_99999999999", "no system call 'syscall_99999999999'", ""),
        ("syscall_-1", "no system call 'syscall_-1'", ""),
        ("\x1b[2J", "no system call '\\x1b[2J'", ""),
        ("\udcff", "no system call '\\udcff'", ""),  # an argument that is no UTF-8
    ],
)
def test_unknown_names(name, message, hint):
    with pytest.raises(UnknownNameError) as excinfo:
        syscalls.calls_of(name, "x86_64")
    assert excinfo.value.message == message
    assert hint in excinfo.value.hint


@needs_names
@pytest.mark.parametrize(
    ("text", "calls", "exclude"),
    [
        ("x86_64:read", {0}, False),
        ("x86_64:read,x86_64:openat", {0, 257}, False),
        ("!x86_64:read", {0}, True),
        (" x86_64:read , x86_64:openat ,", {0, 257}, False),
        ("read", {0, COMPAT | 3, X32}, False),
    ],
)
def test_a_set_of_calls(monkeypatch, text, calls, exclude):
    monkeypatch.setattr(syscalls.os, "uname", lambda: SimpleNamespace(machine="x86_64"))
    actual = parse_set(CALLS, text, "-e")
    assert ({int.from_bytes(key, "little") for key in actual.keys}, actual.exclude) == (calls, exclude)


@pytest.mark.parametrize("text", ["", "!", ",", "! ,"])
def test_an_empty_set_is_an_error(text):
    with pytest.raises(UsageError, match="no system call is named"):
        parse_set(CALLS, text, "-e")


def test_one_wrong_name_in_a_set_is_an_error():
    with pytest.raises(UnknownNameError, match="nonsense"):
        parse_set(CALLS, "syscall_1,nonsense", "-e")


def test_without_libseccomp_calls_are_named_by_number(no_libseccomp):
    assert not syscalls.have_names()
    assert syscalls.label(257, "x86_64") == "syscall_257"
    assert syscalls.label(COMPAT | 295, "x86_64") == "i386:syscall_295"
    assert syscalls.calls_of("x86_64:syscall_257", "x86_64") == [257]


def test_without_libseccomp_the_recent_calls_have_names(no_libseccomp):
    assert syscalls.label(462, "x86_64") == "mseal"
    assert syscalls.calls_of("mseal", "aarch64") == [462, COMPAT | 462]
    with pytest.raises(UnknownNameError, match="openat"):
        syscalls.calls_of("openat", "x86_64")


def test_recent_calls_are_numbered_without_a_gap():
    numbers = sorted(syscalls.RECENT.values())
    assert numbers == list(range(450, 450 + len(numbers)))
