"""Test returns of programs' functions: every call is counted, however it ends, and programs are
undisturbed."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from pytracer.kernel.btf import VMLINUX
from support.cli import run
from support.compilers import compile_files
from support.needs import needs, was_refused
from support.uprobes import Program
from support.workloads import SOURCES, workload

pytestmark = pytest.mark.kernel

CALLS = 23
PANICS = len(range(0, CALLS, 3))


def said_by(file: str, *words: object) -> str:
    """Return the output of a program that is not traced."""
    with Program(file, *words) as program:
        return program.go()


def trace_process(
    tracer: str, file: str, words: tuple[object, ...], *names: str, options: tuple[object, ...] = ()
):
    """Trace a process, whose output must not change. Returns the records of the whole run by target or
    question, and what was lost."""
    expected = said_by(file, *words)
    with Program(file, *words) as program:
        result = program.seen_by(tracer, *options, *names)
        assert program.output == expected
    assert result.status == 0, result.err
    return result, {record["reason"]: record["lost"] for record in result.of("loss")}


def calls_of(file: str, words: tuple[object, ...], *functions: str, options: tuple[object, ...] = ()):
    """Return the number of returns in funclatency by function, and the losses."""
    names = [f"u:{file}:{function}" for function in functions]
    result, lost = trace_process("funclatency", file, words, *names, options=options)
    records = {record["target"].rpartition(":")[2]: record["calls"] for record in result.of("summary")}
    return records, lost


def results_of(file: str, words: tuple[object, ...], function: str, expression: str = "retval"):
    """Return what trace saw a function return, in the order of time, and what was lost."""
    result, lost = trace_process("trace", file, words, f'ur:{file}:{function} "%d", {expression}')
    return [int(record["text"]) for record in result.of("event")], lost


def expected_result(n: int) -> int:
    """Return the result of the function in returns.c, if it does not depend on earlier calls."""
    return {1: 1, 2: n * 5, 3: n - 7, 4: 11, 6: 15, 8: -1}[n % 9]


@pytest.mark.lab
def test_each_of_many_returns_is_seen_with_its_result():
    actual, lost = results_of(workload("returns"), ("many", CALLS), "many")
    assert len(actual) == CALLS
    assert not lost
    assert {n: actual[n] for n in range(CALLS) if n % 9 not in (0, 5, 7)} == {
        n: expected_result(n) for n in range(CALLS) if n % 9 not in (0, 5, 7)
    }


@pytest.mark.parametrize("alternative", ["return-sites-multi", "return-sites"])
@pytest.mark.lab
def test_recursion_is_seen_however_deep(alternative):
    file = workload("returns")
    with Program(file, "deep", 300) as program:
        result = program.seen_by("funclatency", f"u:{file}:deep", "--hook", f"ur={alternative}")
    if not was_refused(result, {"ur": alternative}):
        assert [record["calls"] for record in result.of("summary")] == [300], result.err
        assert not result.of("loss")


def test_a_tail_call_returns_its_callees_result():
    """Also through the PLT, and only for those tail calls: others call the callee directly, too."""
    file = workload("returns")
    actual, lost = results_of(file, ("tail", CALLS), "relay", "$entry(arg1)")
    assert (actual, lost) == (list(range(CALLS)), {})
    actual, _ = results_of(file, ("tail", CALLS), "relay")
    predictable = [n for n in range(CALLS) if n % 3 and n % 9 not in (0, 5, 7)]
    assert {n: actual[n] for n in predictable} == {n: expected_result(n) for n in predictable}
    assert all(actual[n] == -2 for n in range(0, CALLS, 3))
    counts, lost = calls_of(file, ("tail", CALLS), "relay", "many", "copy")
    assert counts == {"relay": CALLS, "many": CALLS + len([n for n in range(CALLS) if n % 3]), "copy": CALLS}
    assert not lost


def test_returns_alone_of_a_function_with_tail_calls():
    file = workload("returns")
    result, lost = trace_process("funccount", file, ("tail", CALLS), f"ur:{file}:relay", f"ur:{file}:copy")
    assert {record["count"] for record in result.of("summary")} == {CALLS}
    assert not lost


def test_an_indirect_tail_call_ends_without_a_result():
    odd = CALLS // 2
    file = workload("returns")
    assert calls_of(file, ("indirect", CALLS), "through") == ({"through": odd}, {"indirect": CALLS - odd})
    actual, lost = results_of(file, ("indirect", CALLS), "through")
    assert (actual, lost) == ([-3] * odd, {"indirect": CALLS - odd})


@pytest.mark.parametrize(
    ("mode", "function"),
    [("jumps", "leave"), ("escapes", "stuck"), ("cancel", "await"), ("exits", "finish")],
)
def test_calls_that_never_return_are_counted_as_such(mode, function):
    assert calls_of(workload("returns"), (mode, CALLS), function) == ({}, {"unwound": CALLS})


@pytest.mark.parametrize("mode", ["contexts", "moves"])
def test_coroutines_end_in_any_order_and_on_other_threads(mode):
    actual, lost = results_of(workload("returns"), (mode, CALLS), "yields", "$entry(arg1)")
    assert (actual, lost) == ([(n * 7 + 3) % CALLS for n in range(CALLS)], {})


def test_a_signal_handler_calls_the_interrupted_function():
    assert calls_of(workload("returns"), ("signals", CALLS), "sum") == ({"sum": 2 * CALLS}, {})


def test_a_jump_back_to_the_beginning_is_no_new_call():
    assert calls_of(workload("returns"), ("loops", CALLS), "again") == ({"again": CALLS}, {})


def test_a_call_that_returns_twice_does_so_in_two_processes():
    assert calls_of(workload("returns"), ("forks", CALLS), "splits") == ({"splits": CALLS}, {})


@pytest.mark.lab
def test_exceptions_pass_traced_functions():
    functions = ("inner", "middle", "between", "outer")
    passed = len([n for n in range(0, CALLS, 3) if n % 2])
    assert calls_of(workload("returns.cpp"), (CALLS,), *functions) == (
        {"inner": CALLS - PANICS, "middle": CALLS - PANICS, "between": CALLS - passed, "outer": CALLS},
        {"unwound": 2 * PANICS + passed},
    )


def test_panics_pass_traced_functions():
    assert calls_of(workload("returns.rs"), (CALLS,), "inner", "middle", "outer") == (
        {"inner": CALLS - PANICS, "middle": CALLS - PANICS, "outer": CALLS},
        {"unwound": 2 * PANICS},
    )


@pytest.mark.lab
def test_stacks_of_go_grow_and_move_in_calls():
    file = workload("returns.go")
    assert calls_of(file, ("grow", CALLS), "main.Grow") == ({"main.Grow": 101 * CALLS}, {})


def test_a_go_function_is_entered_once_though_its_stack_grows():
    file = workload("returns.go")
    result, lost = trace_process(
        "funccount", file, ("grow", CALLS), f"u:{file}:main.Grow", f"ur:{file}:main.Grow"
    )
    assert [record["count"] for record in result.of("summary")] == [101 * CALLS] * 2
    assert not lost


def test_a_stripped_go_program_gives_the_same_counts(tmp_path):
    """The runtime's own table names its functions."""
    source = (SOURCES / "returns.go").read_text()
    file = compile_files(tmp_path, {"returns.go": source}, "-ldflags=-s -w")
    assert calls_of(str(file), ("grow", CALLS), "main.Grow") == ({"main.Grow": 101 * CALLS}, {})


@pytest.mark.lab
def test_many_goroutines_are_in_one_function_at_once():
    calls = calls_of(workload("returns.go"), ("wait", 1000), "main.Wait")
    assert calls == ({"main.Wait": 1000}, {})


def test_goroutines_continue_on_other_threads():
    functions = ("main.Wander", "main.Grow")
    assert calls_of(workload("returns.go"), ("wander", CALLS), *functions) == (
        {"main.Wander": CALLS, "main.Grow": 21 * CALLS},
        {},
    )


def test_go_recovers_from_panics_in_traced_functions():
    assert calls_of(workload("returns.go"), ("panic", CALLS), "main.Risky", "main.Guard") == (
        {"main.Risky": CALLS - PANICS, "main.Guard": CALLS},
        {"unwound": PANICS},
    )


def test_a_goroutine_ends_in_a_call():
    even = len(range(0, CALLS, 2))
    assert calls_of(workload("returns.go"), ("exit", CALLS), "main.Leave") == (
        {"main.Leave": CALLS - even},
        {"unwound": even},
    )


@pytest.mark.parametrize(
    "flags",
    [["-static"], ["-no-pie"], ["-pie", "-fPIE"], ["-m32"], ["-O0"], ["-O2", "-fcf-protection"], ["-s"]],
    ids=" ".join,
)
def test_however_it_was_built(flags, tmp_path):
    """The program is stripped, so the function is named by its address."""
    if "-m32" in flags:
        flags = [
            "-m32",
            "-nostdlib",
            "-static",
            "-ffreestanding",
            "-fno-pie",
            "-no-pie",
            "-fno-stack-protector",
        ]
        source = tmp_path / "small.c"
        source.write_text(SMALL)
    else:
        source = SOURCES / "returns.c"
    file = tmp_path / "program"
    subprocess.run(["gcc", "-O1", "-pthread", *flags, "-o", file, source], check=True)
    words = ["--", file] if source.name == "small.c" else ["--", "sh", "-c", f"echo | {file} many {CALLS}"]
    result = run("funclatency", "-f", "json", f"u:{file}:many", *words)
    if "-s" in flags:
        assert (result.status, "has no symbols" in result.err) == (2, True)
        return
    result.out = "".join(line for line in result.out.splitlines(True) if line.startswith("{"))
    assert [record["calls"] for record in result.of("summary")] == [CALLS], result.err
    assert not result.of("loss")


SMALL = f"""
volatile int sink;
__attribute__((noinline)) int many(int n) {{ if (n & 1) return sink++; return n; }}
void _start(void)
{{
    for (int n = 0; n < {CALLS}; n++)
        sink += many(n);
    __asm__ volatile("int $0x80" ::"a"(1), "b"(0));
}}
"""


def test_several_processes_at_once():
    file = workload("returns")
    script = f"for n in 1 2 3; do echo | {file} deep {CALLS} & done; wait"
    result = run("funclatency", "-f", "json", "--by", "pid", f"u:{file}:deep", "--", "sh", "-c", script)
    result.out = "".join(line for line in result.out.splitlines(True) if line.startswith("{"))
    assert [record["calls"] for record in result.of("summary")] == [CALLS] * 3


def test_the_return_probe_is_taken_with_a_warning():
    file = workload("returns")
    result, lost = trace_process(
        "funclatency", file, ("deep", CALLS), f"u:{file}:deep", options=("--hook", "ur=uretprobe")
    )
    assert [record["calls"] for record in result.of("summary")] == [CALLS]
    assert not lost
    forced = run("funclatency", f"u:{file}:deep", "--hook", "ur=uretprobe", "--dry-run")
    assert "the kernel's return probe overwrites return addresses" in forced.out
    forced_result = run("funclatency", f"u:{file}:deep", "--dry-run")
    assert "return-sites" in forced_result.out
    assert "overwrites" not in forced_result.out + forced_result.err


def test_code_that_cannot_be_read_is_refused(tmp_path):
    """The return instruction pops an address that is not the caller's."""
    source = tmp_path / "odd.s"
    source.write_text(
        ".globl main\n.type main, @function\nmain: ret\n.size main, .-main\n"
        ".globl odd\n.type odd, @function\nodd: push %rdi\n ret\n.size odd, .-odd\n"
    )
    subprocess.run(["gcc", "-o", tmp_path / "odd", source], check=True)
    result = run("funclatency", f"u:{tmp_path}/odd:odd", "-d", 1)
    assert result.status == 4
    assert len(result.err.splitlines()) == 2
    assert "odd" in result.err.splitlines()[0]
    assert result.err.splitlines()[1].startswith("hint: --hook ur=uretprobe")


def test_a_file_that_is_written_to_while_it_is_looked_at_is_refused(tmp_path):
    """The file changes between analysis and attaching: probes would be in the middle of other
    instructions."""
    from pytracer.features.kernel_facts import RunningKernel
    from pytracer.plan import make_plan
    from pytracer.request import Request
    from pytracer.spec import parse_source, registry
    from pytracer.trace.session import Session

    copy = shutil.copy(workload("returns"), tmp_path / "copy")
    facts = RunningKernel()
    try:
        request = Request(registry.get("funclatency"), sources=(parse_source(f"u:{copy}:deep"),))
        plan = make_plan(request, facts)
    finally:
        facts.close()
    with open(copy, "r+b") as file:
        os.pwrite(file.fileno(), b"\0", os.fstat(file.fileno()).st_size)
    with pytest.raises(Exception, match="was replaced just now"):
        Session(plan).close()


def test_a_pack_has_the_programs_for_tail_calls(tmp_path):
    needs("BTF", VMLINUX.exists())
    file, pack = workload("returns"), tmp_path / "returns.pack"
    packing = run("pack", f"funccount ur:{file}:relay -- true", "-o", pack)
    assert packing.status == 0, packing.err
    words = ["-f", "json", f"ur:{file}:relay", "--", "sh", "-c", f"echo | {file} tail {CALLS}"]
    result = run("run", pack, "funccount", *words)
    result.out = "".join(line for line in result.out.splitlines(True) if line.startswith("{"))
    assert [record["count"] for record in result.of("summary")] == [CALLS], result.err


@pytest.mark.parametrize("options", [(), ("--hook", "ur=uretprobe"), ("--hook", "u=uprobe")])
def test_the_part_of_the_probes_is_stated(options):
    file = workload("returns")
    command = ("sh", "-c", f"echo | {file} many 101")
    result = run("funclatency", "-f", "json", f"u:{file}:many", *options, "--", *command)
    result.out = "".join(line for line in result.out.splitlines(True) if line.startswith("{"))
    [overhead] = result.of("overhead")
    assert [value > 0 for value in (overhead["emulated_ns"], overhead["stepped_ns"]) if value] == [True]
    assert [record["calls"] for record in result.of("summary")] == [101]


def test_where_nothing_was_called_the_probes_have_no_part():
    result = run("funclatency", "-f", "json", f"u:{workload('returns')}:many", "--", "true")
    assert result.status == 0, result.err
    assert not result.of("overhead")


def test_a_count_of_calls_has_no_part_of_the_probes():
    file = workload("returns")
    result = run("funccount", f"ur:{file}:many", "--", "sh", "-c", f"echo | {file} many 101")
    assert result.status == 0, result.err
    assert "the probes' part" not in result.out + result.err
