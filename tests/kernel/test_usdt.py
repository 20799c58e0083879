"""Test USDT probes: found in files and processes, counted exactly, with arguments in every form."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from pytracer.bpf.attach import uprobe, uprobe_multi
from pytracer.bpf.compile.bcc import BccModule
from pytracer.bpf.compile.headers import find_headers
from pytracer.bpf.compile.source import read_source
from pytracer.bpf.sys import ProgType
from pytracer.errors import UsageError
from pytracer.features.kernel_facts import RunningKernel
from pytracer.features.table.helpers import PROBE_READ_USER
from pytracer.spec import Uprobe, UprobeMulti
from pytracer.symbols import program_files, usdt
from support.needs import needs
from support.uprobes import Counter, Program, build_library, has_cookies, has_multi, working_program
from support.workloads import workload

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

TIMES = 23
MISSING, UNLOADED = -1, -2
C_FILE = Path(__file__).parent.parent / "support/probes/usdt.c"
PYTHON = Path("/usr/bin/python3")  # Debian's carries probes; whatever runs the tests need not
PLACES = 16


@pytest.fixture(params=["pmu", "multi"])
def alternative(request):
    if request.param == "multi":
        needs("uprobe_multi", has_multi())
    return request.param


def probe(alternative: str, mark: str, **fields):
    return {"pmu": Uprobe, "multi": UprobeMulti}[alternative]("", usdt=mark, **fields)


def test_a_probe_is_counted_and_its_semaphore_is_up_as_long_as_it_is_attached(alternative):
    with working_program(TIMES, "forms") as program, Counter(alternative) as counter:
        counter.put(probe(alternative, "forms:registers", file=workload("marks"), process=program.pid))
        assert program.go() == "semaphore 1\n"
        assert counter[0] == TIMES
    with working_program(TIMES, "forms") as program:
        assert program.go() == "semaphore 0\n"


def test_a_semaphore_is_raised_until_the_last_tracer_detaches(alternative):
    with (
        working_program(1, "forms") as program,
        Counter(alternative) as first,
        Counter(alternative) as second,
        Counter(alternative) as closed,
    ):
        for counter in (first, second, closed):
            counter.put(probe(alternative, "forms:re*", file=workload("marks"), process=program.pid))
        closed.detach()
        assert program.go() == "semaphore 1\n"
        assert (first[0], second[0], closed[0]) == (1, 1, 0)


def test_a_probe_without_a_semaphore(alternative):
    with working_program(TIMES, "forms") as program, Counter(alternative) as counter:
        counter.put(probe(alternative, "forms:bare", file=workload("marks")))
        assert program.go() == "semaphore 0\n"
        assert counter[0] == TIMES


@pytest.mark.smoke
def test_a_pattern_is_all_that_match(alternative):
    with working_program(TIMES, "forms") as program, Counter(alternative) as counter:
        counter.put(probe(alternative, "f*:*", file=workload("marks"), process=program.pid))
        assert program.go() == "semaphore 3\n"
        assert counter[0] == 4 * TIMES


def test_a_probe_that_a_program_makes_while_it_runs(alternative, tmp_path):
    """Its file is in memory only, and has no path: it is found in the mappings of the process."""
    build_library(tmp_path / "library.so")
    with (
        Program(workload("marks"), "load", tmp_path / "library.so", TIMES) as program,
        Counter(alternative) as counter,
    ):
        (tmp_path / "library.so").unlink()
        [(file, marks)] = [
            (file.name, actual) for file, actual in usdt.in_process(program.pid, "forms", "fired")
        ]
        assert file == "/memfd:made (deleted)"
        assert [mark.arguments[0].text for mark in marks] == ["4@$42"]
        counter.put(probe(alternative, "forms:fired", process=program.pid))
        program.go()
        assert counter[0] == TIMES


def test_pythons_own_probes(alternative):
    """The probes of a Python process, in the distribution's interpreter."""
    with program_files.find(str(PYTHON)) as file:
        needs("python3 with probes", [*usdt.usdt_probes(file.tables)])
    code = "import gc; gc.disable(); print('ready', flush=True); input()\n"
    code += f"for _ in range({TIMES}): gc.collect()\nimport os; os._exit(0)"
    with Program(PYTHON, "-c", code) as program, Counter(alternative) as counter:
        counter.put(probe(alternative, "python:gc__start", process=program.pid))
        program.go()
        assert counter[0] == TIMES


def test_missing_names_are_reported():
    with program_files.find(workload("marks")) as file:
        with pytest.raises(UsageError) as excinfo:
            usdt.find(file, "forms", "regsters")
        assert excinfo.value.hint.startswith("did you mean forms:registers or")
    with program_files.find(workload("calls")) as file, pytest.raises(UsageError, match="has no USDT probes"):
        usdt.find(file, "", "registers")
    with (
        working_program(1) as program,
        pytest.raises(UsageError, match=f"of process {program.pid} 'fomrs:bare'"),
    ):
        list(usdt.in_process(program.pid, "fomrs", "bare"))


def test_all_that_a_process_has_mapped_is_looked_through(alternative):
    with working_program(TIMES, "forms") as program, Counter(alternative) as counter:
        counter.put(probe(alternative, "forms:bare", process=program.pid))
        program.go()
        assert counter[0] == TIMES


class Reader:
    """The tracer tests/support/probes/usdt.c, which reads arguments by site."""

    def __init__(self) -> None:
        text = read_source(str(C_FILE))
        facts = RunningKernel()
        self.cookies = has_cookies()
        flags = [f"-DPT_USDT_SITES={PLACES}"]
        flags += [] if self.cookies else ["-DNO_COOKIES"]
        flags += ["-DPT_HAS_PROBE_READ_KERNEL"] if facts.has_helper(PROBE_READ_USER.number) else []
        facts.close()
        self.module = BccModule(C_FILE.name, text, flags, find_headers(text))
        attach_type = uprobe_multi.ATTACH_TYPE if has_multi() else 0
        self.program = self.module.load("mark", ProgType.KPROBE, attach_type)

    def read(self, file, mark, program: Program):
        """Return the (error, value) of each argument of a mark that ``program`` passes once or more."""
        for index, site in enumerate([mark] if not self.cookies else [mark, mark]):
            data = b"".join(argument.pack() for argument in site.arguments)
            self.module.maps["pt_usdt"].update(struct.pack("I", index), data.ljust(12 * 16, b"\0"))
        cookie = 1 if self.cookies else 0
        options = {"process": program.pid, "cookies": [cookie] if self.cookies else []}
        if has_multi():
            links = uprobe_multi.attach_sites(file, [mark.site], self.program, **options)
        else:
            links = uprobe.attach_sites(file, [mark.site], self.program, **options)
        try:
            program.go()
        finally:
            for link in links:
                link.close()
        _, rows = self.module.maps["seen"].read()
        assert rows[cookie]["count"] == 1
        pairs = list(zip(rows[cookie]["errors"].tolist(), rows[cookie]["values"].tolist(), strict=True))
        self.module.maps["seen"].update(struct.pack("I", cookie), bytes(25 * 8))
        return pairs


@pytest.fixture(scope="module")
def reader():
    reader = Reader()
    yield reader
    reader.module.close()


EXPECTED = {
    "registers": [
        0x1020304050607080, -7, -7, 0xFFFFFFF9, 0xCD, 0xAB, 0xCD - 256, 0xABCD, -2, 77, -9, 0x1020304050607080
    ],
    "memory": [
        100, -300, -300, 0xFFFFFED4, -300, 100, 100, -5, 0x1122334455667788, None, None, -300
    ],
    "nowhere": [UNLOADED, 1],
    "bare": [],
}  # fmt: skip
LINKS = {"pie": [], "fixed": ["-no-pie"], "static": ["-static", "-no-pie"], "stripped": ["-s"]}


@pytest.mark.parametrize("linked", LINKS)
@pytest.mark.parametrize("name", EXPECTED)
def test_arguments_are_read_in_every_form(reader, name, linked, tmp_path):
    path = tmp_path / "marks"
    source = Path(__file__).parent.parent / "workloads/marks.c"
    subprocess.run(["gcc", "-O1", "-pthread", "-w", "-o", path, source, *LINKS[linked]], check=True)
    expected = [(0, value) if value is not None else (MISSING, 0) for value in EXPECTED[name]]
    if name == "nowhere":
        expected[0] = (UNLOADED, 0)
    if linked == "stripped" and name == "memory":  # where symbols are is gone with them
        expected[7] = expected[8] = (MISSING, 0)
    expected += [(MISSING, 0)] * (12 - len(expected))
    with Program(path, "forms", 1) as program, program_files.find(str(path)) as file:
        [mark] = usdt.find(file, "forms", name)
        assert reader.read(file, mark, program) == expected
        assert [bool(argument.problem) for argument in mark.arguments] == [
            error == MISSING for error, _ in expected[: len(mark.arguments)]
        ]


def test_arguments_of_pythons_own_probes(reader):
    with program_files.find(str(PYTHON)) as file:
        needs("python3 with probes", [*usdt.usdt_probes(file.tables)])
        code = "import gc, os; gc.disable(); print('ready', flush=True); input(); gc.collect(1); os._exit(0)"
        with Program(PYTHON, "-c", code) as program:
            [mark] = usdt.find(file, "python", "gc__start")
            assert reader.read(file, mark, program)[0] == (0, 1)  # the generation


@pytest.mark.parametrize("data", [b"", b"\x7fELF" + bytes(200), b"#!/bin/sh -e\n" + bytes(200)])
def test_a_file_that_is_no_program(data, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(UsageError, match="not an ELF file") as excinfo:
        program_files.find(str(path))
    assert excinfo.value.hint == ("it is a script: trace what runs it, /bin/sh" if b"sh" in data else "")
