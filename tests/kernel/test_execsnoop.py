"""Test execsnoop against a workload that executes only the given programs."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys

import pytest

from pytracer.bpf.sys import ProgType
from pytracer.features import feature_table
from pytracer.features.table.helpers import LOOP
from pytracer.spec.common import EXECUTED
from support import worker_ids
from support.calls import ALTERNATIVES as CALL_ALTERNATIVES
from support.calls import NATIVE_ONLY, is_granted
from support.cli import finish, run, start, stop
from support.stream import OldKernel, by_perf_rings, events
from support.workloads import workload

pytestmark = pytest.mark.kernel

TRUE = "/bin/true"
ALTERNATIVES = [alternative.name for alternative in EXECUTED.alternatives]


def execs(*words):
    return ["--", workload("execs"), *words]


def executed_events(*words, options=()):
    """Return the events of the programs that the workload executed, without its own event."""
    first, *executed = events("execsnoop", *options, *execs(*words))
    assert first["comm"] == "execs"
    assert first["args"] == shlex.join([workload("execs"), *map(str, words)])
    assert first["err"] is None
    for record in executed:
        assert record["uid"] == os.getuid()
        assert record["ppid"] == first["pid"] or record["pid"] == first["pid"]
    return executed


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_23_are_23(alternative):
    actual = executed_events(
        "times", 23, TRUE, "a b", "", "$c", options=["--hook", f"executed={alternative}"]
    )
    assert [r["args"] for r in actual] == ["/bin/true 'a b' '' '$c'"] * 23
    assert len({r["pid"] for r in actual}) == 23
    assert {(r["comm"], r["err"]) for r in actual} == {("true", None)}


@pytest.mark.smoke
@pytest.mark.lab
def test_arguments_of_any_length_are_whole():
    sizes = [1, 16000, 16384 - len(TRUE) - 2, 16384, 100_000, 131_071]
    for size in sizes:  # the last is the longest that Linux takes (MAX_ARG_STRLEN)
        assert [r["args"] for r in executed_events("long", size, TRUE)] == [f"{TRUE} {'y' * size}"]
    numbers = " ".join(map(str, range(1009)))
    assert [r["args"] for r in executed_events("many", 1009, TRUE)] == [f"{TRUE} {numbers}"]


def test_the_longest_arguments_that_linux_accepts():
    """45 arguments of 128 KB are nearly the 6 MB that an unlimited stack allows."""
    code = (
        "import os, resource as r\nr.setrlimit(r.RLIMIT_STACK, (r.RLIM_INFINITY,) * 2)\n"
        f"os.execve({TRUE!r}, [{TRUE!r}, *(chr(97 + i % 26) * 131000 for i in range(45))], {{}})"
    )
    last = events("execsnoop", "--", sys.executable, "-c", code)[-1]
    words = [TRUE, *(chr(97 + i % 26) * 131000 for i in range(45))]
    assert last["args"] == " ".join(words)


def at_once(letters, times):
    """Return a script that executes with 60,000 times each of the letters, all at once."""
    long = "$(head -c 60000 /dev/zero | tr '\\0' %s)"
    return "".join(f"{workload('execs')} times {times} {TRUE} {long % x} & " for x in letters) + "wait"


def test_parts_of_several_processors_are_put_together():
    actual = events("execsnoop", "--comm", "true", "--", "sh", "-c", at_once("abcd", 23))
    expected = [f"{TRUE} {letter * 60_000}" for letter in "abcd" for _ in range(23)]
    assert sorted(r["args"] for r in actual) == expected


@pytest.mark.lab
def test_perf_rings_give_the_same():
    actual, lost = by_perf_rings("execsnoop", "--comm", "true", "--", "sh", "-c", at_once("ab", 11))
    assert not lost
    assert sorted(r["args"] for r in actual) == [
        f"{TRUE} {letter * 60_000}" for letter in "ab" for _ in range(11)
    ]


def test_arguments_are_truncated_to_the_programs_room_on_kernels_without_loops():
    long = "$(head -c 90000 /dev/zero | tr '\\0' a) $(head -c 8000 /dev/zero | tr '\\0' b)"
    numbers = " ".join(map(str, range(1, 13)))
    script = f"{workload('execs')} times 3 {TRUE} {long}; {workload('execs')} times 2 /pt/no {numbers}"
    names = ["--comm", "true", "--comm", "execs"]
    actual, lost = by_perf_rings("execsnoop", "-x", *names, "--", "sh", "-c", script, facts=OldKernel)
    expected_args = [f"{TRUE} {'a' * 90000} {'b' * 8000}"] * 3
    assert [r["args"] for r in actual if r["comm"] == "true"] == expected_args
    assert [r["args"] for r in actual if r["err"]] == ["/pt/no 1 2 3 4 5 6 7 8 9 10 11"] * 2
    assert lost == {"truncated": 2}


@pytest.mark.lab
def test_a_thread_that_executes_has_the_process_id_of_its_leader():
    actual = events("execsnoop", "--", workload("leader"), TRUE, "a", "b")
    assert [r["args"] for r in actual] == [f"{workload('leader')} {TRUE} a b", f"{TRUE} a b"]
    assert actual[0]["pid"] == actual[1]["pid"]


def test_without_any_argument():
    """Since Linux 5.18 (dcd46d897adb) the kernel adds an empty argument."""
    [record] = executed_events("none", TRUE)
    assert record["args"] in ("", "''")


def test_execveat(tmp_path):
    [record] = executed_events("at", "/bin", "true", "a")
    assert (record["args"], record["err"]) == ("true a", None)
    [record] = executed_events("handle", TRUE, "a")
    assert (record["args"], record["err"]) == (f"{TRUE} a", None)


def test_a_script_is_its_interpreters(tmp_path):
    script = tmp_path / "a script"
    script.write_text("#!/bin/sh -e\ntrue\n")
    script.chmod(0o755)
    [record] = executed_events("times", 1, script, "x")
    assert record["args"] == f"/bin/sh -e '{script}' x"
    assert record["comm"] == "a script"


def test_failures(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    plain.chmod(0o644)
    events_of_both = events(
        "execsnoop",
        "--failed",
        "--",
        "sh",
        "-c",
        f"{workload('execs')} times 23 /pt/no 'a b' ''; {workload('execs')} times 7 {plain} c",
    )
    failed = [(r["args"], r["err"]) for r in events_of_both if r["err"]]
    assert failed == [("/pt/no 'a b' ''", "ENOENT")] * 23 + [(f"{plain} c", "EACCES")] * 7
    assert {r["comm"] for r in events_of_both if r["err"]} == {"execs"}
    assert len([r for r in events_of_both if not r["err"]]) == 3
    assert executed_events("times", 23, "/pt/no") == []  # not asked for


@pytest.mark.lab
@pytest.mark.parametrize("alternative", CALL_ALTERNATIVES)
def test_failures_of_other_calls(alternative):
    options = ["-x", "--hook", f"return={alternative}"]
    if not is_granted("execsnoop", alternative, "-x"):
        return
    [record] = executed_events("at", "/bin", "pt-no", "a", options=options)
    assert (record["args"], record["err"]) == ("pt-no a", "ENOENT")
    actual = executed_events("compat", 23, options=options)
    compat = 0 if alternative == NATIVE_ONLY else 23
    assert [(r["args"], r["err"]) for r in actual] == [("/nowhere b", "ENOENT")] * compat
    [record] = executed_events("bad", options=options)
    assert (record["args"], record["err"]) == ("''", "EFAULT")


@pytest.mark.lab
def test_arguments_of_failed_execs_are_truncated():
    # The path, in the first argument's place, then as many as fit, each in half the room at most.
    [record] = executed_events("many", 200, "/pt/no", options=["-x"])
    assert record["args"] == " ".join(["/pt/no", *map(str, range(200))])
    result = run("execsnoop", "-x", "-f", "json", *execs("long", 100_000, "/pt/no"))
    assert result.of("event")[-1]["args"] == "/pt/no " + "y" * 8191
    assert [(r["reason"], r["lost"]) for r in result.of("loss")] == [("truncated", 1)]
    result = run("execsnoop", "-x", "-f", "json", *execs("many", 5003, "/pt/no"))
    expected_args = result.of("event")[-1]["args"].split(" ")
    assert ["/pt/no", *map(str, range(5003))][: len(expected_args)] == expected_args
    called = not feature_table.helper_refusal(ProgType.RAW_TRACEPOINT, LOOP.number)
    assert len(" ".join(expected_args)) > 8192 if called else len(expected_args) == 256
    assert [(r["reason"], r["lost"]) for r in result.of("loss")] == [("truncated", 1)]


HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07",
    "a\nb\r\n",
    "\"a' b\\x1b",
    "\u202egnp.exe",
    "",
    " ",
    "\udcff\udcfeb",
    "\\xff",
]


def test_hostile_arguments_are_text_on_one_line_and_unambiguous():
    result = run("execsnoop", *execs("times", 1, TRUE, *HOSTILE))
    line = result.out.splitlines()[-1]
    assert len(result.out.splitlines()) == 3
    assert [c for c in result.out if c != "\n" and not c.isprintable()] == []
    # What is shown, a shell makes into the same again.
    quoted = line[line.index(TRUE) :].removeprefix(TRUE)
    script = f"for word in {quoted}; do printf '%s\\0' \"$word\"; done"
    words = subprocess.run(
        ["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    ).stdout
    assert words == b"".join(os.fsencode(word) + b"\0" for word in HOSTILE)


def test_events_lost_to_a_full_ring_are_counted():
    """Records of 16 KB never fit; short ones are shown or lost."""
    expected = 101
    script = (
        f"{workload('execs')} times {expected} {TRUE} {'z' * 20_000}; {workload('execs')} times 23 {TRUE}"
    )
    result = run("execsnoop", "-f", "json", "--strict", "--buffer", "4k", "--", "sh", "-c", script)
    assert result.status == 3
    assert {r["reason"] for r in result.of("loss")} == {"ring_full"}
    assert len(result.of("event")) + sum(r["lost"] for r in result.of("loss")) == 3 + expected + 23


@pytest.mark.lab
def test_an_event_whose_rest_found_no_room_is_shown_cut_and_counted():
    result = run("execsnoop", "-f", "json", "--buffer", "32k", *execs("long", 120_000, TRUE))
    first, last = result.of("event")
    assert first["comm"] == "execs"
    assert last["args"] == f"{TRUE} {'y' * (len(last['args']) - len(TRUE) - 1)}"
    assert len(last["args"]) % 16384 == 0  # as many parts as fitted
    assert [(r["reason"], r["lost"]) for r in result.of("loss")] == [("truncated", 1)]


def test_only_descendants_of_the_command_are_followed():
    script = f"({workload('execs')} times 5 {TRUE} in &); wait; sleep 0.2"
    other = f"for i in $(seq 50); do {TRUE} outside; done"
    outside = subprocess.Popen(["sh", "-c", other])
    actual = events("execsnoop", "--", "sh", "-c", script)
    outside.wait()
    assert [r["args"] for r in actual if r["comm"] == "true"] == [f"{TRUE} in"] * 5
    assert not [r for r in actual if "outside" in r["args"]]


@pytest.mark.parametrize("filter_kind", ["-p", "-u", "--netns"])
def test_filters(filter_kind):
    """One process executes while it is traced, and another one beside it."""
    prelude = {
        "-u": f"import os; os.setuid({worker_ids.UID})\n",
        "--netns": "import ctypes; assert ctypes.CDLL(None).unshare(0x40000000) == 0\n",
    }.get(filter_kind, "")
    code = "import os, sys\nprint(flush=True)\nsys.stdin.readline()\nos.execv('/bin/true', ['true', %r])"
    selected, other = (
        subprocess.Popen(
            [sys.executable, "-c", (prelude if word == "in" else "") + code % word],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for word in ("in", "out")
    )
    assert (selected.stdout.readline(), other.stdout.readline()) == ("\n", "\n")
    tracer = start(
        "execsnoop", "-f", "json", filter_kind, worker_ids.UID if filter_kind == "-u" else selected.pid
    )
    other.communicate("\n")
    selected.communicate("\n")
    # With -p it ends when the process does.
    result = finish(tracer) if filter_kind == "-p" else stop(tracer, signal.SIGTERM)
    [record] = result.of("event")
    assert (record["pid"], record["args"]) == (selected.pid, "true in")


@pytest.mark.lab
def test_a_setuid_program_has_both_users(tmp_path):
    program = tmp_path / "true"
    shutil.copy(TRUE, program)
    os.chown(program, worker_ids.UID, -1)
    program.chmod(0o4755)
    tmp_path.chmod(0o755)
    [record] = events("execsnoop", "--", program)
    assert (record["uid"], record["euid"]) == (os.getuid(), worker_ids.UID)
    [record] = events("execsnoop", "--", TRUE)
    assert (record["uid"], record["euid"]) == (os.getuid(), os.geteuid())


def test_a_script_without_an_interpreter_is_run_by_the_shell(tmp_path):
    script = tmp_path / "script"
    script.write_text(f"{TRUE} a\n")
    script.chmod(0o755)
    code = f"import os; os.execvp({str(script)!r}, [{str(script)!r}])"
    first, failed = events(
        "execsnoop", "-x", "--", sys.executable, "-c", f"try:\n {code}\nexcept OSError: pass"
    )
    assert first["err"] is None
    assert (failed["err"], failed["args"]) == ("ENOEXEC", str(script))
    actual = events("execsnoop", "-x", "--", "bash", "-c", f"{script}; :")
    assert [(r["err"], r["args"]) for r in actual[1:]] == [
        ("ENOEXEC", str(script)),
        (None, f"{TRUE} a"),
    ]
