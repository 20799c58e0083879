"""Test stacks of programs without frame pointers: whole, and frame by frame those of gdb."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from pytracer.symbols import memory_maps
from pytracer.symbols.memory_maps import Handle
from support.cli import run
from support.needs import running
from support.uprobes import Program
from support.workloads import SOURCES, workload

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


@pytest.mark.lab
def test_the_first_stack_of_a_command_is_whole():
    """main runs long before the mappings of its process can be read. The program is on a file system whose
    devices are those of the kernel, unlike a guest's root."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = f"{folder}/unwound"
        flags = ["-O2", "-fomit-frame-pointer", "-pthread", "-static"]
        subprocess.run(["gcc", *flags, "-o", path, SOURCES / "unwound.c"], check=True)
        assert_first_stack_is_whole(path)


def test_the_first_stack_leads_through_a_library():
    libc = next(
        mapping for mapping in memory_maps.parse(memory_maps.read(os.getpid())) if "libc.so" in mapping.path
    )
    with Handle(Path(libc.path)) as handle, Handle(Path(workload("unwound"))) as program:
        if not handle.has_own_devices and not program.has_own_devices:
            assert_first_stack_is_whole(workload("unwound"))


def assert_first_stack_is_whole(path):
    result = run("stackcount", "-U", "-f", "json", f"u:{path}:main", "--", path, "plain", 1, input="\n")
    assert result.status == 0, result.err
    [row] = [json.loads(line) for line in result.out.splitlines() if line.startswith("{")]
    assert row["hits"] == 1
    if not running().excuse("stacks by tables"):
        assert (row["user"][0], row["user"][-1]) == ("main", "_start")
        assert "frame pointers" not in result.err


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


def script_outputs(result, kind):
    """Return the data of what a script printed."""
    return [record["data"] for record in result.lines if record["type"] == kind]


def script_stacks(*words, block):
    """Return the maps that a script makes of the calls of leaf() by main()."""
    path = workload("unwound")
    with Program(path, "plain", CALLS) as program:
        text = f"uprobe:{path}:leaf {{ {block} }}"
        result = program.seen_by("script", "-q", *words, "-e", text)
    assert result.status == 0, result.err
    maps = {}
    for data in script_outputs(result, "map"):
        maps |= data
    return maps, result


@pytest.mark.lab
def test_scripts_have_whole_stacks_in_maps_and_text():
    block = "@[ustack] = count(); @two[ustack(2)] = count(); @raw[dw_ustack(raw)] = count(); "
    block += 'printf("%s", ustack(perf, 3)); for ($i : 0..2) { @twice[ustack] = count(); }'
    if running().excuse("stacks by tables"):
        maps, _ = script_stacks(block="@[ustack] = count();")
        assert sum(maps["@"].values()) == CALLS
        return
    maps, result = script_stacks(block=block)
    assert "frame pointers" not in result.err
    ((stack, calls),) = maps["@"].items()
    names = [re.sub(r"[+@].*", "", line) for line in stack.splitlines()]
    assert names[:4] == ["leaf", "middle", "plain", "main"]
    assert names[-1] == "_start"
    assert calls == CALLS
    assert maps["@twice"] == {stack: 2 * CALLS}
    assert maps["@two"] == {"\n".join(stack.splitlines()[:2]): CALLS}
    ((raw, calls),) = maps["@raw"].items()
    assert (len(raw.splitlines()), calls) == (sum(not name.startswith("[inlined]") for name in names), CALLS)
    printed = script_outputs(result, "printf")
    assert [len(text.split("\n")) for text in printed] == [5] * CALLS


def test_scripts_name_functions_of_python():
    work = "import os\ndef inner():\n    os.getppid()\ndef outer():\n    inner()\n"
    work += "input(print('ready') or '')\nfor _ in range(23):\n    outer()\n"
    with Program("/usr/bin/python3", "-u", "-c", work) as program:
        text = "tracepoint:syscalls:sys_enter_getppid { @[ustack] = count(); }"
        result = program.seen_by("script", "-q", "-e", text)
    assert result.status == 0, result.err
    ((stack, calls),) = script_outputs(result, "map")[0]["@"].items()
    assert calls == 23
    assert "\ninner (<string>:2)\nouter (<string>:4)\n<module> (<string>:1)\n" in stack
    assert stack.splitlines()[-1].startswith("_start+")


@pytest.mark.lab
def test_scripts_can_choose_frame_pointers():
    maps, _ = script_stacks("--unwind", "fp", block="@[ustack] = count();")
    assert sum(maps["@"].values()) == CALLS
    assert all("main+" not in stack for stack in maps["@"])
    result = run("script", "--unwind", "fp", "-e", "begin { print(dw_ustack); }")
    assert (result.status, "ustack()" in result.err) == (2, True)


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
