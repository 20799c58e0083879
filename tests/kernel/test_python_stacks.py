"""Test stacks of Python programs: the functions that CPython runs, as Python sees them, among those of C."""

from __future__ import annotations

import json

import pytest

from support.cli import run
from support.needs import running
from support.uprobes import Program

pytestmark = pytest.mark.kernel

CALLS = 23
PYTHON = "/usr/bin/python3.11"
SCRIPT = """
import asyncio, json, os, sys, threading
seen = None
def leaf():
    global seen
    frame, seen = sys._getframe(), []
    while frame:
        code = frame.f_code
        seen.append(f"{code.co_qualname} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})")
        frame = frame.f_back
    try:
        os.close(-1)
    except OSError:
        pass
class Worker:
    def __init__(self, depth):
        self.depth = depth
    def middle(self):
        if self.depth:
            Worker(self.depth - 1).middle()
        else:
            leaf()
def generator():
    yield leaf()
def plain():
    Worker(0).middle()
def nested():
    Worker(3).middle()
def called_from_c():
    sorted([1], key=lambda _: leaf())
def generated():
    list(generator())
def comprehended():
    [leaf() for _ in range(1)]
def threaded():
    thread = threading.Thread(target=plain)
    thread.start()
    thread.join()
async def coroutine():
    leaf()
def awaited():
    asyncio.run(coroutine())
print("ready", flush=True)
input()
for _ in range(int(sys.argv[2])):
    globals()[sys.argv[1]]()
print(json.dumps(seen))
"""
MODES = ("plain", "nested", "called_from_c", "generated", "comprehended", "threaded", "awaited")


def traced(mode, *words):
    """Return the user stacks of close(-1) in a mode with their numbers, and the functions that Python itself
    saw."""
    with Program(PYTHON, "-c", SCRIPT, mode, CALLS) as program:
        result = program.seen_by("stackcount", "-U", *words, "t:syscalls:sys_enter_close")
        seen = json.loads(program.output)
    assert result.status == 0, result.err
    assert not result.of("loss")
    stacks = {tuple(row["user"]): row["hits"] for row in result.of("summary")}
    return {stack: hits for stack, hits in stacks.items() if any("leaf" in name for name in stack)}, seen


def python_part(stack):
    return [name for name in stack if name.endswith(")") and ":" in name]


@pytest.mark.lab
@pytest.mark.parametrize("mode", MODES)
def test_functions_are_those_that_python_sees(mode):
    if running().excuse("stacks by tables"):
        return
    stacks, seen = traced(mode)
    assert sum(stacks.values()) == CALLS
    for stack in stacks:
        assert python_part(stack) == seen
        assert "_PyEval_EvalFrameDefault" not in stack
        assert stack[-1] in ("_start", "clone3", "__clone3")


def test_functions_stand_between_those_of_c():
    """A comparison key is called by sorted(), which is C."""
    stacks, _ = traced("called_from_c")
    for stack in stacks:
        names = [name.partition(" (")[0] for name in stack]
        key, caller = names.index("called_from_c.<locals>.<lambda>"), names.index("called_from_c")
        assert caller - key > 1
        assert names.index("leaf") == key - 1  # without a call of the interpreter in between


def test_with_frame_pointers_there_are_none():
    stacks, _ = traced("plain", "--unwind", "fp")
    assert not stacks


def test_names_are_hostile():
    """A name ends at its limit, and stays one line of text."""
    script = (
        "import sys\ndef work():\n for _ in range(300_000): pass\n"
        "code = work.__code__.replace(co_qualname='a\\x1b[31m;\\n' + 200 * 'b', "
        "co_filename='/tmp/' + 300 * 'c')\n"
        "other = work.__code__.replace(co_qualname='\\u00e9t\\u00e9')\n"
        "print('ready', flush=True)\ninput()\n"
        "for _ in range(20):\n work.__code__ = code\n work()\n work.__code__ = other\n work()\n"
    )
    with Program(PYTHON, "-c", script) as program:
        result = program.seen_by("profile", "-U", "-F", 997)
    assert result.status == 0, result.err
    names = {name for row in result.of("summary") for name in row["user"]}
    assert any(name.startswith("b" * 90) for name in names)
    assert any(name.startswith("0x") for name in names)  # not ASCII: its address
    folded = run(
        "profile", "-U", "-F", 997, "-f", "folded", "--", PYTHON, "-c", script.replace("input()", "")
    )
    assert "\x1b" not in folded.out


def test_each_sample_of_a_program_is_whole():
    script = (
        "import json\nprint('ready', flush=True)\ninput()\n"
        "def work():\n    return json.dumps([{'a': 1}] * 1000)\n"
        "for _ in range(2000):\n    work()\n"
    )
    with Program(PYTHON, "-c", script) as program:
        result = program.seen_by("profile", "-U", "-F", 997)
    rows = [row for row in result.of("summary") if row["user"]]
    total = sum(row["samples"] for row in rows)
    whole = sum(
        row["samples"]
        for row in rows
        if "<module> (<string>:1)" in row["user"] and row["user"][-1] == "_start"
    )
    assert total > 50
    assert whole >= 0.98 * total
