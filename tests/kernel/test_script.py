"""Test scripts in bpftrace's language on workloads of the test's own."""

from __future__ import annotations

import json
import sys

import pytest

import pytracer
from pytracer.features.kernel_facts import RunningKernel
from pytracer.features.table import helpers
from support.cli import run
from support.needs import needs
from support.starts import start

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

OPENS = "import os\nfor n in range(23): os.close(os.open('/dev/null', os.O_RDONLY))\n"
WORKLOAD = ("--", sys.executable, "-S", "-c", OPENS)


def output(text, *arguments, **options):
    """Return the standard output of a script."""
    result = run("script", "-q", "-e", text, *arguments, **options)
    assert result.status == 0, result.err
    return result.out


def values(text, *arguments):
    """Return what a script prints, as JSON has it: pairs of type and data."""
    lines = (
        output(text, *arguments, "-f", "json").splitlines()
        if "--" not in arguments
        else json_lines(text, arguments)
    )
    return [(line["type"], line["data"]) for line in map(json.loads, lines)]


def json_lines(text, arguments):
    return output(text, "-f", "json", *arguments).splitlines()


@pytest.mark.smoke
def test_opens_of_a_command_are_counted_exactly():
    text = (
        "config = { max_strlen = 64 } "  # keys have at most 512 bytes on older kernels
        'tracepoint:syscalls:sys_enter_openat /str(args.filename) == "/dev/null"/ '
        "{ @[comm, str(args.filename)] = count(); @flags = max(args.flags); }"
    )
    kinds = dict(pair for kind, data in values(text, *WORKLOAD) for pair in data.items() if kind == "map")
    assert list(kinds["@"].values()) == [23]
    assert kinds["@flags"] == 0o2000000  # O_CLOEXEC


def test_strings_are_cut_behind_max_strlen_bytes():
    text = (
        "config = { max_strlen = 5 } tracepoint:syscalls:sys_enter_openat /args.flags == 0x80000/ "
        "{ @[str(args.filename)] = count(); }"
    )
    assert "@[/dev/..]: 23\n" in output(text, *WORKLOAD)
    whole = text.replace("max_strlen = 5", "max_strlen = 10").replace(
        "@[str(args.filename)] = count();", "print(str(args.filename));"
    )
    assert output(whole, *WORKLOAD).splitlines().count("/dev/null") == 23


def test_events_are_printed_in_their_order_and_none_is_lost():
    text = (
        'tracepoint:syscalls:sys_exit_openat /args.ret >= 0/ { @n++; printf("%d %d\\n", @n, args.ret > 0); }'
    )
    lines = output(text, *WORKLOAD).partition("\n\n")[0].splitlines()
    numbers = [int(line.split()[0]) for line in lines if line]
    assert len(numbers) >= 23
    assert numbers == list(range(1, len(numbers) + 1))


STRUCTS = """
struct packed { int x; char y; int z; } __attribute__((packed));
struct whole {
    char a; union { int i; long l; }; struct { short p; char q; } __attribute__((aligned(16))) w;
};
"""
EXPRESSIONS = {
    "1 + 2 * 3": 7,
    "(7 - 10)": -3,
    "-7 / 2": -3,
    "-7 % 3": -1,
    "1 << 10": 1024,
    "0xff & ~0x0f": 0xF0,
    "5 > 3": True,
    "5 == 3 || 2 != 2": 0,
    "3 ? 10 : 20": 10,
    '"abc" == "abc"': True,
    'strncmp("abcd", "abxx", 2)': 0,
    'strcontains("haystack", "st")': True,
    'len("four")': 4,
    "(uint8)300": 44,
    "(int8)200": -56,
    "sizeof(uint32)": 4,
    "sizeof(struct packed)": 9,
    "(sizeof(struct whole), offsetof(struct whole, l), offsetof(struct whole, w.q))": [32, 8, 18],
    'strcontains("hello\\0world", "world")': False,
    '(strcontains("hello world", "wo\\0rld"), sizeof("a\\0b"))': [True, 4],
    "bswap((uint16)0x1234)": 0x3412,
    "10 / 0": 1,
    "{ $a = 20; $a + 1 }": 21,
    '(1, "two", (3, -4))': [1, "two", [3, -4]],
    '(1, "two").1': "two",
    "((int8[4])(int32)0x04030201)[2]": 3,
    'ntop(pton("127.0.0.1"))': "127.0.0.1",
    'ntop(pton("fe80::1"))': "fe80::1",
    'macaddr(pton("1.2.3.4"))': "01:02:03:04:00:00",
    "strerror(2)": "No such file or directory",
    "true ? false : true": False,
    "{ @p = (int32 *)0x32; @p++; @p }": 0x36,
    "str($1)": "42",
    "$1 + 1": 43,
    "str($2)": "text",
    "$#": 2,
}


def test_expressions():
    """All expressions are in one script, since a start takes longer than they do."""
    text = STRUCTS + "begin { " + " ".join(f"print({expression});" for expression in EXPRESSIONS) + " }"
    result = run("script", "-q", "-f", "json", "-e", text, "42", "text")
    assert result.status == 0, result.err
    lines = [json.loads(line)["data"] for line in result.out.splitlines()][: len(EXPRESSIONS)]
    assert dict(zip(EXPRESSIONS, lines, strict=True)) == EXPRESSIONS


def test_maps_of_each_function():
    text = (
        "begin { $i = 0; while ($i < 10) { @count = count(); @sum = sum($i); @avg = avg($i); @min = min($i); "
        "@max = max($i); @stats = stats($i); @hist = hist($i); @lhist = lhist($i, 0, 10, 5); "
        '@[$i % 2, "k"] = $i; $i++; } delete(@, (0, "k")); }'
    )
    actual = {name: data for _, expression in values(text) for name, data in expression.items()}
    assert actual["@count"] == 10
    assert (actual["@sum"], actual["@avg"], actual["@min"], actual["@max"]) == (45, 4, 0, 9)
    assert actual["@stats"] == {"count": 10, "average": 4, "total": 45}
    assert [(row["min"], row["count"]) for row in actual["@hist"]] == [(0, 1), (1, 1), (2, 2), (4, 4), (8, 2)]
    assert [(row["min"], row["max"], row["count"]) for row in actual["@lhist"]] == [(0, 4, 5), (5, 9, 5)]
    assert actual["@"] == {"1,k": 9}


def test_loops_of_any_length_are_checked_once():
    """The verifier would follow each of 1024 iterations with each branch of a histogram, and give up."""
    needs("loops by bpf_loop", RunningKernel().has_helper(helpers.LOOP.number))
    text = (
        "begin { $i = 0; while ($i < 1024) { @ = hist($i, 3); $i++; if ($i == 1000) { continue; } } "
        "while (true) { $j = 0; while (1) { if (++$j > 300) { break; } @n++; } "
        "if ($i++ > 1100) { return; } } @never = 1; }"
    )
    actual = {name: data for _, expression in values(text) for name, data in expression.items()}
    assert sum(row["count"] for row in actual["@"]) == 1024
    assert actual["@n"] == 300 * (1100 - 1024 + 2)
    assert "@never" not in actual


def test_an_endless_loop_is_ended_and_reported():
    needs("loops by bpf_loop", RunningKernel().has_helper(helpers.LOOP.number))
    result = run("script", "-f", "json", "-e", "begin { while (1) { @n++; } @after = 1; }")
    assert result.status == 0, result.err
    records = [json.loads(line) for line in result.out.splitlines()]
    [lost] = [expression["data"] for expression in records if expression["type"] == "lost_events"]
    assert lost == {"events": 1, "reason": "loop_cut"}
    assert {"type": "map", "data": {"@n": 1 << 20}} in records
    assert {"type": "map", "data": {"@after": 1}} in records


def test_text_is_bpftraces():
    text = 'begin { @a["x"] = 1; @a["y"] = 2; @h = hist(5); print(@a, 1); clear(@a); @b = (1, "t"); }'
    bar = "@" * 52
    assert output(text) == f"@a[y]: 2\n\n@b: (1, t)\n@h:\n[4, 8)                 1 |{bar}|\n\n"


def test_a_program_reads_the_entries_of_a_map():
    text = (
        'begin { @a[1, "x"] = 5; @a[2, "y"] = 6; @a[3, "z"] = 7; $sum = 0; '
        'for ($kv : @a) { if ($kv.0.1 == "y") { continue; } $sum += $kv.1; } print($sum); clear(@a); }'
    )
    result = run("script", "-q", "-e", text)
    if result.status == 4:
        assert "bpf_for_each_map_elem" in result.err  # before Linux 5.13
        return
    assert result.out == "12\n\n"


def test_begin_and_end_frame_the_run_and_exit_gives_the_status():
    text = 'begin { printf("b "); exit(7); } end { printf("e"); }'
    result = run("script", "-q", "-e", text)
    assert (result.out, result.status) == ("b e\n", 7)


def test_intervals_end_a_script():
    text = 'interval:ms:20 { @n++; if (@n == 3) { printf("three\\n"); exit(); } }'
    printed, count = output(text).split("\n\n@n: ")
    assert printed == "three"
    assert int(count) >= 3  # the timer goes on until user space has read the exit


def test_macros_structs_and_parameters():
    text = (
        "struct pair { char a; int b; };\n"
        "macro twice(x) { x * 2 }\n"
        "macro bump($v) { $v += 1; }\n"
        "begin { $n = 20; bump($n); print(twice($n)); print(sizeof(struct pair)); "
        'print(offsetof(struct pair, b)); print(getopt("size", 5)); print(getopt("flag")); }'
    )
    assert output(text) == "42\n8\n4\n5\nfalse\n\n"


def test_macros_within_macros_change_the_variables_that_they_are_given():
    text = (
        "macro one($x) { $x += 1; }\nmacro two($y) { one($y); $y += 1; }\n"
        "macro three($z) { two($z); $z += 1; }\n"
        "macro total(@m) { let $sum = 0; for ($kv : @m) { $sum += $kv.1; } $sum }\n"
        "begin { $a = 1; three($a); print($a); @a[1] = 5; @a[2] = 6; print(cpu() == cpu); "
    )
    assert output(text + "clear(@a); }") == "4\ntrue\n\n"
    result = run("script", "-q", "-e", text + "print(total(@a)); clear(@a); }")
    assert result.status == 4 or result.out == "4\ntrue\n11\n\n"  # 4: before Linux 5.13


@pytest.mark.parametrize(
    ("text", "message", "wrong"),
    [
        ("begin { print(@x); print(@x + 1); }", "nothing assigns a value to @x", "@x"),
        ("begin { $x = 1; $x = (1, 2); }", "$x is a s8, and this is (s8,s8)", "$x = (1, 2)"),
        (
            'begin { @[1] = 1; @["a"] = 1; }',
            "Argument mismatch for @: trying to access with arguments: '(string[2])' when map expects "
            "arguments: '(int8)'",
            '@["a"] = 1',
        ),
        (
            'begin { system("true"); }',
            "system() is unsafe. To use you need the --unsafe flag",
            'system("true")',
        ),
        ("begin { nonsense(); }", "no function 'nonsense'", "nonsense()"),
        ('begin { printf("%d\\n"); }', "1 conversions in the format, and 0 arguments", 'printf("%d\\n")'),
        ("kprobee:f { }", "no provider 'kprobee'", "kprobee:f"),
        (
            "tracepoint:syscalls:sys_enter_nothing { }",
            "No matches for tracepoint syscalls:sys_enter_nothing.",
            "tracepoint:syscalls:sys_enter_nothing",
        ),
        ("begin { unroll (101) { } }", "unroll maximum value is 100", "101"),
        ("begin { @ = 1; print(len(@)); }", None, "@"),
    ],
)
def test_mistakes_are_pointed_at_before_anything_is_attached(text, message, wrong):
    result = run("script", "-e", text)
    assert result.status == 2
    error, line, marks, *_ = result.err.splitlines()
    start = marks.index("~")
    end = start + len(marks.strip())
    assert line[start:end] == wrong
    position = f"stdin:1:{start + 1}-{end + 1}: ERROR: "
    assert error == position + message if message else error.startswith(position)


def test_a_mistake_in_a_script_of_several_lines_is_shown_with_its_line(tmp_path):
    path = tmp_path / "three.bt"
    path.write_text("// a comment\nbegin {\n\tprint(nonsense);\n}\n")
    result = run("script", path)
    assert result.status == 2
    error, *excerpt = result.err.splitlines()[:3]
    assert error.startswith(f"{path}:3:8-16: ERROR: no builtin or constant 'nonsense'")
    assert excerpt == [" print(nonsense);", "       ~~~~~~~~"]


def test_the_c_contains_no_text_of_the_user():
    text = 'begin { @evil_name["*/ evil_text /*"] = 1; $evil_variable = 2; print($evil_variable); }'
    result = run("script", "--emit-c", "-e", text)
    assert result.status == 0, result.err
    assert "evil" not in result.out


def test_names_of_the_traced_system_are_harmless(tmp_path):
    name = tmp_path / "\x1b]0;title\x07\nline"
    name.touch()
    work = ("--", sys.executable, "-S", "-c", f"open({str(name)!r})")
    text = 'tracepoint:syscalls:sys_enter_openat { printf("%s|\\n", str(args.filename)); }'
    actual = output(text, *work)
    assert "\x1b" not in actual
    assert "\\x1b]0;title\\x07\\nline|" in actual


def test_a_full_map_is_a_loss():
    text = "config = { max_map_keys = 2 } begin { @[1] = 1; @[2] = 1; @[3] = 1; }"
    kinds = values(text)
    assert ("lost_events", {"events": 1, "reason": "map_full"}) in kinds


def test_named_parameters_precede_a_command():
    values = ('"size", 5', '"flag"', '"text", "none"')
    text = (
        f"begin {{ {' '.join(f'print(getopt({expression}));' for expression in values)} print(cpid > 0); }}"
    )
    assert output(text, "--", "--size=7", "--flag") == "7\ntrue\nnone\nfalse\n\n"
    actual = output(text, "--", "--text=some", "--", "true")
    assert actual == "5\nfalse\nsome\ntrue\n\n"


def test_names_of_traced_processes_are_not_executed(tmp_path):
    marker_file = tmp_path / "made"
    text = 'begin { system("echo %s", str($1)); system("echo %d", 5); }'
    assert output(text, f"a; touch {marker_file}", "--unsafe") == f"a; touch {marker_file}\n5\n\n"
    assert not marker_file.exists()


def test_second_start_loads_no_compiler():
    text = "begin { print(12345); }"
    assert output(text) == "12345\n\n"
    result = run("script", "-q", "-v", "-e", text)
    assert "compiled" not in result.err
    assert result.out == "12345\n\n"


def test_a_script_that_ends_at_once_loads_no_numpy():
    """Whatever its maps hold: the import takes as long as all the rest."""
    text = """begin {
        printf("%s|%-5s|%d\n", "one", "two", 3); print((1, "x")); @n = 7; @s["a"] = "text"; @c = count();
        @avg = avg(5); @min = min(-3); @max[1] = max(9); @h = hist(5); @l = lhist(3, 0, 10, 5); print(@n);
        zero(@n); exit(); } end { printf("end\n"); }"""
    expected = ["one|two  |3", "(1, x)", "@n: 7", "end", "", "@avg: 5", "@c: 1"]
    expected += ["@h:", f"[4, 8)                 1 |{'@' * 52}|", ""]
    expected += ["@l:", f"[0, 5)                 1 |{'@' * 52}|", ""]
    expected += ["@max[1]: 9", "@min: -3", "@n: 0", "@s[a]: text", ""]
    assert output(text)  # the image is kept
    run = start("script", "-q", "-e", text)
    assert run.output.split("\n") == expected
    assert not run.modules & {"numpy", "socket", "shlex", "pytracer.lang.codegen", "pytracer.symbols.symtab"}


def test_from_python_outputs_are_typed():
    text = 'begin { print((1, "two", $1)); @n["k"] = 7; @c = count(); printf("%d\\n", 3); }'
    with pytracer.script(text, "5") as trace:
        rows = [row for item in trace for row in item.rows() if row["type"] not in ("", "attached_probes")]
    assert [(row["type"], row["data"]) for row in rows] == [
        ("value", [1, "two", 5]),
        ("printf", "3\n"),
        ("map", {"@c": 1}),
        ("map", {"@n": {"k": 7}}),
    ]
