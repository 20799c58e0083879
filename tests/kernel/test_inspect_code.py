"""Test the dumps of programs in the kernel against those of bpftool."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from pytracer.bpf.compile.source import probes_folder
from pytracer.bpf.obj_info import ProgramInfo, read_btf, read_map, read_program
from pytracer.bpf.sys import MapType, ProgType, map_create, prog_load
from pytracer.bpf.trial import return_code
from pytracer.cli import tracer_parser
from pytracer.features import feature_table
from pytracer.features.kernel_facts import RunningKernel
from pytracer.features.table.helpers import LOOP
from pytracer.kernel.btf import Btf, BtfKind
from pytracer.plan import make_plan
from pytracer.prog.code_ranges import program_ranges
from pytracer.prog.disassembly import KernelReferenceFormatter, listing
from pytracer.prog.native_code import disassemble, disassemble_program
from pytracer.spec import registry
from pytracer.symbols.kernel import KernelSymbols
from pytracer.trace.session import Session

pytestmark = pytest.mark.kernel

ROOT = probes_folder().resolve().parent


@contextmanager
def loaded(*words: str) -> Iterator[list[ProgramInfo]]:
    """Yield the programs of a tracer while it runs."""
    request, _ = tracer_parser.parse(registry.get(words[0]), words[1:])
    with Session(make_plan(request, RunningKernel())) as session:
        fds = [read_program(fd) for fd in session.loaded.programs.values()]
        assert fds
        yield fds


def bpftool(*words: object) -> list[dict[str, str]]:
    result = subprocess.run(["bpftool", "-j", *map(str, words)], capture_output=True, text=True, check=True)
    parsed = json.loads(result.stdout)
    assert isinstance(parsed, list)
    return parsed


def bpftool_text(line: str) -> str:
    """Return bpftool's text of an instruction, without the distance that follows a helper's name."""
    return re.sub(r"(call [^#]+)#.*", r"\1", line)


def same(own_text: str, reference: str) -> bool:
    """Compare two texts. bpftool may be older than the kernel, and not know moves that add a CPU's offset
    (Linux 6.10)."""
    return own_text == reference or re.sub(r"&\(void __percpu \*\)\((r\d)\)", r"\1", own_text) == reference


@pytest.mark.lab
@pytest.mark.parametrize(
    "words", [("syscalls", "--latency"), ("sockcount", "lo"), ("execsnoop",)], ids=" ".join
)
def test_the_same_instructions_as_bpftool(words):
    with loaded(*words) as actual:
        for info in actual:
            own_lines = list(listing(info.xlated, KernelReferenceFormatter({})))
            reference = [
                entry["disasm"]
                for entry in bpftool("prog", "dump", "xlated", "id", info.id)
                if "disasm" in entry
            ]
            assert len(own_lines) == len(reference)
            differ = [
                (entry.text, text)
                for entry, text in zip(own_lines, map(bpftool_text, reference), strict=True)
                if not same(entry.text, text)
            ]
            assert not differ
            assert sum(len(entry.raw) for entry in own_lines) == info.xlated_size == len(info.xlated)


@pytest.mark.lab
def test_a_program_is_dumped_completely():
    with loaded("sockcount", "lo") as (info,):
        (reference,) = (entry for entry in bpftool("prog", "show") if entry["id"] == info.id)
        assert (info.tag, info.name, info.uid, info.gpl) == (
            reference["tag"],
            "count",
            0,
            reference["gpl_compatible"],
        )
        assert info.type == ProgType.SOCKET_FILTER
        assert (info.xlated_size, info.jited_size) == (reference["bytes_xlated"], reference["bytes_jited"])
        assert sorted(info.map_ids) == sorted(reference["map_ids"])
        # Native code: every byte of it, where the kernel says that it is.
        (function,) = info.functions
        assert function.name == "count"
        assert function.size == info.jited_size == len(info.jited)
        code, hint = disassemble(info.jited, function.address)
        assert not hint
        assert b"".join(entry.raw for entry in code) == info.jited
        assert all(entry.text for entry in code)
        # Lines: in order, within the program, and where the native code begins.
        assert len(info.lines) > 10
        numbers = [line.insn for line in info.lines]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] < info.xlated_size / 8
        starts = {entry.address for entry in code}
        assert starts.issuperset(line.address for line in info.lines)
        assert info.lines[0].file == "probes_c/sockcount.c"
        btf = Btf(read_btf(info.btf_id))
        assert btf.find(BtfKind.FUNC, "count") is not None


@pytest.mark.lab
def test_each_function_is_where_the_kernel_put_it():
    """The loop body in execsnoop is a function of its own if there is bpf_loop (Linux 5.17)."""
    names = ["executed", "pt_loop_1"]
    if feature_table.helper_refusal(ProgType.RAW_TRACEPOINT, LOOP.number):
        names.pop()
    with loaded("execsnoop") as actual:
        [info] = (entry for entry in actual if entry.name == "executed")
        assert [function.name for function in info.functions] == names
        code, _ = disassemble_program(info)
        starts = {entry.address for entry in code}
        assert starts.issuperset(line.address for line in info.lines)
        assert starts.issuperset(function.address for function in info.functions)
        assert b"".join(entry.raw for entry in code) == info.jited
        for function in info.functions:
            [first] = (line.address for line in info.lines if line.insn == function.insn)
            assert function.address <= first < function.address + function.size


@pytest.mark.lab
def test_lines_of_c_are_those_of_the_files(tmp_path, monkeypatch):
    """A program compiled now and one from a cached image have the same lines."""
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path))
    reported = []
    for _ in range(2):
        with loaded("sockcount", "lo") as (info,):
            reported.append([(line.insn, line.file, line.line, line.text) for line in info.lines])
            reference = bpftool("prog", "dump", "xlated", "id", info.id, "linum")
            assert {f"{line.file}:{line.line}" for line in info.lines} >= {
                f"{entry['file']}:{entry['line_num']}" for entry in reference if "file" in entry
            }
    assert reported[0] == reported[1]
    assert list((tmp_path / "images").iterdir())
    own_lines = [entry for entry in reported[0] if entry[1].startswith("probes_c/")]
    assert len(own_lines) > 10
    for _, file, number, text in own_lines:
        assert (ROOT / file).read_text().splitlines()[number - 1].strip() == text
    assert "u64 *value = pt_config.lookup(&slot);" in [text for *_, text in own_lines]


@pytest.mark.lab
def test_lines_stay_with_their_instructions_behind_a_filter():
    with loaded("sockcount", "lo", "--filter", "tcp port 443") as (info,):
        assert (info.lines[0].file, info.lines[0].insn) == ("--filter", 0)
        first = next(line for line in info.lines if line.file == "probes_c/sockcount.c")
        with loaded("sockcount", "lo") as (program,):
            assert first.text == program.lines[0].text
            assert first.insn > 10


@pytest.mark.lab
def test_a_bare_program_and_a_map():
    fd = prog_load(ProgType.SOCKET_FILTER, return_code(0), name="bare")
    try:
        info = read_program(fd)
        brief = read_program(fd, code=False)
    finally:
        os.close(fd)
    assert (info.name, info.xlated_size, info.lines, info.map_ids, info.btf_id) == ("bare", 16, (), (), 0)
    assert [entry.text for entry in listing(info.xlated)] == ["(b7) r0 = 0", "(95) exit"]
    assert (brief.id, brief.xlated, brief.jited) == (info.id, b"", b"")
    fd = map_create(MapType.HASH, 4, 12, 77, 1, name="some")
    try:
        table = read_map(fd)
    finally:
        os.close(fd)
    assert (table.type, table.name, table.key_size, table.value_size) == (MapType.HASH, "some", 4, 12)
    assert (table.max_entries, table.flags, table.btf_id) == (77, 1, 0)


def test_an_unloaded_program_is_an_oserror():
    fd = prog_load(ProgType.SOCKET_FILTER, return_code(0))
    os.close(fd)
    with pytest.raises(OSError, match="descriptor"):
        read_program(fd)


def test_addresses_in_programs_are_named_and_those_behind_are_not():
    with loaded("funccount", "t:raw_syscalls:sys_enter") as actual:
        symbols = KernelSymbols(programs=program_ranges)
        [function] = [part for info in actual if info.name == "hit" for part in info.functions]
        end = function.address + function.size
        addresses = np.array([function.address, function.address + 1, end - 1], np.uint64)
        [name] = set(symbols.names(addresses))
        assert re.fullmatch("bpf_prog_[0-9a-f]{16}_hit", name)
        assert symbols.names(np.array([end], np.uint64)) != [name]
