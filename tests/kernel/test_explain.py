"""Test the pages of tracers that run and of programs that the kernel rejects, on every kernel."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from pytracer.bpf.attach.interface import list_xdp_programs
from pytracer.bpf.compile.source import probes_folder
from pytracer.cli import tracer_parser
from pytracer.explain import stages
from pytracer.explain.page import Block, Fold, Grid, Page, SideBySide, SourceBlock
from pytracer.explain.watch import Observation, observe
from pytracer.spec import registry
from support import packets
from support.cli import COMMAND, Result, run, wait_for
from support.html import check_alone, parsed
from support.needs import refused_by_right
from support.workloads import workload

pytestmark = pytest.mark.kernel

ROOT = probes_folder().resolve().parent


def explain(*words: str) -> tuple[Observation, Page]:
    from pytracer.features.kernel_facts import RunningKernel

    request, _ = tracer_parser.parse(registry.get(words[0]), words[1:])
    observed = observe(request, RunningKernel, warn=lambda line: None)
    return observed, stages.page_of(observed, words)


def blocks_of(page: Page, stage: str) -> list[Block]:
    """Return the blocks of a stage, those that are folded as well."""
    (actual,) = (program for program in page.stages if program.name == stage)
    todo, flat = list(actual.blocks), list[Block]()
    while todo:
        block = todo.pop(0)
        flat.append(block)
        todo = [*(block.blocks if isinstance(block, Fold) else ()), *todo]
    return flat


def grid(page: Page, stage: str) -> list[dict[str, str]]:
    """Return the first table of a stage, by its columns."""
    blocks = next(block for block in blocks_of(page, stage) if isinstance(block, Grid))
    return [dict(zip(blocks.columns, row, strict=True)) for row in blocks.rows]


def besides(page: Page, stage: str) -> list[SideBySide]:
    return [block for block in blocks_of(page, stage) if isinstance(block, SideBySide)]


@pytest.mark.smoke
@pytest.mark.lab
def test_every_stage_equals_the_loaded_program():
    observed, page = explain("syscalls", "--", workload("calls"), "getppid", "23")
    assert tuple(stage.name for stage in page.stages) == stages.NAMES
    programs = {program.load.program: program for program in observed.programs}
    assert {"enter", "leave"} <= set(programs)

    bytecode = besides(page, "bytecode")
    assert [program.name for program in bytecode] == list(programs)
    for code_block, program in zip(bytecode, programs.values(), strict=True):
        code = [code for pair in code_block.pairs for code in pair.code]
        wide = sum(code.text.startswith("(18)") for code in code)
        assert len(code) + wide == program.info.xlated_size // 8
        assert {code.target for code in code} - {""} <= {code.number for code in code}

    native = besides(page, "native")
    assert len(native) == len(programs)
    for code_block, program in zip(native, programs.values(), strict=True):
        last = [code for pair in code_block.pairs for code in pair.code][-1]
        assert int(last.number, 16) < program.info.jited_size == len(program.info.jited)
        assert any(pair.file.startswith("probes_c/") for pair in code_block.pairs)

    # The C beside the instructions is that of the files.
    for pair in (pair for code_block in (*bytecode, *native) for pair in code_block.pairs):
        if pair.file.startswith("probes_c/"):
            assert (ROOT / pair.file).read_text().splitlines()[pair.line - 1].strip() == pair.text
    own_block = next(block for block in blocks_of(page, "c") if isinstance(block, SourceBlock))
    assert own_block.file == "probes_c/syscalls.c"
    assert list(own_block.lines) == (ROOT / own_block.file).read_text().splitlines()
    assert sum(count for _, count in own_block.made) > 0

    verified = {row["program"]: row for row in grid(page, "verifier")}
    assert set(verified) == set(programs)
    for name, row in verified.items():
        assert int(row["looked at"]) > 0
        assert re.fullmatch(r"[\d+]+ bytes", row["stack"]), name
        assert f"{name}: " not in programs[name].log
        assert "processed " in programs[name].log

    maps = {row["map"]: row for row in grid(page, "maps")}
    assert {"pt_losses", "rows", "starts"} <= set(maps)
    assert {str(table.info.id) for table in observed.tables} >= {
        str(number) for program in observed.programs for number in program.info.map_ids
    }

    # 23 calls and what a process does in its life: each was a run of both programs.
    cost = {row["program"]: row for row in grid(page, "cost")}
    assert int(cost["enter"]["runs"]) >= 23
    assert int(cost["leave"]["runs"]) >= 23
    assert cost["enter"]["a run"].endswith(" ns")


def test_counts_are_in_the_maps():
    observed, _ = explain("syscalls", "-e", "getppid", "--", workload("calls"), "getppid", "23")
    tables = [
        value
        for table in observed.tables
        if table.name in ("rows", "dense")
        for _, value in table.entries.first
    ]
    assert any("calls=23" in value for value in tables)


@pytest.mark.lab
def test_packets_in_a_namespace_of_its_own():
    with packets.namespace():
        packets.veth("va", "vb")
        observed, page = explain("sockcount", "vb", "-d", "0.2")
    (row,) = grid(page, "attachment")
    assert row == {"program": "count", "on": "socket_filter packet socket"}
    assert [link.where for link in observed.links] == ["vb"]
    alternatives = grid(page, "plan")
    assert [entry["alternative"] for entry in alternatives if entry["here"] == "taken"] == ["socket-filter"]


def test_streams_stacks_and_named_targets_are_explained():
    observed, _ = explain("execsnoop", "--", workload("calls"), "getppid", "1")
    assert observed.records == 1
    observed, page = explain("profile", "-p", str(os.getpid()), "-d", "0.2")
    assert observed.records is None
    assert any(table.name for table in observed.tables)
    observed, page = explain("funccount", "t:sched:sched_process_*", "-d", "0.2")
    assert sum(program.copies for program in observed.programs) >= len(observed.programs)
    assert [row["alternative"] for row in grid(page, "plan") if row["here"] == "taken"] == ["tracepoint"]


@pytest.mark.lab
def test_functions_by_name_are_explained_or_refused_by_right():
    """Each target has a program of its own if the kernel has no target ids; the page shows one of them."""
    words = ["funccount", "--hook", "k=kprobe", "vfs_read", "vfs_write", "-d", "0.2"]
    result = run("explain", *words)
    if refused_by_right(result.status, result.err, {"k": "kprobe"}):
        return
    observed, page = explain(*words)
    assert [row["alternative"] for row in grid(page, "plan") if row["here"] == "taken"] == ["kprobe"]
    assert {program.where for program in observed.attachments} == {"kprobe vfs_read", "kprobe vfs_write"}
    assert sum(program.copies for program in observed.programs) in (1, 2)
    assert len(besides(page, "bytecode")) == len(observed.programs) == 1


def test_a_program_without_c():
    observed, page = explain("sockcount", "--program", "bytecode", "lo", "-d", "0.1")
    assert not observed.programs[0].info.lines
    assert "no C" in page.stages[0].lead
    (block,) = besides(page, "bytecode")
    assert [pair.file for pair in block.pairs] == [""]
    assert int(grid(page, "verifier")[0]["looked at"]) > 0


def test_the_command_line(tmp_path):
    all_stages = run("explain", "sockcount", "lo", "-d", "0.1")
    assert all_stages.status == 0, all_stages.err
    for title in ("The C", "The plan", "The bytecode", "The verifier", "The native code", "The maps"):
        assert f"== {title} =" in all_stages.out
    one_stage = run("explain", "--stage", "bytecode", "sockcount", "lo", "-d", "0.1")
    assert "(95) exit" in one_stage.out
    assert "== The" not in one_stage.out
    page = tmp_path / "page.html"
    result = run("explain", "--html", page, "sockcount", "lo", "-d", "0.1")
    assert result.status == 0, result.err
    html = page.read_text()
    check_alone(html)
    observed = parsed(html)
    assert [
        attributes["id"]
        for tag, attributes in observed.seen
        if "stage" in (attributes.get("class") or "").split()
    ] == [f"s{number}" for number in range(1, len(stages.NAMES) + 1)]
    ids = {attributes["id"] for _, attributes in observed.seen if "id" in attributes}
    assert {
        attributes["href"].removeprefix("#") for _, attributes in observed.seen if attributes.get("href")
    } <= ids
    assert "probes_c/sockcount.c" in " ".join(observed.words)


def test_missing_permissions_are_reported():
    result = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *COMMAND, "explain", "syscalls"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert result.returncode == 5
    assert result.stderr.startswith("pytracer: error: ")


MEANINGS = {
    "may_be_null": "The pointer may be NULL here",
    "has_no_end": "turn by turn",
    "is_a_number": "just a number",
    "may_be_outside": "may lie outside",
    "has_no_packet": "that the packet is so long",
    "has_no_such_helper": "may not call that helper",
    "keeps_it": "given back on some paths only",
    "multiplies": "arithmetic would make of a pointer",
    "reads_beyond": "has no member at this place",
}


def explain_refused(file: Path) -> Result:
    result = run("explain", "--refused", file)
    assert result.status == 1, result.err
    return result


@pytest.mark.lab
def test_refusals_are_explained_in_plain_words():
    file = Path(__file__).parent.parent / "support" / "refused" / "many.c"
    lines = file.read_text().splitlines()
    result = explain_refused(file)
    parts = dict(
        re.findall(r"^== (\w+), a program of the kind \w+ =*\n(.*?)(?=^== |\Z)", result.out, re.M | re.S)
    )
    assert set(parts) == {*MEANINGS, "is_fine"}
    assert "This kernel takes it." in parts.pop("is_fine")
    for program, part in parts.items():
        assert MEANINGS[program] in " ".join(part.split()), part
        assert "What to do: " in part
        # The line of C that is marked is one of that function's.
        (marked,) = re.findall(r"^>\s+(\d+)  (.*)$", part, re.M)
        begin = next(n for n, line in enumerate(lines, 1) if line.startswith(f"int {program}("))
        end = next(n for n, line in enumerate(lines[begin:], begin + 1) if line == "}")
        assert begin < int(marked[0]) <= end
        assert lines[int(marked[0]) - 1] == marked[1]


@pytest.mark.lab
def test_the_examples_of_the_docs_are_refused():
    folder = ROOT / "docs" / "refused"
    marks = {}
    for file in sorted(folder.glob("*.c")):
        out = explain_refused(file).out
        assert "What to do: " in out
        (marks[file.name],) = re.findall(r"^>\s+\d+  (.*)$", out, re.M)
    # LLVM does not always say where the large variable is.
    assert marks.pop("stack.c") in ("    struct name name = {};", "int count(struct __sk_buff *skb)")
    assert marks == {
        "loop.c": "    while (bpf_get_prandom_u32() != 7) {",
        "pointer.c": "    *value += 1;",
    }


def test_a_signal_ends_the_run_and_detaches_programs():
    """No descriptor holds a program that netlink attached to an interface."""
    words = ["xdpcount", "vb", "--hook", "frame=xdp-netlink", "-d", "60", "--stage", "attachment"]
    with packets.namespace():
        packets.veth()
        process = subprocess.Popen([*COMMAND, "explain", *words], stdout=subprocess.PIPE, text=True)
        wait_for(list_xdp_programs, "a program on the interface")
        process.terminate()
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "xdp" in out
        assert list_xdp_programs() == {}


def test_the_page_is_there_once_the_traced_process_has_ended():
    """The duration is ten minutes, so waiting for it would be a hang."""
    with subprocess.Popen([workload("spin"), "user", "500"]) as process:
        result = run("explain", "--stage", "plan", "syscalls", "-p", process.pid, "-d", 600)
    assert result.status == 0, result.err
