"""Test stacks of Python programs: the functions that CPython runs, as Python sees them, among those of C."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from support.cli import run
from support.needs import running
from support.pythons import DISTRIBUTION, find_pythons
from support.uprobes import Program

pytestmark = pytest.mark.kernel

CALLS = 23
SCRIPT = """
import asyncio, json, os, sys, threading
seen = None
def leaf():
    global seen
    frame, seen = sys._getframe(), []
    while frame:
        code = frame.f_code
        name = getattr(code, "co_qualname", code.co_name)
        seen.append(f"{name} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})")
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
class Made:
    def __init__(self):
        leaf()
def initialized():
    Made()
class Deleted:
    def __del__(self):
        leaf()
def deleted():
    global held
    held = Deleted()
    del held
class Iterated:
    def __aiter__(self):
        leaf()
        return self
    async def __anext__(self):
        raise StopAsyncIteration
async def iterate():
    async for _ in Iterated():
        pass
def iterated():
    try:
        iterate().send(None)
    except StopIteration:
        pass
async def coroutine():
    leaf()
def awaited():
    asyncio.run(coroutine())
print("ready", flush=True)
input()
result = {}
for mode in sys.argv[2:]:
    for _ in range(int(sys.argv[1])):
        globals()[mode]()
    result[mode] = seen
print(json.dumps(result))
"""


MODES = (
    "plain",
    "nested",
    "called_from_c",
    "generated",
    "comprehended",
    "threaded",
    "awaited",
    "initialized",
    "iterated",
    "deleted",
)


def traced(python, *words, modes=MODES):
    """Return the user stacks of close(-1) with their numbers, and the functions that Python itself saw in
    each mode."""
    with Program(python, "-c", SCRIPT, CALLS, *modes) as program:
        result = program.seen_by("stackcount", "-U", *words, "t:syscalls:sys_enter_close")
        seen = json.loads(program.output)
    assert result.status == 0, result.err
    assert not result.of("loss")
    stacks = {tuple(row["user"]): row["hits"] for row in result.of("summary")}
    return {stack: hits for stack, hits in stacks.items() if any("leaf" in name for name in stack)}, seen


def python_part(stack):
    return tuple(name for name in stack if name.endswith(")") and ":" in name)


@pytest.mark.lab
@pytest.mark.parametrize("python", find_pythons())
def test_functions_are_those_that_python_sees(python):
    if running().excuse("stacks by tables"):
        return
    stacks, seen = traced(python)
    counts = Counter()
    for stack, hits in stacks.items():
        counts[python_part(stack)] += hits
        assert "_PyEval_EvalFrameDefault" not in stack
        assert not stack[-1].startswith("[")  # a mark of an end before the thread's start
    assert counts == {tuple(functions): CALLS for functions in seen.values()}
    assert len(counts) == len(MODES)


LINES = """import os, sys, time
def leaf():
    try: os.close(100_000)
    except OSError: pass
def twice():
    leaf()
    leaf()
def generator():
    for _ in range(2):
        yield leaf()
def from_c():
    list(generator())
    sorted(
        [1],
        key=lambda _:
            leaf())
print("ready", flush=True)
input()
for _ in range(23):
    twice()
    from_c()
time.sleep(0.5)
"""


def lines_of(python, *words):
    """Return how often each stack of Python functions called close()."""
    with Program(python, "-c", LINES) as program:
        result = program.seen_by("stackcount", "-U", *words, "t:syscalls:sys_enter_close")
    assert result.status == 0, result.err
    counts = Counter()
    for row in result.of("summary"):
        counts[python_part(row["user"])] += row["hits"]
    return {stack: hits for stack, hits in counts.items() if stack and stack[0].startswith("leaf")}


@pytest.mark.parametrize("python", find_pythons())
def test_lines_are_those_that_run(python):
    """Two calls of a function in one are told apart, also below a generator and below C."""
    leaf = "leaf (<string>:3)"
    assert lines_of(python, "--lines") == {
        (leaf, "twice (<string>:6)", "<module> (<string>:20)"): CALLS,
        (leaf, "twice (<string>:7)", "<module> (<string>:20)"): CALLS,
        (leaf, "generator (<string>:10)", "from_c (<string>:12)", "<module> (<string>:21)"): 2 * CALLS,
        (leaf, name_of_key(python, 16), "from_c (<string>:13)", "<module> (<string>:21)"): CALLS,
    }


def name_of_key(python, line):
    """Return the name of the comparison key, which is qualified from Python 3.11 on."""
    is_old = python.endswith(("3.9", "3.10"))
    return f"<lambda> (<string>:{line})" if is_old else f"from_c.<locals>.<lambda> (<string>:{line})"


def test_without_lines_a_function_is_one():
    assert (
        lines_of(DISTRIBUTION)["leaf (<string>:2)", "twice (<string>:5)", "<module> (<string>:1)"]
        == 2 * CALLS
    )


def test_lines_of_a_code_object_at_the_address_of_another_are_its_own():
    """Code objects differ in their lines only, and are freed at once. One that is gone has no line."""
    script = (
        "import os\nprint('ready', flush=True)\ninput()\n"
        "for number in range(101):\n"
        " exec(f'try:\\n' + number * '\\n' + ' os.close(100_000)\\nexcept OSError: pass')\n"
    )
    with Program(DISTRIBUTION, "-c", script) as program:
        result = program.seen_by("stackcount", "-U", "--lines", "t:syscalls:sys_enter_close")
    assert result.status == 0, result.err
    counts = Counter()
    for row in result.of("summary"):
        functions = python_part(row["user"])
        if len(functions) == 2:
            counts[functions[0]] += row["hits"]
    assert sum(counts.values()) == 101
    assert {f"<module> (<string>:{number + 2})" for number in range(101)} | {"<module> (<string>:-)"} >= set(
        counts
    )
    assert all(hits == 1 for name, hits in counts.items() if not name.endswith(":-)"))


def test_functions_stand_between_those_of_c():
    """A comparison key is called by sorted(), which is C."""
    stacks, _ = traced(DISTRIBUTION, modes=["called_from_c"])
    assert stacks
    for stack in stacks:
        names = [name.partition(" (")[0] for name in stack]
        key, caller = names.index("called_from_c.<locals>.<lambda>"), names.index("called_from_c")
        assert caller - key > 1
        assert names.index("leaf") == key - 1  # without a call of the interpreter in between


def test_with_frame_pointers_there_are_none():
    stacks, _ = traced(DISTRIBUTION, "--unwind", "fp", modes=["plain"])
    assert not stacks


def test_names_are_hostile():
    """A name ends at its limit, and stays one line of text."""
    script = (
        "import os, sys\ndef work():\n os.close(100_000)\n"
        "code = work.__code__.replace(co_qualname='a\\x1b[31m;\\n' + 200 * 'b', "
        "co_filename='/tmp/' + 300 * 'c')\n"
        "print('ready', flush=True)\ninput()\nwork.__code__ = code\n"
        f"for _ in range({CALLS}):\n try: work()\n except OSError: pass\n"
    )
    with Program(DISTRIBUTION, "-c", script) as program:
        result = program.seen_by("stackcount", "-U", "t:syscalls:sys_enter_close")
    assert result.status == 0, result.err
    names = {name for row in result.of("summary") for name in row["user"]}
    assert f"{96 * 'b'} ({96 * 'c'}:2)" in names
    folded = run(
        "profile", "-U", "-F", 997, "-f", "folded", "--", DISTRIBUTION, "-c", script.replace("input()", "")
    )
    assert "\x1b" not in folded.out


TEXTS = ("\u00e9t\u00e9", "\u4e2d\u6587", "\U0001f40d_", 50 * "\u4e2d", 50 * "\U0001f40d", "\ud800", "nul\0")
SHOWN = (*TEXTS[:3], 48 * "\u4e2d", 24 * "\U0001f40d", "\ufffd", "nul\0")


@pytest.mark.parametrize("python", find_pythons())
def test_names_have_all_characters(python):
    """Strings of Python have characters of 1, 2 or 4 bytes."""
    script = (
        "import os, json, sys\ndef work():\n try: os.close(100_000)\n except OSError: pass\n"
        "print('ready', flush=True)\ninput()\ncode = work.__code__\n"
        "for text in json.loads(sys.argv[1]):\n"
        " work.__code__ = code.replace(co_name=text, co_filename='/tmp/' + text,\n"
        "  **({'co_qualname': text} if sys.version_info > (3, 11) else {}))\n"
        f" for _ in range({CALLS}): work()\n"
    )
    with Program(python, "-c", script, json.dumps(TEXTS)) as program:
        result = program.seen_by("stackcount", "-U", "t:syscalls:sys_enter_close")
    assert result.status == 0, result.err
    counts = Counter()
    for row in result.of("summary"):
        counts[next((name for name in row["user"] if name.endswith(":2)")), None)] += row["hits"]
    del counts[None]
    assert counts == {f"{text} ({text}:2)": CALLS for text in SHOWN}


@pytest.mark.parametrize("python", find_pythons())
def test_a_code_object_at_the_address_of_another_has_its_own_name(python):
    """Code objects differ in their names only, and each is freed once there is the next one."""
    script = (
        "import os, sys\ndef work():\n try: os.close(100_000)\n except OSError: pass\n"
        "print('ready', flush=True)\ninput()\naddresses, code = set(), work.__code__\n"
        "for number in range(101):\n"
        " text = f'made_{number:03}'\n"
        " work.__code__ = code.replace(co_name=text,\n"
        "  **({'co_qualname': text} if sys.version_info > (3, 11) else {}))\n"
        " addresses.add(id(work.__code__))\n work()\n"
        "print(len(addresses))\n"
    )
    with Program(python, "-c", script) as program:
        result = program.seen_by("stackcount", "-U", "t:syscalls:sys_enter_close")
    assert result.status == 0, result.err
    assert int(program.output) < 101
    counts = Counter()
    for row in result.of("summary"):
        counts[next((name for name in row["user"] if name.startswith("made_")), None)] += row["hits"]
    del counts[None]
    assert counts == {f"made_{number:03} (<string>:2)": 1 for number in range(101)}


def test_each_sample_of_a_program_is_whole():
    script = (
        "import json\nprint('ready', flush=True)\ninput()\n"
        "def work():\n    return json.dumps([{'a': 1}] * 1000)\n"
        "for _ in range(2000):\n    work()\n"
    )
    with Program(DISTRIBUTION, "-c", script) as program:
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
