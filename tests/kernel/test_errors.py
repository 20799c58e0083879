"""Test errors: one line and a hint, with the documented exit status."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from resource import RLIMIT_NOFILE, setrlimit

import pytest

import pytracer
from support.cli import COMMAND, Result, run

pytestmark = pytest.mark.kernel


def failed(result: Result, status: int, *words: str) -> None:
    """Check for one line of error with these words, at most one line of hint, and nothing else."""
    lines = result.err.splitlines()
    assert result.status == status, result.err
    assert lines[0].startswith("pytracer: error: ")
    assert len(lines) <= 2
    assert all(line.startswith("hint: ") for line in lines[1:])
    for word in words:
        assert word in result.err


def unprivileged(*words: str, env: dict[str, str] | None = None) -> Result:
    """Run as nobody."""
    result = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        env=os.environ | {"HOME": "/nonexistent"} | (env or {}),
        check=False,
    )
    return Result(result.returncode, result.stdout, result.stderr)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["syscals"], 2, "did you mean syscalls?"),
        (["syscalls", "-e", "opnat"], 2, "did you mean"),
        (["syscalls", "-e", "!"], 2, "no system call is named"),
        (["syscalls", "-p", "4194304"], 2, "no process 4194304"),
        (["syscalls", "-p", "me"], 2, "no process 'me'"),
        (["syscalls", "-u", "nobody-of-that-name"], 2, "no user"),
        (["syscalls", "--cgroup", "/no/such"], 2, "no cgroup"),
        (["syscalls", "--container", "no-such-box"], 2, "no running container"),
        (["syscalls", "--netns", "no-such"], 2, "no net namespace"),
        (["syscalls", "--by", "colour"], 2, "keys: syscall, pid, comm"),
        (["syscalls", "--sort", "colour", "-d", "1"], 2, "no column"),
        (["syscalls", "--latency", "--errno", "-d", "1"], 2, "do not go together"),
        (["syscalls", "--hook", "syscall=magic", "-d", "1"], 2, "no alternative of hook syscall"),
        (["syscalls", "-d", "0"], 2, "no length of time"),
        (["syscalls", "1", "0"], 2, "COUNT"),
        (["syscalls", "--"], 2, "needs a command"),
        (["syscalls", "--", "no-such-command-here"], 2, "no command"),
        (["syscalls", "-o", "/no/such/folder/file", "-d", "1"], 2, "cannot write"),
        (["--strict"], 2, "the tracer comes first"),
    ],
)
def test_bad_words(words, status, message):
    failed(run(*words), status, message)


def test_a_file_that_cannot_be_executed(tmp_path):
    script = tmp_path / "rubbish"
    script.write_bytes(b"\x7fNOT-ELF")
    script.chmod(0o755)
    failed(run("syscalls", "--", script), 1, "cannot execute", "Exec format error")


def test_not_root():
    failed(unprivileged("syscalls"), 5, "CAP_BPF", "CAP_PERFMON", "sudo")
    failed(unprivileged("sockcount", "lo"), 5, "CAP_NET_RAW", "sudo")
    failed(unprivileged("funccount", "t:sched:sched_switch"), 5, "CAP_BPF and CAP_PERFMON", "sudo")


def test_commands_that_need_no_root():
    assert "syscalls" in unprivileged("list").out
    assert unprivileged("syscalls", "--help").status == 0
    assert "raw-tracepoint" in unprivileged("syscalls", "--dry-run").out
    assert "int enter(" in unprivileged("syscalls", "--emit-c").out
    doctor = unprivileged("doctor", "-f", "json")
    assert doctor.status == 0
    assert all(json.loads(line)["status"] for line in doctor.out.splitlines())


def test_an_unwritable_cache_that_was_requested(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    failed(run("syscalls", "-d", "1", env={"PYTRACER_CACHE_DIR": str(file / "below")}), 1, "cache")


def test_a_cache_that_others_can_write_is_not_trusted(tmp_path):
    tmp_path.chmod(0o777)
    failed(run("syscalls", "-d", "1", env={"PYTRACER_CACHE_DIR": str(tmp_path)}), 1, str(tmp_path))


def test_a_default_cache_that_cannot_be_used_is_a_warning(tmp_path):
    """Neither the folder that the environment names nor the user's own can be used."""
    (tmp_path / "cache").write_text("not a folder")
    code = (
        "import os, pwd, sys\nfrom pytracer.cli.main import main\n"
        f"real = pwd.getpwuid\nhome = {str(tmp_path / 'cache')!r}\n"
        "pwd.getpwuid = lambda number: pwd.struct_passwd((*real(number)[:5], home, ''))\n"
        "sys.exit(main(['syscalls', '-f', 'json', '--', 'true']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    assert result.returncode == 0
    assert result.stderr.startswith("pytracer: warning: ")
    assert "execve" in result.stdout


def test_output_that_cannot_be_written(tmp_path):
    failed(run("syscalls", "-o", "/dev/full", "--", "true"), 1, "No space left on device")
    stored = tmp_path / "kept"
    stored.write_text("what was there")
    failed(run("syscalls", "-o", stored, "--", "/no/such/command"), 2)
    assert stored.read_text() == "what was there"
    assert run("syscalls", "-o", stored, "-f", "csv", "--", "true").status == 0
    assert stored.read_text().startswith("kind,")


def test_more_rows_than_memory_holds():
    failed(run("syscalls", "--max-rows", "99999999999", "-d", "1"), 2, "are more than")


def test_no_bcc(tmp_path):
    failed(run("syscalls", "-d", "1", env={"PYTRACER_BCC": str(tmp_path)}), 1, "no BCC there", "install")


def test_broken_c_names_the_line(tmp_path):
    """The real C with one broken line, in a copy of the package."""
    copy = tmp_path / "pytracer"
    shutil.copytree(
        Path(pytracer.__file__).parent, copy, symlinks=False, ignore=shutil.ignore_patterns("__pycache__")
    )
    file = copy / "probes_c" / "syscalls.c"
    good = file.read_text()
    number = next(n for n, line in enumerate(good.splitlines(), 1) if "row->errors +=" in line)
    env = {"PYTHONPATH": str(tmp_path)}

    file.write_text(good.replace("row->errors +=", "row->mistakes +="))
    failed(run("syscalls", "-d", "1", env=env), 1, f"syscalls.c:{number}: no member named 'mistakes'")

    # LLVM complains of a stack that is too large, and ends the process that it is in.
    brace = "static __always_inline int on_enter(u32 nr)\n{\n"
    assert brace in good
    large = "    volatile char large[600];\n\n    large[nr & 511] = 1;\n    large[599] = 1;\n"
    file.write_text(good.replace(brace, brace + large))
    failed(run("syscalls", "-d", "1", env=env), 1, "syscalls.c does not compile: in function", "stack limit")

    # A pointer that was not checked: it compiles, and the verifier refuses it.
    file.write_text(good)
    included = copy / "probes_c/include/loss.h"
    check = "    if (lost)\n        (*lost)++;"
    assert check in included.read_text()
    included.write_text(included.read_text().replace(check, "    (*lost)++;"))
    result = run("syscalls", "-d", "1", env=env)
    failed(result, 1, "the verifier refused syscalls.c:", "map_value_or_null", "at loss.h:")
    log = Path(result.err.split("the whole log is in ")[1].strip())
    assert "map_value_or_null" in log.read_text()
    log.unlink()

    # The same, explained: the line of C, and what the words mean.
    number = next(n for n, line in enumerate(included.read_text().splitlines(), 1) if "(*lost)++;" in line)
    result = run("explain", "syscalls", "-d", "1", env=env)
    assert result.status == 1, result.err
    assert f">    {number:>4}      (*lost)++;\n" in result.out
    assert "What it means: The pointer may be NULL here." in result.out
    assert result.err == ""


def test_columns_that_the_c_does_not_have(tmp_path):
    copy = tmp_path / "pytracer"
    shutil.copytree(
        Path(pytracer.__file__).parent, copy, symlinks=False, ignore=shutil.ignore_patterns("__pycache__")
    )
    file = copy / "tracers" / "syscalls.py"
    file.write_text(file.read_text().replace('Column("errors",', 'Column("mistakes",'))
    failed(
        run("syscalls", "-d", "1", env={"PYTHONPATH": str(tmp_path)}),
        1,
        "'mistakes' is no member of map 'rows'",
    )


def test_a_folder_of_headers_beside_the_user_is_not_compiled(tmp_path):
    """BCC lets clang search the current folder first."""
    (tmp_path / "linux").mkdir()
    (tmp_path / "linux" / "sched.h").write_text("#error a stranger's header\n")
    result = run("syscalls", "-f", "json", "--", "true", cwd=tmp_path)
    assert result.status == 0, result.err
    assert result.of("summary")


def test_a_closed_output_ends_the_trace():
    result = subprocess.run(
        [
            "bash",
            "-o",
            "pipefail",
            "-c",
            f"{sys.executable} -m pytracer syscalls -f csv -p $$ 60 | head -n 1",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout.startswith("kind,")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("cached", [True, False])
def test_too_few_descriptors_are_the_reason_at_every_limit(cached, tmp_path):
    """BCC crashes without any descriptors, and blames the C if it has too few."""
    tmp_path.chmod(0o700)
    env = {} if cached else {"PYTRACER_CACHE_DIR": str(tmp_path)}
    statuses = []
    for limit in (64, 48, 32, 24, 20, 16, 12, 10, 8):
        for file in tmp_path.iterdir() if not cached else ():
            file.unlink() if file.is_file() else shutil.rmtree(file)
        options = {"preexec_fn": partial(setrlimit, RLIMIT_NOFILE, (limit, limit))}
        result = run("syscalls", "-f", "json", "--", "true", env=env, **options)
        statuses.append(result.status)
        if result.status:
            assert result.status == 1
            assert "open files" in result.err, (limit, result.err)
            assert result.err.endswith("\nhint: ulimit -n 1024\n")
            assert len(result.err.splitlines()) == 2
    assert statuses[0] == 0
    assert statuses[-1] == 1


FEW = {
    "opensnoop": ["opensnoop", "--", "true"],
    "profile": ["profile", "--", "true"],
    "funccount": ["funccount", "u:libc:malloc", "--", "true"],
    "trace": ["trace", "t:sched:sched_switch", "--", "true"],
    "sockcount": ["sockcount", "lo", "-d", 0.01],
    "list-probes": ["list-probes", "u:libc:malloc"],
    "doctor": ["doctor"],
}
"""Kinds of hooks that need descriptors for different things."""


@pytest.mark.parametrize("words", FEW.values(), ids=FEW)
def test_a_want_of_descriptors_is_never_an_answer_of_the_kernel(words):
    """A feature probe that lacks a descriptor was taken for an absent feature; no limit may have that
    effect."""
    for limit in (*range(5, 17), 20, 28, *range(31, 38, 2)):
        result = run(*words, preexec_fn=partial(setrlimit, RLIMIT_NOFILE, (limit, limit)))
        if result.status:
            failed(result, 1, "open files", "hint: ulimit -n 1024")
        assert "Too many open files" not in result.out


def test_a_failed_write_to_standard_output_ends_the_trace():
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*COMMAND, "execsnoop", "-f", "json", "--", "true"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert result.returncode == 1
    assert result.stderr == "pytracer: error: cannot write to standard output: No space left on device\n"
