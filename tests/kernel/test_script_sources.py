"""Probes at lines of a program's source, by debug information in the program or beside it."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from support.cli import run

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

PROGRAM = """\
static volatile int sum;
__attribute__((noinline)) int hit(int count) {
    sum += count;
    return count; /* line 4 */
}
int main(void) {
    for (int n = 0; n < 23; n++)
        hit(n);
    return 0;
}
"""
LINE, LOOP, NONE = 4, 8, 999


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Build a program with debug information, and a copy whose debug file is in a folder."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "counted.c").write_text(PROGRAM)
    full, bare = folder / "counted", folder / "bare"
    build = ["gcc", "-g", "-O0", "-Wl,--build-id", "-o", full, folder / "counted.c"]
    subprocess.run(build, check=True)
    (folder / "debug").mkdir()
    subprocess.run(["objcopy", "--only-keep-debug", full, folder / "debug/bare.debug"], check=True)
    shutil.copy(full, bare)
    subprocess.run(["strip", bare], check=True)
    return full, bare


def count_hits(point, file, *words):
    """Count how often a probe is hit in one run of a program."""
    result = run("script", "-q", "-e", f"uprobe:{point} {{ @ = count(); }}", "-c", file, *words)
    assert result.status == 0, result.err
    return result.out


def test_a_line_is_probed_once_each_time_it_runs(program):
    full, _ = program
    assert count_hits(f"{full}@counted.c:{LINE}", full) == "\n@: 23\n"
    assert count_hits(f"{full}@{full.parent}/counted.c:{LOOP}", full) == "\n@: 23\n"


def test_debug_files_are_searched_in_the_given_folders(program):
    _, bare = program
    point, folder = f"{bare}@counted.c:{LINE}", bare.parent / "debug"
    assert count_hits(point, bare, f"--debuginfo={folder}") == "\n@: 23\n"
    assert count_hits(point, bare, "--debuginfo=debug") == "\n@: 23\n"  # from the folder of the file
    assert run("script", "-e", f"uprobe:{point} {{ }}").status == 2
    listed = run("script", "-lv", f"uprobe:{bare}:hit", f"--debuginfo={folder}").out.splitlines()
    assert listed[1:] == ["    int count"]


def test_a_line_without_code_is_an_error(program):
    full, _ = program
    result = run("script", "-e", f"uprobe:{full}@counted.c:{NONE} {{ }}")
    assert (result.status, f"from line {NONE} of counted.c" in result.err) == (2, True)
    result = run("script", "-e", f"uprobe:{full}:0x10 {{ }}")
    assert result.err.splitlines()[0] == f"ERROR: Could not resolve address: {full}:0x10"


INLINED = """\
int usleep(unsigned);
__attribute__((noinline)) int hit(int count) {
    __asm__ volatile("" : "+r"(count));
    return count;
}
__attribute__((noinline)) int caller(int count) {
    return hit(count) + 2;
}
static inline __attribute__((always_inline)) int inner(int count) {
    return caller(count) + 1;
}
__attribute__((noinline)) int outer(int count) {
    return inner(count) * 3;
}
int main(void) {
    return outer(7) != 30 || usleep(900000);
}
"""


@pytest.mark.parametrize("options", [["-gdwarf-4"], ["-gdwarf-5"], ["-gdwarf-5", "-gsplit-dwarf"]])
def test_stacks_have_lines_and_inlined_functions(options, tmp_path):
    source, program = tmp_path / "nested.c", tmp_path / "nested"
    source.write_text(INLINED)
    build = ["gcc", *options, "-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]
    subprocess.run([*build, "-o", program, source], check=True, cwd=tmp_path)

    def stack(unwind, setting, call):
        text = f"config = {{ show_debug_info = {setting} }} uprobe:{program}:hit {{ print({call}); }}"
        result = run("script", "-q", "--unwind", unwind, "-e", text, "-c", program)
        assert result.status == 0, result.err
        return [
            re.sub(r"\b[0-9a-f]{6,}\b|\+\d+", "N", line.strip()) for line in result.out.split("\n") if line
        ]

    lines = stack("table", 1, "ustack(3)")
    assert lines[0] in {f"hitN@{source}:{line}" for line in (2, 3)}
    assert lines[1:] == [f"callerN@{source}:7", f"[inlined] inner@{source}:10", f"outerN@{source}:13"]
    assert stack("table", 0, "ustack(3)") == ["hitN", "callerN", "outerN"]
    # At its first instruction hit has no frame yet: the frame that is followed is that of its caller.
    lines = stack("fp", 1, "ustack(3)")
    assert lines[1:] == [f"[inlined] inner@{source}:10", f"outerN@{source}:13", f"mainN@{source}:16"]
    assert stack("fp", 0, "ustack(3)") == ["hitN", "outerN", "mainN"]
    assert stack("fp", 1, "ustack(perf, 2)")[1:] == ["N inner (inlined)", f"N outerN ({program})"]
