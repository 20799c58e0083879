"""Test funccount on functions and USDT probes of programs, by every alternative, and its errors."""

from __future__ import annotations

import shutil
import sys

import pytest

from pytracer.plan.attach_targets import ALTERNATIVES
from pytracer.plan.named_target import IN_PROGRAMS
from support.cli import finish, run, start
from support.needs import refused_by_right
from support.uprobes import Program, build_library, working_program
from support.workloads import workload

pytestmark = pytest.mark.kernel

TIMES = 23
EVERY = [(kind, alternative.name) for kind in IN_PROGRAMS for alternative in ALTERNATIVES[kind]]
FUNCTIONS = ("work", "work_more", "rest")
CALLS = dict(zip(FUNCTIONS, (2 * TIMES, TIMES + 1, 1), strict=True))
MARKS = ("bare", "memory", "nowhere", "registers")


def totals(result):
    assert result.status == 0, result.err
    assert not result.of("loss")
    return {record["target"]: record["count"] for record in result.of("summary")}


def script(workload_name: str) -> list[str]:
    return ["--", "sh", "-c", f"echo | {workload('marks')} {workload_name} {TIMES}"]


def counting(*words: object, **options: object):
    """Return funccount's own lines of an output that also has the workload's "ready"."""
    result = run("funccount", "-f", "json", *words, **options)
    result.out = "".join(line for line in result.out.splitlines(True) if line.startswith("{"))
    return result


@pytest.mark.lab
@pytest.mark.parametrize(("kind", "alternative"), EVERY, ids=lambda value: value)
def test_every_alternative_counts_to_the_last_call(kind, alternative):
    file = workload("marks")
    hook = ["--hook", f"{kind}={alternative}"]
    if kind == "usdt":
        names, expected = [f"{file}:forms:*"], {f"usdt:{file}:forms:{name}": TIMES for name in MARKS}
    else:
        names = [f"{file}:work*", f"{file}:rest"]
        expected = {f"{kind}:{file}:{name}": count for name, count in CALLS.items()}
    function = "forms" if kind == "usdt" else "work"
    result = counting(*hook, *(f"{kind}:{name}" for name in names), *script(function))
    if not refused_by_right(result.status, result.err, {kind: alternative}):
        assert totals(result) == expected


@pytest.mark.lab
@pytest.mark.smoke
def test_all_kinds_at_once_in_one_process():
    """A function of the program, a function of a library, an offset, and kernel events."""
    with working_program(TIMES) as program:
        words = [
            f"u:{workload('marks')}:work_more",
            "u:libc:getppid",
            "ur:libc.so.6:getppid",
            "t:syscalls:*getppid",
        ]
        assert totals(program.seen_by("funccount", *words, 60)) == dict.fromkeys(
            [*words[:3], "t:syscalls:sys_enter_getppid", "t:syscalls:sys_exit_getppid"], TIMES + 1
        )


def test_a_usdt_probe_is_found_by_its_provider(tmp_path):
    """One of the probes was created by the program, in a file in memory."""
    build_library(tmp_path / "library.so")
    with Program(workload("marks"), "load", tmp_path / "library.so", TIMES) as program:
        assert totals(program.seen_by("funccount", "usdt:f*:fire?", 60)) == {"usdt:forms:fired": TIMES}


def test_a_probe_is_found_by_its_provider_in_running_programs(tmp_path):
    """Two running programs have the probe, in two files; a third has exited."""
    copy = shutil.copy(workload("marks"), tmp_path / "other")
    with working_program(TIMES, "forms") as program, Program(copy, "forms", 7) as other:
        tracer = start("funccount", "-f", "json", "usdt:forms:bare", 60)
        program.go()
        other.go()
        tracer.terminate()
        assert totals(finish(tracer)) == {"usdt:forms:bare": TIMES + 7}


@pytest.mark.lab
@pytest.mark.parametrize("alternative", [alternative.name for alternative in ALTERNATIVES["u"]])
def test_a_process_whose_main_thread_has_ended(alternative):
    """Another process of the same program is not counted."""
    with working_program(TIMES, "headless") as program, working_program(7) as other:
        tracer = start(
            "funccount", "-f", "json", "-p", program.pid, "--hook", f"u={alternative}", "u:marks:work", 60
        )
        other.go()
        program.go()
        tracer.terminate()
        assert totals(finish(tracer)) == {"u:marks:work": TIMES}


def test_a_killed_tracer_leaves_nothing_in_the_program():
    with working_program(TIMES, "forms") as program:
        tracer = start("funccount", f"usdt:{workload('marks')}:forms:*", "-p", program.pid, 60)
        tracer.kill()
        tracer.communicate()
        assert program.go() == "semaphore 0\n"


def test_the_files_of_a_container_are_meant_by_their_names_there(tmp_path):
    """In the container's mount namespace the name means another library: with --mntns, for all its
    processes."""
    own_file, other = tmp_path / "libanswer.so", tmp_path / "theirs"
    build_library(own_file, 1)
    build_library(other, 2)
    code = f"import ctypes; lib = ctypes.CDLL('{own_file}'); print('ready', flush=True); input()\n"
    code += f"for _ in range({TIMES}): lib.answer()"
    script = f'mount --bind {other} {own_file} && exec {sys.executable} -c "{code}"'
    with Program("unshare", "-m", "sh", "-c", script) as program:
        word = f"u:{own_file}:answer"
        tracer = start("funccount", "-f", "json", word, "--mntns", program.pid, 60)
        program.go()
        tracer.terminate()
        assert totals(finish(tracer)) == {word: TIMES}


def test_a_process_that_ends_ends_the_trace():
    with working_program(TIMES) as program:
        word = f"u:{workload('marks')}:work"
        assert totals(program.seen_by("funccount", word)) == {word: 2 * TIMES}
