"""Test inject by filters of system calls: exactly the requested calls of the command fail."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import unprivileged
from support.cli import Result, run, start, stop, wait_for
from support.workloads import workload

pytestmark = [pytest.mark.kernel, pytest.mark.lab]
# Makes so many folders, and prints the number of each that could not be made, and why.
MAKE = """
import os, sys
for number in range(1, int(sys.argv[2]) + 1):
    try:
        os.mkdir(f"{sys.argv[1]}/{os.getpid()}-{number}")
    except OSError as error:
        os.write(1, b"%d %d\\n" % (number, error.errno))  # at once: others write there, too
"""
# Makes a folder whenever one is asked for, by a file, and answers by another: the error, or 0.
TOLD = """
import os, sys, time
folder = sys.argv[1]
for number in range(1, 1000):
    while not os.path.exists(f"{folder}/ask-{number}"):
        time.sleep(0.01)
    try:
        os.mkdir(f"{folder}/made-{number}")
        answer = 0
    except OSError as error:
        answer = error.errno
    with open(f"{folder}/wip", "w") as file:
        print(answer, os.getpid(), file=file)
    os.rename(f"{folder}/wip", f"{folder}/answer-{number}")
"""
COUNTED = ("--hook", "call=seccomp-notify")
ALWAYS = ("--hook", "call=seccomp-errno")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder for those that are made."""
    made = tmp_path / "made"
    made.mkdir()
    return made


def inject(*words: object) -> tuple[Result, list[dict[str, object]]]:
    """Return the result, and the rows of the whole run."""
    result = run("inject", "-f", "json", "-o", "/dev/stderr", *words)
    records = [json.loads(line) for line in result.err.splitlines() if line.startswith("{")]
    return result, [record for record in records if record["kind"] == "summary"]


def make(folder: Path, number: int) -> list[object]:
    return [sys.executable, "-S", "-c", MAKE, folder, number]


def failures(result: Result) -> list[tuple[int, int]]:
    assert result.status == 0, result.err
    return [(int(number), int(error)) for number, error in map(str.split, result.out.splitlines())]


class Maker:
    """The other end of TOLD."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self.pid = 0

    def make(self) -> int:
        self._number += 1
        (self._folder / f"ask-{self._number}").touch()
        answer = self._folder / f"answer-{self._number}"
        wait_for(answer.exists, "an answer")
        error, self.pid = map(int, answer.read_text().split())
        return error

    def end(self) -> None:
        """Kill it, and wait until no process, such as the supervisor, has its folder among its words."""
        os.kill(self.pid, signal.SIGKILL)
        wait_for(lambda: not self.find_processes(), "all have ended")

    def find_processes(self) -> list[int]:
        """Return the processes that have the folder among their words."""
        name = os.fsencode(self._folder)
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                found += [int(path.parent.name)] if name in path.read_bytes() else []
            except OSError:
                continue
        return found


@pytest.mark.smoke
def test_every_call_of_the_command_fails_and_no_other_does(folder):
    result, rows = inject("mkdir", "EROFS", "--", *make(folder, 23))
    assert failures(result) == [(number, errno.EROFS) for number in range(1, 24)]
    assert [(row["calls"], row["failed"]) for row in rows] == [(None, None)]
    result, rows = inject("mkdir", "EROFS", *COUNTED, "--", *make(folder, 23))
    assert failures(result) == [(number, errno.EROFS) for number in range(1, 24)]
    assert [(row["comm"], row["calls"], row["failed"]) for row in rows] == [
        (Path(sys.executable).name[:15], 23, 23)
    ]
    assert not list(folder.iterdir())
    subprocess.run([str(word) for word in make(folder, 23)], check=True)
    assert len(list(folder.iterdir())) == 23


def test_every_third_call_fails_up_to_a_limit_of_five(folder):
    result, rows = inject("mkdir", "EIO", "--every", 3, "--times", 5, "--", *make(folder, 23))
    assert failures(result) == [(number, errno.EIO) for number in (3, 6, 9, 12, 15)]
    assert [(row["calls"], row["failed"]) for row in rows] == [(23, 5)]


def test_a_percentage_of_calls_fails(folder):
    result, rows = inject("mkdir", "EIO", "--probability", 50, "--", *make(folder, 1000))
    failed = failures(result)
    assert 300 < len(failed) < 700  # the bounds are twelve deviations away
    assert [(row["calls"], row["failed"]) for row in rows] == [(1000, len(failed))]


def test_the_limit_holds_across_the_children_of_the_command(folder):
    script = 'for i in 1 2 3 4; do "$@" & done; wait'
    result, rows = inject("mkdir", "EIO", "--times", 101, "--", "sh", "-c", script, "sh", *make(folder, 250))
    assert len(failures(result)) == 101
    assert len(list(folder.iterdir())) == 1000 - 101
    assert sorted(row["calls"] for row in rows) == [250] * 4
    assert sum(row["failed"] for row in rows) == 101
    assert len({row["pid"] for row in rows}) == 4


def test_children_inherit_the_filter_that_lets_all_fail(folder):
    script = '"$@"; "$@" &  wait'
    result, _ = inject("mkdir", "EIO", *ALWAYS, "--", "sh", "-c", script, "sh", *make(folder, 7))
    assert failures(result) == 2 * [(number, errno.EIO) for number in range(1, 8)]


@pytest.mark.parametrize("way", [ALWAYS, COUNTED])
def test_calls_with_the_arguments_fail(tmp_path, way):
    """Opens that create fail; those with O_EXCL beside it, and opens to read, do not."""
    code = """
import os, sys
for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_EXCL):
    try:
        os.close(os.open(sys.argv[1 + (flags == 0)] + str(flags) * (flags > 0), flags))
        print("0")
    except OSError as error:
        print(error.errno)
"""
    words = ["--where", "arg3 & O_CREAT && (arg3 & O_EXCL) == 0 && (int)arg1 == -100"]
    command = [sys.executable, "-S", "-c", code, tmp_path / "new", "/dev/null"]
    result, rows = inject("openat", "EDQUOT", *words, *way, "--", *command)
    assert result.status == 0, result.err
    assert result.out.split() == ["0", str(errno.EDQUOT), "0"]
    assert [row["failed"] for row in rows] == [None if way == ALWAYS else 1]


def test_calls_by_other_abis_pass():
    """getppid has the number 110 here and 64 for 32-bit programs, where 110 and 64 are other calls."""
    for kind, call, count in (
        ("getppid", "getppid", 23),
        ("compat", "getppid", 0),
        ("compat", "semget", 0),  # 64
        ("x32", "getppid", 0),
    ):
        result, rows = inject(call, "EPERM", *COUNTED, "--", workload("calls"), kind, 23)
        assert result.status == 0, result.err
        assert sum(row["failed"] for row in rows) == count


def test_the_command_itself_is_executed_where_execve_fails():
    script = "echo started; /bin/true; echo $?"
    result, rows = inject("execve", "EACCES", "--", "sh", "-c", script)
    assert result.out.split() == ["started", "126"]
    assert [(row["calls"], row["failed"]) for row in rows] == [(1, 1)]
    result = run("inject", "execve", "EACCES", *ALWAYS, "--", "true")
    assert result.status == 4
    assert "the command itself could not be executed" in result.err


def test_one_filter_at_a_time_asks_a_process():
    inner = [sys.executable, "-m", "pytracer", "inject", "mkdir", "EIO"]
    words = ["inject", "rmdir", "EIO", *COUNTED, "--", *inner]
    result = run(*words, *COUNTED, "--", "true")
    assert result.status == 4
    assert "a filter that we run under asks a process already" in result.err
    assert run(*words, *ALWAYS, "--", "true").status == 0


def test_a_command_that_cannot_be_executed_is_reported(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    for way in (ALWAYS, COUNTED):
        result = run("inject", "mkdir", "EIO", *way, "--", script)
        assert result.status == 1
        assert "cannot execute" in result.err


def test_root_keeps_what_programs_gain_by_executing():
    for way in (ALWAYS, COUNTED):
        result, _ = inject(
            "mkdir", "EIO", *way, "--", "grep", "-h", "NoNewPrivs\\|Seccomp:", "/proc/self/status"
        )
        assert result.out.split() == ["NoNewPrivs:", "0", "Seccomp:", "2"]


def test_calls_pass_after_the_tracer_was_killed(folder):
    maker = Maker(folder)
    process = start("inject", "mkdir", "EROFS", *COUNTED, "--", sys.executable, "-S", "-c", TOLD, folder)
    assert maker.make() == errno.EROFS
    process.kill()
    process.wait()  # the command has its pipes
    wait_for(lambda: maker.make() == 0, "it is over")
    assert [maker.make() for _ in range(7)] == [0] * 7
    maker.end()
    process.communicate()


def test_calls_fail_with_enosys_once_the_supervisor_was_killed(folder):
    """That is the kernel's answer where nobody gives one. pytracer says so, and ends well."""
    maker = Maker(folder)
    process = start("inject", "mkdir", "EROFS", *COUNTED, "--", sys.executable, "-S", "-c", TOLD, folder)
    assert maker.make() == errno.EROFS
    [supervisor] = {*maker.find_processes()} - {process.pid, maker.pid}
    os.kill(supervisor, signal.SIGTERM)  # which it blocks
    assert maker.make() == errno.EROFS
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: maker.make() == errno.ENOSYS, "nobody answers")
    result = stop(process, signal.SIGTERM)
    assert "fail with ENOSYS from then on" in result.err
    wait_for(lambda: not maker.find_processes(), "all have ended")


def test_calls_of_what_the_command_leaves_behind_pass_after_the_end(folder):
    maker = Maker(folder)
    command = ["sh", "-c", '"$@" >/dev/null 2>&1 & sleep 1', "sh", sys.executable, "-S", "-c", TOLD, folder]
    process = start("inject", "mkdir", "EROFS", *COUNTED, "-f", "json", "--", *command)
    assert maker.make() == errno.EROFS
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "descendants of the command still run" in err
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["calls"], row["failed"]) for row in rows if row["kind"] == "summary"] == [(1, 1)]
    assert [maker.make() for _ in range(7)] == [0] * 7
    maker.end()


def test_faults_end_in_time_though_the_tracer_is_stopped(folder):
    maker = Maker(folder)
    command = [sys.executable, "-S", "-c", TOLD, folder]
    process = start("inject", "mkdir", "EROFS", *COUNTED, "-d", 3, "--", *command)
    assert maker.make() == errno.EROFS
    os.kill(process.pid, signal.SIGSTOP)
    wait_for(lambda: maker.make() == 0, "the supervisor looks at the clock")
    os.kill(process.pid, signal.SIGCONT)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "FAILED" in out
    wait_for(lambda: not Path(f"/proc/{maker.pid}").exists(), "the command was ended")


def test_signals_do_not_change_what_is_counted(folder):
    """Timer signals interrupt each call; where they may (before 5.19), it is made again."""
    code = "import signal; signal.signal(signal.SIGALRM, lambda *_: None)\n"
    code += "signal.siginterrupt(signal.SIGALRM, False); signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n"
    end = "signal.setitimer(signal.ITIMER_REAL, 0)\n"
    command = [sys.executable, "-S", "-c", code + MAKE + end, folder, 200]
    result, rows = inject("mkdir", "EIO", "--every", 2, "--", *command)
    assert failures(result) == [(number, errno.EIO) for number in range(2, 201, 2)]
    assert [(row["calls"], row["failed"]) for row in rows] == [(200, 100)]


def test_it_ends_with_a_signal(folder):
    maker = Maker(folder)
    process = start("inject", "mkdir", "EROFS", *COUNTED, "--", sys.executable, "-S", "-c", TOLD, folder)
    assert maker.make() == errno.EROFS
    result = stop(process, signal.SIGTERM)
    assert result.status in (0, 128 + signal.SIGTERM)
    wait_for(lambda: not maker.find_processes(), "all have ended")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["mkdir", "EIO", *ALWAYS, "-p", 1], 4, "without -p and other filters"),
        (["mkdir", "EIO", *ALWAYS, "--times", 3, "--", "true"], 4, "it lets every call fail (--times)"),
        (["mkdir", "EIO", *ALWAYS, "--wait-all", "--", "true"], 4, "--wait-all"),
        (["mkdir", "NULL", "--", "true"], 2, "cannot fail with NULL"),
        (["exit_group", "EIO", "--", "true"], 2, "never fails"),
        (["mkdir", "EIO", "--where", "arg1 < -1", "--", "true"], 2, "a negative number"),
        (["mkdir", "EIO", "--where", "", "--", "true"], 2, "missing"),
        (["vfs_mkdir", "EIO", "--where", "arg1", "--", "true"], 2, "is no system call"),
    ],
)
def test_invalid_requests_are_refused(words, status, message):
    result = run("inject", *words)
    assert result.status == status
    assert message in result.err


@pytest.mark.parametrize(("way", "counts"), [("errno", (None, None)), ("notify", (23, 23))])
def test_an_ordinary_user_needs_no_privileges(way, counts):
    """Nobody makes folders in /proc, but a call that fails with EIO is ours."""
    words = ["inject", "mkdir", "EIO", "--hook", f"call=seccomp-{way}", "-f", "json"]
    result = unprivileged.python("-m", "pytracer", *words, "--", *map(str, make(Path("/proc"), 23)))
    lines = result.stdout.splitlines()
    assert lines[:23] == [f"{number} {errno.EIO}" for number in range(1, 24)], result.stderr
    [row] = map(json.loads, lines[23:])
    assert (row["calls"], row["failed"]) == counts
