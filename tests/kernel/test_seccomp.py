"""Test profiles of the calls of commands, and commands under profiles."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys

import pytest

from pytracer.enrich.seccomp_calls import ALWAYS
from support import classic_bpf
from support.cli import finish, run, start
from support.workloads import workload

pytestmark = pytest.mark.kernel


@pytest.fixture
def recorded(tmp_path):
    """Return a function that records the calls of a command: the profile's file, and the names in it."""

    def record(*command):
        path = tmp_path / "recorded.json"
        result = run("syscalls", "--profile", "-o", path, "--", *command)
        assert result.status == 0, result.err
        return path, set(json.loads(path.read_text())["syscalls"][0]["names"])

    return record


@pytest.fixture
def profile(tmp_path):
    """Return a profile that allows everything except the given rules."""

    def write(entries=(), **fields):
        path = tmp_path / "profile.json"
        path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(entries), **fields}))
        return path

    return write


def denied(name, action="SCMP_ACT_ERRNO", **fields):
    return {"names": [name], "action": action, **fields}


def under(path, *command):
    result = run("syscalls", "-f", "json", "-o", "/dev/stderr", "--enforce", path, "--", *command)
    calls = {r["syscall"]: r for r in map(json.loads, result.err.splitlines()) if r.get("kind") == "summary"}
    return result, calls


@pytest.mark.lab
def test_all_calls_of_a_command_are_recorded(recorded):
    path, names = recorded(workload("calls"), "getppid", 23)
    assert names == {"getppid", *ALWAYS}
    first = path.read_bytes()
    assert recorded(workload("calls"), "getppid", 23)[0].read_bytes() == first
    assert recorded(workload("calls"), "signal", 23)[1] == {"rt_sigaction", "getpid", "kill", *ALWAYS}


@pytest.mark.lab
def test_a_call_that_was_not_recorded_fails_and_is_shown(recorded):
    path, _ = recorded(workload("calls"), "getppid", 23)
    result, calls = under(path, workload("calls"), "getppid", 23)
    assert result.status == 0
    assert (calls["getppid"]["calls"], calls["getppid"]["denied"]) == (23, 0)
    result, calls = under(path, workload("calls"), "unknown", 23)
    assert result.status == 0
    assert (calls["syscall_999"]["calls"], calls["syscall_999"]["denied"]) == (0, 23)
    assert sum(record["denied"] for record in calls.values()) == 23


@pytest.mark.parametrize(
    "command",
    [
        ["ls", "/"],
        [sys.executable, "-S", "-c", "import os, threading; threading.Thread(target=os.getcwd).start()"],
        ["sh", "-c", "for i in 1 2 3; do echo $i; done | wc -l"],
    ],
    ids=["ls", "python", "sh"],
)
def test_a_command_runs_under_its_recorded_profile(recorded, command):
    path, _ = recorded(*command)
    result, calls = under(path, *command)
    assert result.status == 0, result.err
    assert sum(record["denied"] for record in calls.values()) == 0
    plain_run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.out == plain_run.stdout


def test_the_program_sees_eperm(recorded):
    code = "import os\ntry:\n  os.mkdir('/tmp')\nexcept OSError as e:\n  print(e.errno)"
    path, names = recorded(sys.executable, "-S", "-c", "pass")
    assert "mkdir" not in names
    result, calls = under(path, sys.executable, "-S", "-c", code)
    assert result.out == "1\n"  # EPERM, and not EEXIST
    assert calls["mkdir"]["denied"] == 1


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ({"action": "SCMP_ACT_ERRNO", "errnoRet": 28}, 0),
        ({"action": "SCMP_ACT_LOG"}, 0),
        ({"action": "SCMP_ACT_KILL"}, 128 + signal.SIGSYS),
        ({"action": "SCMP_ACT_KILL_PROCESS"}, 128 + signal.SIGSYS),
        ({"action": "SCMP_ACT_TRAP"}, 128 + signal.SIGSYS),
    ],
)
def test_actions(profile, action, status):
    result, calls = under(profile([denied("getppid", **action)]), workload("calls"), "getppid", 23)
    assert result.status == status
    is_errno = action["action"] == "SCMP_ACT_ERRNO"
    logged = action["action"] == "SCMP_ACT_LOG"
    record = calls.get("getppid", {"calls": 0, "denied": 0})
    assert (record["calls"], record["denied"]) == (23 if logged else 0, 23 if is_errno else 0)


@pytest.mark.lab
def test_calls_of_another_abi_follow_the_profile(profile):
    compat = [workload("calls"), "compat", 23]
    assert under(profile(), *compat)[0].status == 128 + signal.SIGSYS
    path = profile([denied("getppid")], architectures=["SCMP_ARCH_X86"])
    result, calls = under(path, *compat)
    assert result.status == 0
    assert calls["i386:getppid"]["denied"] == 23
    result, calls = under(profile(architectures=["SCMP_ARCH_X86"]), *compat)
    assert (calls["i386:getppid"]["calls"], calls["i386:getppid"]["denied"]) == (23, 0)
    assert under(profile(), workload("spin32"))[0].status == 128 + signal.SIGSYS


def test_another_abi_is_recorded_as_an_architecture(recorded):
    path, names = recorded(workload("calls"), "compat", 23)
    assert json.loads(path.read_text())["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert names == {"getppid", "sigreturn", *ALWAYS}
    result, calls = under(path, workload("calls"), "compat", 23)
    assert result.status == 0
    assert calls["i386:getppid"]["calls"] == 23


def test_arguments_are_looked_at(profile):
    only = {"index": 0, "op": "SCMP_CMP_EQ", "value": 5}
    path = profile([denied("close", errnoRet=28, args=[only])])
    code = "import os, errno\nfor fd in 5, 6, 5 + (1 << 32):\n  try:\n    os.close(fd % (1 << 31))\n"
    code += "  except OSError as e:\n    print(e.errno)"
    result, calls = under(path, sys.executable, "-S", "-c", code)
    assert result.out.split() == ["28", "9", "28"]
    assert calls["close"]["denied"] == 2


def test_descendants_are_under_it_too_and_gain_nothing(profile):
    path = profile([denied("getppid", errnoRet=38)])
    script = f"{workload('calls')} getppid 23; grep NoNewPrivs /proc/self/status"
    result, calls = under(path, "sh", "-c", script)
    assert result.out.split() == ["NoNewPrivs:", "1"]
    assert calls["getppid"]["denied"] >= 23  # a shell makes some of its own
    assert calls["getppid"]["calls"] == 0


def test_new_tasks_are_not_mistaken_for_denied(profile):
    code = "import os, threading\nfor _ in range(7):\n  pid = os.fork()\n  if not pid: os._exit(0)\n"
    code += "  os.waitpid(pid, 0)\n  t = threading.Thread(target=int); t.start(); t.join()"
    result, calls = under(profile(), sys.executable, "-S", "-c", code)
    assert result.status == 0
    assert sum(record["denied"] for record in calls.values()) == 0


def test_helpers_are_not_under_the_filter(profile):
    """Only the command has the filter; the tracer's own calls go on."""
    process = start("syscalls", "--enforce", profile([denied("write")]), "--", "sleep", "0.2")
    result = finish(process)
    assert result.status == 0
    assert "CALLS" in result.out


def test_a_removed_command_is_reported(profile, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/nowhere/at/all\n")
    script.chmod(0o755)
    result = run("syscalls", "--enforce", profile(), "--", script)
    assert result.status == 1
    assert "cannot execute" in result.err
    assert "No such file" in result.err


def test_a_profile_of_an_interrupted_command_is_reported_as_incomplete(tmp_path):
    path = tmp_path / "profile"
    process = start("syscalls", "--profile", "-o", path, "--", "sleep", "60")
    process.terminate()
    result = finish(process)
    assert "the command was still running" in result.err
    assert json.loads(path.read_text())["syscalls"]


def test_calls_without_a_name_are_reported(recorded, tmp_path):
    result = run("syscalls", "--profile", "-o", tmp_path / "p", "--", workload("calls"), "unknown", 23)
    assert "calls without a name are not in the profile: syscall_999" in result.err


def test_the_kernel_and_an_interpreter_agree_on_filters(profile):
    """Call numbers without effect, under a filter with a distinct action for each."""
    names = ["getppid", "getpid", "getuid", "getgid", "geteuid", "getegid", "getpgrp", "gettid"]
    path = profile([denied(name, errnoRet=100 + index) for index, name in enumerate(names)])
    from pytracer.kernel.syscalls import number_of
    from pytracer.seccomp import confinement

    program = classic_bpf.decode(confinement(str(path)).program)
    numbers = [number_of(platform.machine(), name) for name in names] + [1000, 2000, 4000]
    code = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for number in {numbers}:
    ctypes.set_errno(0)
    libc.syscall(number)
    print(ctypes.get_errno())
"""
    result, _ = under(path, sys.executable, "-S", "-c", code)
    answers = [classic_bpf.run(program, classic_bpf.call(number)) for number in numbers]
    # What is let through is not there: ENOSYS.
    expected = [answer & 0xFFFF if answer >> 16 == 5 else 38 for answer in answers]
    assert [int(line) for line in result.out.split()] == expected
    assert expected[:8] == list(range(100, 108))
