"""Test stacks of programs without frame pointers: whole, and frame by frame those of gdb."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from support.needs import running
from support.uprobes import Program
from support.workloads import workload

pytestmark = pytest.mark.kernel

CALLS = 23
MODES = (
    "plain",
    "sorted",
    "raised",
    "raised_elsewhere",
    "allocated",
    "aligned",
    "realigned",
    "saved",
    "threaded",
)
STARTS = {"_start", "clone3", "__clone3", "clone"}
WORK = "import json\nfor _ in range(8000):\n    json.dumps([{'a': 1, 'b': [1, 2, 3]}] * 100)\n"
READY = "input(print('ready') or '')\n"
_GDB_FRAME = re.compile(r"^#\d+ +(?:0x[0-9a-f]+ in )?(<signal handler called>|\S+)", re.MULTILINE)


def unwound(mode, *words, function="leaf"):
    """Return the user stacks of a function in a mode with their numbers of calls, and the result."""
    with Program(workload("unwound"), mode, CALLS) as program:
        result = program.seen_by("stackcount", "-U", *words, f"u:{workload('unwound')}:{function}")
    assert result.status == 0, result.err
    assert not result.of("loss")
    return {tuple(row["user"]): row["hits"] for row in result.of("summary")}, result


def backtrace(mode):
    """Return the names of gdb's backtrace at leaf, without those that only debug information has."""
    commands = ["set backtrace past-main on", "set backtrace past-entry on", "handle SIGUSR1 SIGUSR2 nostop"]
    commands += ["break leaf", f"run {mode} 1 < /dev/stdin", "bt"]
    words = [word for command in commands for word in ("-ex", command)]
    words += ["-iex", "set debug-file-directory /nonexistent", "-iex", "set debuginfod enabled off"]
    result = subprocess.run(
        ["gdb", "-batch", "-nx", *words, workload("unwound")], input="\n", capture_output=True, text=True
    )
    _, _, shown = result.stdout.rpartition("hit Breakpoint")
    return _GDB_FRAME.findall(shown)


@pytest.mark.smoke
def test_stacks_are_walked_by_tables_where_the_kernel_can():
    stacks, result = unwound("plain")
    if running().excuse("stacks by tables"):
        assert sum(stacks.values()) == CALLS
        return
    ((stack, calls),) = stacks.items()
    assert calls == CALLS
    assert stack[:4] == ("leaf", "middle", "plain", "main")
    assert stack[-1] == "_start"
    assert "frame pointers" not in result.err


@pytest.mark.lab
@pytest.mark.parametrize("mode", MODES)
def test_stacks_are_those_of_gdb(mode):
    if running().excuse("stacks by tables"):
        return
    stacks, _ = unwound(mode)
    ((stack, calls),) = stacks.items()
    assert calls == CALLS
    if shutil.which("gdb") is None:
        assert os.environ.get("PYTRACER_LAB"), "gdb is missing"  # the guests have none
        assert stack[-1] in STARTS
        return
    witness = backtrace(mode)
    assert len(stack) == len(witness), (stack, witness)
    own = {"leaf", "middle", "compare", "handle", "main", "_start", *MODES}
    for name, gdb_name in zip(stack, witness, strict=True):
        if gdb_name == "<signal handler called>":
            assert name == "__restore_rt" or name.startswith("libc.so.6+")
        elif {name, gdb_name} & own:
            assert name == gdb_name, (stack, witness)


@pytest.mark.parametrize(
    ("file", "words", "function", "start"),
    [
        ("returns.rs", [CALLS], "inner", "_start"),
        ("returns.cpp", [CALLS], "inner", "_start"),
        (
            "returns.cpp",
            [CALLS],
            "__gxx_personality_v0",
            "_start",
        ),  # while an exception looks for its handler
        ("returns.go", ["grow", CALLS], "main.Grow", "runtime.goexit.abi0"),
    ],
)
def test_stacks_of_other_languages_are_whole(file, words, function, start):
    path = "libstdc++" if function.startswith("__gxx") else workload(file)
    with Program(workload(file), *words) as program:
        result = program.seen_by("stackcount", "-U", f"u:{path}:{function}")
    assert result.status == 0, result.err
    rows = result.of("summary")
    assert sum(row["hits"] for row in rows) >= CALLS
    assert {row["user"][-1] for row in rows} == {start}
    assert all(len(row["user"]) > 2 for row in rows)


@pytest.mark.lab
def test_a_register_that_was_not_changed_leads_to_the_caller():
    if running().excuse("stacks by tables"):
        return
    stacks, _ = unwound("registered", function="quiet")
    ((stack, calls),) = stacks.items()
    assert calls == CALLS
    assert stack[:3] == ("quiet", "registered", "main")
    assert stack[-1] == "_start"


def test_frame_pointers_can_be_chosen():
    stacks, _ = unwound("plain", "--unwind", "fp")
    assert sum(stacks.values()) == CALLS
    assert all("main" not in stack for stack in stacks)


def whole(result):
    """Return the numbers of samples whose stack leads to the thread's start, and of all."""
    rows = result.of("summary")
    assert rows
    starts = sum(row["samples"] for row in rows if row["user"] and row["user"][-1] in STARTS)
    return starts, sum(row["samples"] for row in rows if row["user"])


@pytest.mark.parametrize(
    "words",
    [
        [workload("unwound"), "sorted", 2_000_000],
        ["/usr/bin/python3", "-u", "-c", "import json\n" + READY + WORK],
    ],
    ids=["C", "Debian's Python"],
)
def test_samples_are_whole(words):
    """Samples hit every instruction, also those of prologues and epilogues."""
    with Program(*words) as program:
        result = program.seen_by("profile", "-U", "-F", 997)
    assert result.status == 0, result.err
    found, all_samples = whole(result)
    assert all_samples > 100
    assert found >= 0.98 * all_samples, [row["user"] for row in result.of("summary")]


def test_a_library_that_is_loaded_later_is_known_soon():
    """While it is not, the stack says so."""
    with Program("/usr/bin/python3", "-u", "-c", READY + "import sqlite3\n" + WORK) as program:
        result = program.seen_by("profile", "-U", "-F", 997)
    found, all_samples = whole(result)
    assert found >= 0.5 * all_samples  # the machine may be busy
    assert any("_json" in frame for row in result.of("summary") for frame in row["user"])


def test_children_share_what_is_known_of_their_parent():
    script = f"import json, os\n{READY}child = os.fork()\n{WORK}child and os.waitpid(child, 0)\n"
    with Program("/usr/bin/python3", "-u", "-c", script) as program:
        result = program.seen_by("profile", "-U", "-F", 997, "--children")
    assert result.status == 0, result.err
    pids = {row["pid"] for row in result.of("summary") if row["user"]}
    assert len(pids) == 2
    found, all_samples = whole(result)
    assert found >= 0.98 * all_samples
