"""Test probes on functions of programs, however they are named and whatever happens to the file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytracer.errors import PytracerError, UsageError
from pytracer.features.kernel_facts import RunningKernel
from pytracer.spec import ProbeSite, Uprobe, UprobeMulti, Uretprobe, UretprobeMulti
from pytracer.symbols import places, program_files
from support.needs import needs
from support.uprobes import (
    ALTERNATIVES,
    Counter,
    Program,
    build_library,
    has_cookies,
    has_multi,
    has_multi_for_processes,
    working_program,
)
from support.workloads import SOURCES, workload

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

TIMES = 23
KINDS = {
    ("pmu", False): Uprobe,
    ("pmu", True): Uretprobe,
    ("multi", False): UprobeMulti,
    ("multi", True): UretprobeMulti,
}


@pytest.fixture(params=ALTERNATIVES)
def alternative(request):
    if request.param == "multi":
        needs("uprobe_multi", has_multi())
    return request.param


def probe(alternative: str, file: str, symbol: str = "", *, at_return: bool = False, **fields):
    return KINDS[alternative, at_return]("", file=file, symbol=symbol, **fields)


@pytest.mark.smoke
@pytest.mark.parametrize("at_return", [False, True], ids=["entry", "return"])
@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("work", 2 * TIMES),
        ("work*", 2 * TIMES + TIMES + 1),
        ("work_mor?", TIMES + 1),
        ("rest", 1),
    ],
)
def test_functions_are_counted_to_the_last_call(alternative, symbol, expected, at_return):
    with working_program(TIMES) as program, Counter(alternative) as counter:
        counter.put(probe(alternative, workload("marks"), symbol, at_return=at_return, process=program.pid))
        program.go()
        assert counter[0] == expected


def test_a_place_in_a_function_and_in_the_file(alternative):
    with program_files.find(workload("marks")) as file:
        [site] = places.find(file, "work").sites
    for symbol in ("work+0", f"+{site.offset:#x}"):
        with working_program(TIMES) as program, Counter(alternative) as counter:
            counter.put(probe(alternative, workload("marks"), symbol))
            program.go()
            assert counter[0] == 2 * TIMES


def test_only_the_process_that_was_named(alternative):
    with working_program(TIMES) as program, working_program(TIMES) as other, Counter(alternative) as counter:
        counter.put(probe(alternative, "libc", "getppid", process=program.pid))
        program.go()
        other.go()
        assert counter[0] == TIMES + 1


def test_every_process_that_runs_the_file_also_one_that_starts_later(alternative, tmp_path):
    copy = shutil.copy(workload("marks"), tmp_path / "marks")
    with Program(copy, "work", 5) as before, Counter(alternative) as counter:
        counter.put(probe(alternative, str(copy), "work"))
        before.go()
        with Program(copy, "work", 6) as after:
            after.go()
        assert counter[0] == 2 * 5 + 2 * 6
        counter.detach()
        with Program(copy, "work", 7) as later:
            later.go()
        assert counter[0] == 2 * 5 + 2 * 6


def test_cookies_distinguish_sites(alternative):
    with working_program(TIMES) as program, program_files.find(workload("marks")) as file:
        sites = places.find(file, "work*").sites
        assert [site.name for site in sites] == ["work", "work_more"]
        needs("cookies", has_cookies())
        with Counter(alternative, cookies=True) as counter:
            counter.attach(file, sites, cookies=[3, 5])
            program.go()
            assert (counter[3], counter[5]) == (2 * TIMES, TIMES + 1)


@pytest.mark.parametrize("operation", ["replaced", "deleted"])
def test_renaming_the_file_changes_nothing(alternative, operation, tmp_path):
    copy = tmp_path / "marks"
    shutil.copy(workload("marks"), copy)
    with Program(copy, "work", TIMES) as program, Counter(alternative) as counter:
        counter.put(probe(alternative, str(copy), "work"))
        copy.unlink()
        if operation == "replaced":
            shutil.copy(workload("spin"), copy)
        program.go()
        assert counter[0] == 2 * TIMES


def test_a_process_is_probed_in_the_file_that_it_runs_not_in_that_of_the_name(alternative, tmp_path):
    copy = tmp_path / "marks"
    shutil.copy(workload("marks"), copy)
    with Program(copy, "work", TIMES) as program, Counter(alternative) as counter:
        copy.unlink()
        shutil.copy(workload("spin"), copy)
        counter.put(probe(alternative, str(copy), "work", process=program.pid))
        program.go()
        assert counter[0] == 2 * TIMES


def test_a_process_may_end_while_it_is_probed(alternative):
    with working_program(TIMES) as program, working_program(5) as other, Counter(alternative) as counter:
        counter.put(probe(alternative, workload("marks"), "work", process=program.pid))
        program.go()
        assert counter[0] == 2 * TIMES
        other.go()
        counter.detach()
        assert counter[0] == 2 * TIMES


@pytest.mark.parametrize("deep", [64, 100])
def test_calls_within_calls_are_all_seen_and_64_of_their_returns(alternative, deep):
    with (
        working_program(deep, "nested") as program,
        Counter(alternative) as calls,
        Counter(alternative) as returns,
    ):
        calls.put(probe(alternative, workload("marks"), "nest", process=program.pid))
        returns.put(probe(alternative, workload("marks"), "nest", process=program.pid, at_return=True))
        program.go()
        assert (calls[0], returns[0]) == (deep, 64)


def test_a_link_sees_a_process_whose_first_thread_has_ended():
    needs("uprobe_multi for all threads of a process", has_multi_for_processes())
    with working_program(TIMES, "orphaned") as program, Counter("multi") as counter:
        counter.put(probe("multi", workload("marks"), "work", process=program.pid))
        program.go()
        assert counter[0] == TIMES


def test_a_process_whose_first_thread_had_ended_before(alternative):
    with working_program(TIMES, "headless") as program, Counter(alternative) as counter:
        assert counter.put(probe(alternative, "marks", "work", process=program.pid)) == []
        program.go()
        assert counter[0] == TIMES


def test_a_file_that_the_process_has_not_mapped_is_reported(alternative):
    with working_program(1) as program, Counter(alternative) as counter:
        notes = counter.put(probe(alternative, workload("calls"), "+0x1000", process=program.pid))
        assert notes == [f"process {program.pid} has not mapped {workload('calls')}"]


def test_a_library_of_another_mount_namespace_is_the_one_that_is_probed(alternative, tmp_path):
    """Two libraries have one path: ours, and one in the mount namespace of a process."""
    own_file, other = tmp_path / "libanswer.so", tmp_path / "theirs"
    for path, answer in ((own_file, 1), (other, 2)):
        build_library(path, answer)
    code = f"import ctypes; lib = ctypes.CDLL('{own_file}'); print('ready', flush=True); input()\n"
    code += f"assert [lib.answer() for _ in range({TIMES})] == [2] * {TIMES}"
    script = f'mount --bind {other} {own_file} && exec {sys.executable} -c "{code}"'
    with (
        Program("unshare", "-m", "sh", "-c", script) as program,
        Counter(alternative) as of_it,
        Counter(alternative) as of_us,
    ):
        of_us.put(probe(alternative, str(own_file), "answer"))
        of_it.put(probe(alternative, str(own_file), "answer", process=program.pid))
        program.go()
        assert (of_it[0], of_us[0]) == (TIMES, 0)


def test_a_link_in_a_container_leads_within_it(alternative, tmp_path):
    """The process has a root of its own, where an absolute link points to the program that it runs."""
    root = tmp_path / "root"
    root.mkdir()
    source = SOURCES / "marks.c"
    subprocess.run(["gcc", "-O1", "-pthread", "-static", "-w", "-o", root / "marks", source], check=True)
    (root / "link").symlink_to("/marks")
    with Program("chroot", root, "/link", "work", TIMES) as program, Counter(alternative) as counter:
        with pytest.raises(UsageError, match="no file /link"):
            counter.put(probe(alternative, "/link", "work"))
        assert counter.put(probe(alternative, "/link", "work", process=program.pid)) == []
        program.go()
        assert counter[0] == 2 * TIMES


def test_half_an_attachment_is_removed(alternative):
    """If one site is invalid, the probes at the others are removed."""
    with (
        program_files.find(workload("marks")) as file,
        working_program(TIMES) as program,
        Counter(alternative) as counter,
    ):
        sites = [*places.find(file, "work*").sites, ProbeSite("beyond", 1 << 40)]
        with pytest.raises(PytracerError, match=r"/marks:(beyond|3 places)"):
            counter.attach(file, sites)
        program.go()
        assert counter[0] == 0


def test_the_kernel_is_probed_before_attaching(alternative):
    facts = RunningKernel()
    try:
        support = facts.probe(probe(alternative, workload("marks"), "work*"))
        assert (support.is_supported, support.name) == (True, f"{workload('marks')}:work* (2 places)")
        bad = facts.probe(probe(alternative, workload("marks"), "wrok"))
        assert not bad.is_supported
        assert bad.reason == f"no function of {workload('marks')} 'wrok'"
    finally:
        facts.close()


def test_a_kernel_without_the_link_is_reported():
    facts = RunningKernel()
    try:
        answer = facts.probe(probe("multi", workload("marks"), "work"))
    finally:
        facts.close()
    assert answer.is_supported or "Linux 6.6" in answer.reason or "Linux 6.10" in answer.reason
    needs("uprobe_multi", answer.is_supported)


def test_a_process_that_ended_is_an_error():
    with working_program(1) as program:
        program.go()
    with pytest.raises(UsageError, match=rf"no process {program.pid}"):
        program_files.find("libc", program.pid)
    assert not Path(f"/proc/{program.pid}").exists()
    zombie = os.fork()
    if not zombie:
        os._exit(0)
    try:
        os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
        with pytest.raises(UsageError, match="runs no program: it has just ended"):
            program_files.find("libc", zombie)
    finally:
        os.waitpid(zombie, 0)
