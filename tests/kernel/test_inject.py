"""Test inject: exactly the requested calls fail, in each way that the kernel has."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytracer.features.kernel_facts import RunningKernel
from pytracer.kernel import policy
from pytracer.kernel.btf import BtfKind
from pytracer.spec.permission_checks import CHECKS
from support.cli import run, start, stop, wait_for
from support.needs import DeclaredSkip, needs, was_refused

pytestmark = [pytest.mark.kernel, pytest.mark.lab]
MKDIR = "__x64_sys_mkdir"
CHECK = "security_inode_mkdir"
# Makes so many folders, and prints the number of each that could not be made, and why.
MAKE = """
import os, sys
for number in range(1, int(sys.argv[2]) + 1):
    try:
        os.mkdir(f"{sys.argv[1]}/{os.getpid()}-{number}")
    except OSError as error:
        print(number, error.errno)
"""
# The same, one for each line that it is told.
TOLD = """
import os, sys
for number, _ in enumerate(sys.stdin):
    try:
        os.mkdir(f"{sys.argv[1]}/{os.getpid()}-{number}")
        print(0, flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


@pytest.fixture(
    params=[
        pytest.param((MKDIR, "--hook", "call=kprobe"), id="kprobe"),
        pytest.param((CHECK, "--hook", "call=modify-return"), id="modify-return"),
        pytest.param((CHECK, "--hook", "call=lsm"), id="lsm"),
    ]
)
def way(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Return the function and the options of a way to make mkdir() fail, if this kernel has it."""
    function, *options = request.param
    _, alternative = options[1].split("=")
    result = run("inject", function, "EIO", *options, "--dry-run", "--", "true")
    if alternative == "lsm" and "bpf" not in (policy.read_lsms() or ["bpf"]):  # on Debian's 5.10
        assert result.status == 4
        assert "bpf is not among the security modules in force" in result.err
        raise DeclaredSkip(result.err)
    if function == CHECK and was_refused(result, {"call": alternative}):
        raise DeclaredSkip(result.err)
    needs({"kprobe": "override"}.get(alternative, options[1]), result.status == 0)
    return request.param


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Mount a tmpfs. On an overlay, as in the lab, mkdir() passes the check twice: there and below."""
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


class Maker:
    """A process that creates folders on request."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", TOLD, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def make(self) -> int:
        """Return the error of making one, or 0."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def maker(folder: Path) -> Iterator[Maker]:
    new_maker = Maker(folder)
    yield new_maker
    new_maker.close()


@pytest.fixture
def other_maker(folder: Path) -> Iterator[Maker]:
    new_maker = Maker(folder)
    yield new_maker
    new_maker.close()


def run_injection(way, folder, count, *words):
    """Return the output of a command that makes folders, and the counts of inject."""
    command = [sys.executable, "-S", "-c", MAKE, folder, count]
    result = run(
        "inject", way[0], "ENOSPC", *way[1:], "-f", "json", "-o", "/dev/stderr", *words, "--", *command
    )
    assert result.status == 0, result.err
    failed = [tuple(map(int, line.split())) for line in result.out.splitlines()]
    assert {error for _, error in failed} <= {errno.ENOSPC}
    [record] = [json.loads(line) for line in result.err.splitlines() if line.startswith("{")]
    assert record["kind"] == "summary"
    assert record["calls"] == count
    assert record["failed"] == len(failed) == count - len(list(folder.iterdir()))
    return [number for number, _ in failed]


@pytest.mark.smoke
def test_all_calls_of_a_command_fail_and_no_others(way, folder, other_maker):
    assert run_injection(way, folder, 23) == list(range(1, 24))
    assert other_maker.make() == 0


def test_every_third_call_fails_up_to_a_limit_of_five(way, folder):
    assert run_injection(way, folder, 23, "--every", 3, "--times", 5) == [3, 6, 9, 12, 15]


def test_a_percentage_of_calls_fails(way, folder):
    failed = run_injection(way, folder, 1000, "--probability", 50)
    assert 300 < len(failed) < 700  # the bounds are twelve deviations away


def test_the_limit_holds_across_all_cpus(way, folder):
    script = 'for i in 1 2 3 4; do "$@" & done; wait'
    command = ["sh", "-c", script, "sh", sys.executable, "-S", "-c", MAKE, folder, 250]
    result = run("inject", way[0], "EIO", *way[1:], "--times", 101, "-o", "/dev/null", "--", *command)
    assert result.status == 0, result.err
    assert len(result.out.splitlines()) == 101
    assert len(list(folder.iterdir())) == 1000 - 101


def test_calls_of_the_selected_process_alone_fail(way, maker, other_maker):
    process = start("inject", way[0], "EROFS", *way[1:], "-p", maker.pid, "-f", "json", 60)
    assert [maker.make() for _ in range(7)] == [errno.EROFS] * 7
    assert [other_maker.make() for _ in range(5)] == [0] * 5
    result = stop(process, signal.SIGTERM)
    assert result.status == 0
    assert [(r["pid"], r["calls"], r["failed"]) for r in result.of("summary")] == [(maker.pid, 7, 7)]
    assert maker.make() == 0


def test_no_call_fails_after_the_tracer_was_killed(way, maker):
    process = start("inject", way[0], "EROFS", *way[1:], "-p", maker.pid)
    assert maker.make() == errno.EROFS
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: maker.make() == 0, "it is over")


def test_injection_ends_in_time_though_the_tracer_is_stopped(way, maker):
    process = start("inject", way[0], "EROFS", *way[1:], "-p", maker.pid, "-d", 5)
    assert maker.make() == errno.EROFS
    os.killpg(process.pid, signal.SIGSTOP)
    wait_for(lambda: maker.make() == 0, "the kernel looks at the clock")
    os.killpg(process.pid, signal.SIGCONT)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "FAILED" in out


def test_what_else_passes_a_check_is_said(way):
    result = run("inject", "security_bprm_check", "EPERM", "--dry-run", "--", "true")
    assert "warning  security_bprm_check is passed by exec, and by each interpreter of a script" in result.out


def test_every_check_may_fail_on_this_kernel():
    """Each is in the kernel's BTF with its LSM hook, so that no name of the table is wrong."""
    types = RunningKernel().types
    needs("BTF", types)
    assert types is not None
    functions = types.names(BtfKind.FUNC)
    assert [check.function for check in CHECKS.values() if check.function not in functions] == []
    hooks = {policy.LSM_PREFIX + check.hook for check in CHECKS.values()}
    assert not any(name.startswith(policy.LSM_PREFIX) for name in functions) or hooks <= functions


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["vfs_reed", "EIO", "--", "true"], 4, "error: "),
        (["security_file_alloc", "EIO", "--", "true"], 4, "is not among the 47 permission checks"),
        ([CHECK, "NULL", "--", "true"], 2, "cannot fail with NULL"),
        ([CHECK, "EIO"], 2, "--everyone"),
    ],
)
def test_invalid_requests_are_refused(words, status, message):
    result = run("inject", *words)
    assert (result.status, len(result.err.splitlines())) == (status, 2)
    assert message in result.err
