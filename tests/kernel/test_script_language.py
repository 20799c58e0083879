"""Test the less common parts of the script language, by what scripts print."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from pytracer.kernel import tracefs
from support.cli import run

pytestmark = [pytest.mark.kernel, pytest.mark.lab]


def values(text, *arguments):
    """Return what a script prints, as JSON has it."""
    result = run("script", "-q", "-f", "json", "-e", text, *arguments)
    assert result.status == 0, result.err
    return [json.loads(line)["data"] for line in result.out.splitlines()]


EXPRESSIONS = {
    "if (pid) { 1 } else { 2 }": 1,
    "{ if (pid == 0) { 1 } else if (pid == 1) { 2 } else { $x = 3; $x } }": 3,
    "0 ?: 20": 20,
    "{ $n = 0; $m = pid ? { $n = 1; 5 } : { $n = 2; 6 }; ($n, $m) }": [1, 5],
    'is_str("a")': True,
    "is_ptr(curtask)": True,
    "is_integer(5) && !is_integer(comm)": 1,
    "is_unsigned_integer(pid)": True,
    "is_unsigned_integer(-5)": False,
    "is_array((int8[4])(int32)1)": True,
    "is_literal(5)": True,
    "is_literal(pid)": False,
    'typeinfo(5).base_type == "int"': True,
    'typeinfo((uint16)5).full_type == "uint16"': True,
    'probetype == "special"': True,
    'if comptime (is_str(pid)) { nonsense() } else { "number" }': "number",
    "1 < 2 && 3 >= 3": 1,
    'strlen("hello")': 5,
    "strlen(comm)": 6,
    'strstr("haystack", "st")': 3,
    'strstr("haystack", "x")': -1,
    'strcap("four")': 5,
    'memcmp("abc", "abd", 3) < 0': True,
    'memcmp("abc", "abd", 2)': 0,
    "signal_name(2)": "Interrupt",
    "is_err((uint64)-22)": True,
    "is_err(22)": False,
    "ppid(curtask) == ppid": True,
    "strlen(pcomm) == strlen(pcomm(curtask))": True,
    "leader_tid == pid": True,
    "strncmp(leader_comm(), comm, 6)": 0,
    "has_cpid": False,
    "{ @m[1] = 7; let $v; $has = find(@m, 1, $v); clear(@m); ($has, $v) }": [True, 7],
    "config.max_map_keys": 4096,
    "config.stack_mode": "bpftrace",
    "width(typeof(uint16))": 2,
    "width(5)": 1,
    "as_type(typeof(uint8), 258)": 2,
    "(RED, (enum color)7, (enum color)5)": ["RED", "BLUE", 5],
    "BLUE + 1": 8,
    "{ $c = BLUE; $c }": "BLUE",
    "BPF_MAP_TYPE_HASH": "BPF_MAP_TYPE_HASH",
    "(int32)BPF_MAP_TYPE_HASH": 1,
    "(FIRST, sizeof(FIRST))": [1, 8],  # of an enum without a name
    "{ $v = (uint16)300; $p = &$v; $v = 301; *$p }": 301,
    '{ $s = "text"; $p = &$s; (*$p, str($p)) }': ["text", "text"],
    "{ $t = (1, 2); $p = &$t; (*$p).1 }": 2,
    "{ @of[1] = 9; $p = &@of[1]; $x = *$p; clear(@of); $x }": 9,
    "{ let $n: uint32 = 5; let $q: typeof(uint32 *) = &$n; *$q }": 5,
    "is_ptr(&@of[1])": True,
}


def test_expressions():
    """All expressions are in one script, since a start takes longer than they do."""
    text = "enum color { RED, BLUE = 7 }; enum { FIRST = 1 }; "
    text += "macro width(T) { sizeof(T) } macro as_type(T, x) { (T)x } begin { "
    text += " ".join(f"print({expression});" for expression in EXPRESSIONS) + " }"
    assert dict(zip(EXPRESSIONS, values(text), strict=True)) == EXPRESSIONS


def test_programs_read_the_map_values_of_functions():
    text = (
        "begin { @a = avg(-5); @a = avg(-6); @c = count(); @s = sum(5); @block = { let $n = 100; avg($n) }; "
        'print((@a, @c, @s, @block)); if (@s > 4) { print("more"); } @k[@a, @c] = 1; '
        "clear(@a); clear(@c); clear(@s); clear(@block); }"
    )
    assert values(text) == [[-5, 1, 5, 100], "more", {"@k": {"-5,1": 1}}]


def test_programs_read_the_least_and_the_greatest_of_all_cpus():
    text = (
        "begin { @least = min(7); @least = min(-3); @most[1] = max(5); @most[2] = max(6); $sum = 0; "
        "for ($kv : @most) { $sum += $kv.1; } print((@least, @most[2], (int64)@least, $sum)); "
        "clear(@least); clear(@most); }"
    )
    result = run("script", "-q", "-e", text)
    if result.status == 2:
        assert "bpf_map_lookup_percpu_elem (Linux 5.19)" in result.err
        return
    assert result.out == "(-3, 6, -3, 11)\n\n"


def test_messages_name_their_position_in_the_script(tmp_path):
    text = 'begin { warnf("half %d", 5); errorf("bad: %s", "x");\n assert(pid == 0, "no pid"); print(1); }'
    result = run("script", "-q", "-e", text)
    assert (result.out, result.status) == ("\n", 1)
    assert "stdin:1:9-28: WARNING: half 5" in result.err
    assert result.err.endswith("stdin:1:30-52: ERROR: bad: x\nstdin:2:2-28: ERROR: assert failed: no pid\n")
    path = tmp_path / "quiet.bt"
    path.write_text('begin { warnf("half"); errorf("bad"); }')
    assert run("script", "-q", "--no-warnings", path).err == f"{path}:1:24-37: ERROR: bad\n"


def test_values_of_enums_have_their_names():
    text = (
        "enum color { RED, BLUE = 7 }; begin { @last = BLUE; @[RED, BLUE] = 1; "
        "@mixed[RED] = RED + 1; @mixed[3] = 4; "
        'printf("%d %s %-5s|\\n", BLUE, @last, RED); }'
    )
    result = run("script", "-q", "-e", text)
    assert result.out == "7 BLUE RED  |\n\n@[RED, BLUE]: 1\n@last: BLUE\n@mixed[0]: 1\n@mixed[3]: 4\n"


def test_a_variable_of_a_program_is_read_wherever_the_program_is_loaded(tmp_path):
    source = tmp_path / "shares.c"
    source.write_text(
        "short narrow = 0x1234; long wide = 0x3333333333; __attribute__((noinline)) void hit(void)"
        '{ __asm__ volatile(""); } int main(void) { narrow++; hit(); return 0; }'
    )
    text = (
        'uprobe:$1:hit { printf("%x %llx %d\\n", *uaddr("narrow"), *uaddr("wide"), '
        'sizeof(*uaddr("narrow"))); }'
    )
    for flags in (("-pie", "-fPIE"), ("-no-pie",)):
        program = tmp_path / "shares"
        subprocess.run(["cc", "-o", program, *flags, source], check=True)
        result = run("script", "-q", "-e", text, program, "-c", str(program))
        assert result.out == "1235 3333333333 2\n\n", result.err
    result = run("script", "-e", 'uprobe:$1:hit { print(uaddr("none")); }', program)
    assert "the program has no variable 'none'" in result.err


def test_a_variable_of_each_cpu_is_its_own():
    text = (
        'begin { $q = (struct rq *)percpu_kaddr("runqueues", 0); '
        'print(($q.cpu, percpu_kaddr("runqueues", 9999))); }'
    )
    result = run("script", "-q", "-e", text)
    if result.status == 2:  # a kernel that lists functions only
        assert "Failed to resolve kernel symbol: runqueues" in result.err
        assert " runqueues\n" not in Path("/proc/kallsyms").read_text()
        return
    assert result.out == "(0, 0x0)\n\n"


def test_debugf_writes_to_the_trace_of_the_kernel():
    result = run("script", "-q", "-e", f'begin {{ debugf("pytracer %d %s", {os.getpid()}, "here"); }}')
    assert (result.status, result.out) == (0, "\n"), result.err
    expected = f"bpf_trace_printk: pytracer {os.getpid()} here"
    assert expected in (tracefs.root() / "trace").read_text()


def test_imported_scripts_begin_first_and_messages_name_their_files(tmp_path):
    tmp_path.chmod(0o755)
    helpers, main = tmp_path / "helpers.bt", tmp_path / "main.bt"
    helpers.write_text('macro twice(x) { x * 2 }\nbegin { errorf("here"); print(1); }')
    main.write_text('import "helpers.bt";\nbegin { print(twice(21)); }\nbegin { print(3); }')
    result = run("script", "-q", main)
    assert (result.out, result.err) == ("1\n42\n3\n\n", f"{helpers}:2:9-23: ERROR: here\n")


def test_settings_of_the_environment_precede_those_of_the_script():
    text = "config = { max_map_keys = 5; print_maps_on_exit = 1 } begin { @ = 1;print(config.max_map_keys); }"
    env = {"BPFTRACE_PRINT_MAPS_ON_EXIT": "0", "BPFTRACE_MAX_MAP_KEYS": "6"}
    assert run("script", "-q", "-e", text, env={**os.environ, **env}).out == "6\n"


def test_a_time_series_has_the_values_of_its_intervals():
    text = (
        'interval:ms:10 { @n++; @sum = tseries(2, 50ms, 1000, "sum"); '
        "@last[@n % 2] = tseries(@n, 50ms, 1000); "
        "if (@n == 23) { exit(); } }"
    )
    actual = {name: data for item in values(text) for name, data in item.items()}
    assert sum(interval["value"] for interval in actual["@sum"]) == 2 * actual["@n"]
    assert all(interval["interval_start"][-8:] in ("00000000", "50000000") for interval in actual["@sum"])
    assert (
        max(interval["value"] for series in actual["@last"].values() for interval in series) == actual["@n"]
    )
    numbers = {interval["value"] % 2 for interval in actual["@last"]["1"]}
    assert numbers == {1}
