"""Whole structs, arrays and arguments as values of scripts, by a program's debug information."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from support.cli import run

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

PROGRAM = """
struct pair { int left; short right[2]; };
struct whole { struct pair pairs[2]; char name[4]; unsigned char raw[3]; long grid[2][2];
               unsigned low:3, high:5; };
__attribute__((noinline)) int hit(struct whole *one, struct whole *other, int count) {
    __asm__ volatile("" :: "r"(one), "r"(other), "r"(count) : "memory");
    return count;
}
int main(void) {
    struct whole one = {{{1, {2, 3}}, {-4, {5, -6}}}, "abcd", {7, 8, 9}, {{10, 11}, {12, 13}}, 5, 20};
    struct whole other = one;
    other.grid[1][1]++;
    return hit(&one, &other, 23) != 23;
}
"""
WHOLE = {
    "pairs": [{"left": 1, "right": [2, 3]}, {"left": -4, "right": [5, -6]}],
    "name": "abcd",
    "raw": [7, 8, 9],
    "grid": [[10, 11], [12, 13]],
    "low": 5,
    "high": 20,
}
VALUES = {
    "*$o": WHOLE,
    "{ $w = *$o; ($w.name, $w.pairs[1].left, $w.grid[1][0]) }": ["abcd", -4, 12],
    "{ $g = $o.grid; $n = (uint64)$count; $g[$n - 22] }": [12, 13],
    "args.count": 23,
    "{ $a = args; $a.count }": 23,
    "$o.raw == $p.raw": True,
    "$o.grid == $p.grid": False,
    "$o.grid != $p.grid": True,
    "(1, $o.pairs[0]) == (1, $p.pairs[0])": True,
    "buf($o.name, 4) == buf($p.name, 4)": True,
    "buf($o.raw, 2) == buf($o.raw, 3)": False,
    "buf($o.name)": "abcd",
    "{ let $list : struct pair[2]; $list = $o.pairs; $list[0].right[1] }": 3,
    "{ $s = (struct pair *)$o; $a = ($s++).left; $b = ($s++).left; ($a, $b) }": [1, -4],
    "container_of(&$o.name, typeof(struct whole), name).pairs[1].left": -4,
    "sizeof(((int32)1, $o.pairs[0]))": 12,
    "(uint64)7 / (uint64)($count - 23)": 1,
    "(uint64)7 % (uint64)($count - 23)": 1,
    "strlen(pcomm) > 0 && pcomm == str(curtask.real_parent.comm)": 1,
    '__builtin_probetype == "uprobe" && probetype() == "uprobe"': True,
}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    (folder / "whole.c").write_text(PROGRAM)
    path = folder / "whole"
    subprocess.run(["cc", "-g", "-O0", "-fno-omit-frame-pointer", "-o", path, folder / "whole.c"], check=True)
    return path


def test_structs_and_arrays_are_values(program):
    """All in one script: a start takes longer than they do."""
    text = "uprobe:$1:hit { $o = args.one; $p = args.other; $count = args.count; "
    text += " ".join(f"print({expression});" for expression in VALUES) + " @by[*$o, 1] = 2; }"
    result = run("script", "-q", "-f", "json", "-e", text, program, "-c", str(program))
    assert result.status == 0, result.err
    *printed, by_map = [json.loads(line)["data"] for line in result.out.splitlines()]
    assert dict(zip(VALUES, printed, strict=True)) == VALUES
    [(key, value)] = by_map["@by"].items()
    assert value == 2
    assert "-4" in key


def test_structs_are_printed_with_the_names_of_their_members(program):
    text = "uprobe:$1:hit { print(args.one.pairs); print(args.one.pairs[1]); print(args); }"
    result = run("script", "-q", "-e", text, program, "-c", str(program))
    pairs, pair, arguments, *_ = result.out.splitlines()
    assert pairs == "[{ .left = 1, .right = [2,3] },{ .left = -4, .right = [5,-6] }]"
    assert pair == "{ .left = -4, .right = [5,-6] }"
    assert arguments.startswith("{ .one = 0x")
    assert arguments.endswith(", .count = 23 }")


def test_errors_of_macros_name_the_expansion():
    result = run("script", "-q", "-e", 'macro bad(x) { errorf("no %d", x); }\nbegin { bad(5); }')
    assert result.err == (
        "stdin:1:16-34: ERROR: no 5\nstdin:2:9-15: ERROR: expanded from\nbegin { bad(5); }\n        ~~~~~~\n"
    )


STACKS = """
#include <stdio.h>
#include <unistd.h>
__attribute__((noinline)) void inner(void) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void outer(void) { inner(); __asm__ volatile("" ::: "memory"); }
int main(int argc, char **argv) { for (int n = 0; n < 23; n++) outer();
    return argc > 1 ? getchar() != EOF : usleep(900000); }
"""


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deep")
    (folder / "deep.c").write_text(STACKS)
    path = folder / "deep"
    subprocess.run(["cc", "-O0", "-fno-omit-frame-pointer", "-o", path, folder / "deep.c"], check=True)
    return path


def test_functions_of_programs_have_names_in_maps_and_events(deep):
    text = (
        'uprobe:$1:inner { @[ustack(2), usym(reg("ip"))] = count(); @n++; if (@n == 1) { print(ustack(2)); '
        "print(ustack(perf, 2)); print(ustack(raw, 2)); print(ustack(build_id, 2)); } }"
    )
    result = run("script", "-q", "-e", text, deep, "-c", str(deep))
    assert result.status == 0, result.err
    as_bpftrace, as_perf, raw, ids, counts = result.out.split("\n\n")[:5]
    assert re.fullmatch(r"\n {8}inner\+0\n {8}(outer|main)\+\d+\n", as_bpftrace + "\n")
    assert re.fullmatch(
        rf"\n\t[0-9a-f]+ inner\+0 \({deep}\)\n\t[0-9a-f]+ (outer|main)\+\d+ \({deep}\)", as_perf
    )
    assert re.fullmatch(r"\n[0-9a-f]+\n[0-9a-f]+", raw)
    notes = subprocess.run(["readelf", "-n", deep], capture_output=True, text=True, check=True).stdout
    build_id = notes.partition("Build ID: ")[2].split()[0]
    assert [line.split()[0] for line in ids.split()[::2]] == [build_id] * 2
    assert re.search(r"^@\[\n {8}inner\+0\n {8}(outer|main)\+\d+\n, inner\]: 23$", result.out, re.M), counts


def test_patterns_of_files_and_the_files_of_a_process(deep, tmp_path):
    other_file = tmp_path / "none"
    other_file.write_text("no program")
    text = f"uprobe:{deep.parent}/*:inn* {{ if (func == func()) {{ @[probe, func] = count(); }} }}"
    assert run("script", "-q", "-e", text, "-c", str(deep)).out == f"\n@[uprobe:{deep}:inner, inner]: 23\n"
    symbols = subprocess.run(["nm", deep], capture_output=True, text=True, check=True).stdout
    address = re.search(r"^(\w+) T inner$", symbols, re.M)[1]
    at_address = run("script", "-q", "-e", f"uprobe:{deep}:0x{address} {{ @ = count(); }}", "-c", str(deep))
    assert at_address.out == "\n@: 23\n"
    assert "Could not resolve address" in run("script", "-e", f"uprobe:{deep}:0x7fffffff {{ }}").err
    for words in (("-l", "uprobe:*:inner"), ("-l", "-e", "uprobe:*:inner { }")):
        with subprocess.Popen([deep, "stays"], stdin=subprocess.PIPE) as process:
            assert run("script", *words, "-p", process.pid).out == f"uprobe:{deep}:inner\n"
            process.stdin.close()


def test_usdt_probes_have_their_providers(tmp_path):
    listed = run("script", "-l", "usdt:/usr/bin/python3*:gc*").out.splitlines()
    assert listed
    assert all(re.fullmatch(r"usdt:/usr/bin/python3[.\d]*:python:gc__\w+", line) for line in listed)
    text = "usdt:/usr/bin/python3::gc__start { @[probe] = count(); }"
    result = run("script", "-q", "-e", text, "--", "/usr/bin/python3", "-SIc", "import gc; gc.collect()")
    assert re.fullmatch(r"\n@\[usdt:/usr/bin/python3[.\d]*:python:gc__start\]: \d+\n", result.out), result.err


def test_named_parameters_that_are_false():
    text = 'begin { print((getopt("a", true), getopt("b", true), getopt("c", false))); }'
    assert run("script", "-q", "-e", text, "--", "--a=False", "--c=true").out == "(false, true, true)\n\n"


def test_histograms_with_a_number_in_each_bucket_and_probes_that_may_be_missing(tmp_path):
    text = (
        "config = { missing_probes = ignore } uprobe:/bin/sh:pt_none { } "
        "begin { @ = lhist(5, 0, 9, 1); @ = lhist(-1, 0, 9, 1); exit(); }"
    )
    result = run("script", "-q", "-e", text)
    rows = [line.split("|")[0].split() for line in result.out.splitlines() if "|" in line]
    assert (rows[0], rows[-1]) == (["(...,", "0)", "1"], ["[5]", "1"])
    assert result.err == ""


def test_blocks_of_an_event_run_in_the_order_of_the_script(deep):
    text = (
        'tracepoint:syscalls:sys_exit_clock_nanosleep { printf("a"); } '
        'tracepoint:syscalls:sys_exit_clock_nanosleep { printf("b "); } '
        'uprobe:$1:inner { printf("x"); } uprobe:$1:inner { printf("y "); }'
    )
    result = run("script", "-q", "-e", text, deep, "--", deep)
    assert result.out.count("xy ") == 23, result.err
    assert "ab " in result.out


def test_arguments_of_programs_are_listed_as_in_c_and_modules_must_be_loaded(program):
    listed = run("script", "-lv", f"uprobe:{program}:hit").out.splitlines()[1:]
    assert listed == ["    struct whole* one", "    struct whole* other", "    int count"]
    result = run("script", "-e", "rawtracepoint:pt_none:sys_enter { }")
    assert (result.status, "No matches for rawtracepoint pt_none:sys_enter." in result.err) == (2, True)


def test_patterns_beside_other_attach_points_may_match_nothing(deep):
    text = f"uprobe:{deep}:inner, uprobe:{deep}:inner.constprop.* {{ @ = count(); }}"
    result = run("script", "-q", "-e", text, "-c", str(deep))
    assert (result.out, result.status) == ("\n@: 23\n", 0)
    assert "inner.constprop.*" in result.err
    result = run("script", "-e", f"uprobe:{deep}:none*, uprobe:{deep}:nothing* {{ }}")
    assert (result.status, "No probes to attach\n" in result.err) == (2, True)
