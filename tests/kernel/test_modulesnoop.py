"""Test modulesnoop beside the errors that the calls return and, where the kernel has modules,
/proc/modules."""

from __future__ import annotations

import errno
import json
import lzma
import os
import sys
from pathlib import Path

import pytest

from support.calls import ALTERNATIVES, is_granted
from support.cli import run

pytestmark = pytest.mark.kernel
HAS_MODULES = Path("/proc/modules").exists()
# Calls by number: a file that is no module, bytes that are none, a module that is not there.
REFUSED = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
open("/proc/self/comm", "wb").write(b"loads\\n\\x1b[31m")
file = os.open(sys.argv[1], os.O_RDONLY)
errors = []
calls = [(313, file, b"first=1\\x1b", 0)] * 17
for call in [*calls, (175, bytes(64), 64, b"p=2"), (176, b"none\\x1b[31m", 0)]:
    assert libc.syscall(*call) == -1
    errors.append(ctypes.get_errno())
os.write(2, json.dumps([os.getpid(), os.getppid(), errors]).encode() + b"\\n")
"""
# dummy: a module that nothing else needs. It is loaded, loaded again, and removed; then what is not there is.
LOADED = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
plain = sys.argv[1]
def call(*words):
    result = libc.syscall(*words)
    errors.append(ctypes.get_errno() if result else 0)
errors, names = [], []
file = os.open(plain, os.O_RDONLY)
content = open(plain, "rb").read()
call(313, file, b"numdummies=0", 0)
names.append(any(line.startswith("dummy ") for line in open("/proc/modules")))
call(313, file, b"numdummies=0", 0)
call(176, b"dummy", 0)
names.append(any(line.startswith("dummy ") for line in open("/proc/modules")))
call(176, b"dummy", 0)
call(175, content, len(content), b"numdummies=0")
call(176, b"dummy", 0)
os.write(2, json.dumps([errors, names]).encode() + b"\\n")
"""


def run_modulesnoop(*words, workload, args):
    result = run("modulesnoop", *words, "--", sys.executable, "-c", workload, *args)
    assert result.status == 0, result.err
    return result, json.loads(next(line for line in result.err.splitlines() if line.startswith("[")))


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_refused_calls_are_shown_with_their_errors(alternative, tmp_path):
    if not is_granted("modulesnoop", alternative):
        return
    file = tmp_path / "no\nmodule.ko"
    file.write_bytes(b"none")
    words = ["--hook", f"return={alternative}", "-f", "json"]
    result, (pid, ppid, errors) = run_modulesnoop(*words, workload=REFUSED, args=[file])
    events = result.of("event")
    assert [errno.errorcode[error] for error in errors] == [event["err"] for event in events]
    assert {(event["pid"], event["ppid"], event["uid"]) for event in events} == {(pid, ppid, os.getuid())}
    assert {event["comm"] for event in events} == {"loads\n\x1b[31m"}
    assert [event["event"] for event in events] == ["load"] * 18 + ["unload"]
    assert {event["file"] for event in events[:17]} == {"no\nmodule.ko"}
    assert {event["parameters"] for event in events[:17]} == {"first=1\x1b"}
    assert [(event["file"], event["parameters"]) for event in events[17:]] == [(None, "p=2"), (None, None)]
    assert [event["module"] for event in events] == [None] * 18 + ["none\x1b[31m"]


def test_hostile_names_stay_text(tmp_path):
    file = tmp_path / "no\nmodule.ko"
    file.write_bytes(b"none")
    result, _ = run_modulesnoop("--wide", workload=REFUSED, args=[file])
    assert "\x1b" not in result.out
    assert len(result.out.splitlines()) == 1 + 17 + 2


@pytest.mark.smoke
@pytest.mark.lab
def test_modules_by_the_name_that_the_kernel_gives_them(tmp_path):
    if not HAS_MODULES:  # then the calls fail, as the test above shows: with ENOSYS
        words = ["-f", "json", "--hook", "module=none"]
        _, (_, _, errors) = run_modulesnoop(*words, workload=REFUSED, args=["/dev/null"])
        assert set(errors) == {errno.ENOSYS}
        return
    packed = next(Path(f"/lib/modules/{os.uname().release}").rglob("dummy.ko*"))
    plain = tmp_path / "other.ko"
    plain.write_bytes(unpacked(packed))
    result, (errors, names) = run_modulesnoop("-f", "json", workload=LOADED, args=[plain])
    assert errors == [0, errno.EEXIST, 0, errno.ENOENT, 0, 0]
    assert names == [True, False]
    calls = [(e["event"], e["err"], e["file"], e["module"], e["parameters"]) for e in result.of("event")]
    assert calls == [
        ("load", None, "other.ko", "dummy", "numdummies=0"),
        ("load", "EEXIST", "other.ko", None, "numdummies=0"),
        ("unload", None, None, "dummy", None),
        ("unload", "ENOENT", None, "dummy", None),
        ("load", None, None, "dummy", "numdummies=0"),
        ("unload", None, None, "dummy", None),
    ]


@pytest.mark.lab
def test_the_task_that_needs_a_module_asks_for_it():
    if not HAS_MODULES:
        return
    # A socket of a family that no module has: its alias is what the kernel asks modprobe for.
    code = "import socket\ntry:\n    socket.socket(19, 1)\nexcept OSError:\n    pass"
    result = run("modulesnoop", "-f", "json", "--", sys.executable, "-c", code)
    requests = [event for event in result.of("event") if event["event"] == "request"]
    assert [event["module"] for event in requests] == ["net-pf-19"]
    assert {event["err"] for event in requests} == {None}
    failed = run("modulesnoop", "-x", "-f", "json", "--", sys.executable, "-c", code)
    assert not failed.of("event")


def unpacked(path):
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data
