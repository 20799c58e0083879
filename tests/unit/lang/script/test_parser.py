"""Test the parser of scripts, and the position of its errors."""

from __future__ import annotations

import pytest

from pytracer.errors import ProbeSpecError, UsageError
from pytracer.lang.script import parse_script, syntax
from pytracer.lang.script.settings import from_environment
from pytracer.lang.syntax import Binary, Cast, Conditional, NumberLiteral, TextLiteral


def statements(body):
    return parse_script(f"begin {{ {body} }}").probes[0].body.statements


def expression(text):
    [statement] = statements(f"$x = {text};")
    return statement.value


def points(text):
    return [point.parts for point in parse_script(f"{text} {{ }}").probes[0].points]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("kprobe:vfs_read", [("kprobe", "vfs_read")]),
        ("k:a, kr:b", [("k", "a"), ("kr", "b")]),
        ("begin", [("begin",)]),
        ("tracepoint:syscalls:sys_enter_*", [("tracepoint", "syscalls", "sys_enter_*")]),
        ("uprobe:/bin/bash:readline", [("uprobe", "/bin/bash", "readline")]),
        ('uprobe:"/tmp/a b:c":f', [("uprobe", "/tmp/a b:c", "f")]),
        ("usdt:./prog:provider:name", [("usdt", "./prog", "provider", "name")]),
        ("kprobe:vfs_read+4", [("kprobe", "vfs_read+4")]),
        ("interval:s:1,\nprofile:hz:99 // both\n", [("interval", "s", "1"), ("profile", "hz", "99")]),
    ],
)
def test_attach_points(text, parts):
    assert points(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "kprobe:vfs_read /pid == 5/ { }",
        "kprobe:vfs_read/pid == 5/{ }",
        "uprobe:/bin/bash:readline /pid == 5/ { }",
        "uprobe:/bin/bash:readline/pid == 5/ { }",
        "kprobe:vfs_read\n/pid == 10 / 2/\n{ }",
    ],
)
def test_predicates(text):
    [block] = parse_script(text).probes
    assert isinstance(block.predicate, Binary)
    assert block.predicate.sign == "=="
    assert block.points[0].parts[-1] in ("vfs_read", "readline")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1_000", 1000),
        ("1e6", 1_000_000),
        ("0x1F", 31),
        ("017", 15),
        ("5ms", 5_000_000),
        ("2d", 2 * 86400 * 10**9),
        ("123UL", 123),
    ],
)
def test_numbers(text, value):
    node = expression(text)
    assert isinstance(node, NumberLiteral)
    assert node.value == value


def test_literals_behind_each_other_are_one():
    node = expression('"a" "b"')
    assert isinstance(node, TextLiteral)
    assert node.value == "ab"


def test_tuples_records_and_parentheses():
    assert isinstance(expression("(1)"), NumberLiteral)
    assert [item.value for item in expression("(1,)").items] == [1]
    assert expression("()").items == ()
    record = expression("(a=1, b=(2, 3))")
    assert isinstance(record, syntax.RecordLiteral)
    assert record.names == ("a", "b")


def test_a_name_before_an_operand_is_a_type():
    assert isinstance(expression("(uint64)$1"), Cast)
    assert isinstance(expression("(struct sock *)arg0"), Cast)
    assert isinstance(expression("(pid) + 1"), Binary)


def test_blocks_have_the_value_of_their_last_expression():
    node = expression("{ $a = 1; $a + 1 }")
    assert isinstance(node, syntax.BlockExpression)
    assert isinstance(node.last, Binary)
    [block] = statements("{ $a = 1; $a }")
    assert isinstance(block, syntax.Block)


def test_an_if_with_two_values_is_an_expression():
    node = expression("if ($a) { 1 } else if ($b) { $c = 2; $c } else { 3 }")
    assert isinstance(node, Conditional)
    assert isinstance(node.no, Conditional)
    [statement] = statements("if ($a) { 1 } else { $b = 2; }")
    assert isinstance(statement, syntax.If)
    chosen = expression("$a ?: 5")
    assert chosen.condition == chosen.yes


def test_loops():
    [over_map] = statements("for ($kv : @a) { print($kv); }")
    assert isinstance(over_map, syntax.ForMap)
    assert (over_map.variable, over_map.map.name) == ("$kv", "@a")
    [over_range] = statements("for $i : 0..10 { break; }")
    assert isinstance(over_range, syntax.ForRange)


def test_excluded_branches_are_dropped_and_positions_stay():
    text = "#ifndef BPFTRACE_HAVE_BTF\n#include <x.h>\n#else\n#define LEAST 5\n#endif\nbegin { $x = y }"
    script = parse_script(text)
    assert script.constants == (("LEAST", 5),)
    [assignment] = script.probes[0].body.statements
    assert text[assignment.value.start : assignment.value.end] == "y"


def test_definitions():
    script = parse_script(
        'config = { max_strlen = 64; BPFTRACE_STACK_MODE=perf; str_trunc_trailer = "" }\n'
        "struct pair { int a; char name[8]; struct pair *next; };\n"
        "enum color { RED, BLUE = 7, GREEN };\n"
        "let @least = lruhash(10);\n"
        "macro add(x, @m) { @m += x; }\n"
        "begin { add(1, @sum); }"
    )
    assert script.config == {"max_strlen": "64", "stack_mode": "perf", "str_trunc_trailer": ""}
    assert [field.name for field in script.structs[0].fields] == ["a", "name", "next"]
    assert script.structs[0].fields[1].lengths == (8,)
    assert [(enum.name, enum.members) for enum in script.enums] == [
        ("color", (("RED", 0), ("BLUE", 7), ("GREEN", 8)))
    ]
    assert (script.maps[0].name, script.maps[0].kind, script.maps[0].capacity) == ("@least", "lruhash", 10)
    assert ("add", 2) in script.macros


def test_structs_within_structs():
    script = parse_script(
        "struct a { char c; struct b { int x, *y; } in; union { int i; long l; }; } __attribute__((packed))\n"
        "struct d { int z[2][3]; } __attribute__((aligned(16), packed)); begin { }"
    )
    assert [struct.name for struct in script.structs] == ["b", "a.1", "a", "d"]
    inner_struct, unnamed, outer, last = script.structs
    assert [(struct.name, struct.type.stars) for struct in inner_struct.fields] == [("x", 0), ("y", 1)]
    assert unnamed.kind == "union"
    assert [(struct.name, struct.type.text) for struct in outer.fields] == [
        ("c", "char"),
        ("in", "struct b"),
        ("", "union a.1"),
    ]
    assert (outer.packed, outer.align, last.packed, last.align) == (True, 0, True, 16)
    assert last.fields[0].lengths == (2, 3)


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [
        ("", "there is no probe", ""),
        ("struct a { int x; } __attribute__((cold)) begin { }", "no attribute 'cold'", "cold"),
        (
            "struct a { int x; } __attribute__((aligned(3))) begin { }",
            "aligned(3): it takes a power of two",
            "aligned",
        ),
        ("kprobe:f", "'{' is missing here", ""),
        ("kprobe:f { $x = ; }", "';' is not allowed here", ";"),
        ("kprobe:f { printf(1 }", "',' is missing here between the arguments", "}"),
        ("kprobe:f { @x[1 = 2; }", "']' is missing here after the key", "="),
        ("kprobe:f /pid { }", "'/' is missing here after the predicate", "{"),
        ("kprobe:f { if (1) print(1) }", "'{' is missing here", "print"),
        ("kprobe:f { `id` }", "'`' has no meaning here", "`"),
        (
            "#define F(x) x\nbegin { }",
            "of the preprocessor, only #define NAME NUMBER is supported",
            "#define F(x) x",
        ),
        ("#if 1\nbegin { }", "#if is not supported", "#if 1"),
        (
            "config = { stack_mode = dwarf } begin { }",
            "Invalid value for stack_mode. Found: dwarf. Valid values: bpftrace, perf, raw, build_id.",
            "stack_mode = dwarf",
        ),
        (
            'config = { license = "none" } begin { }',
            "Invalid value for license. Found: none. Valid values: Dual MIT/GPL, Dual BSD/GPL, Dual MPL/GPL, "
            "GPL and additional rights, GPL v2, GPL.",
            'license = "none"',
        ),
        (
            "config = { max_strlen = 0 } begin { }",
            "Invalid value for max_strlen. Found: 0. Valid values: a number from 1 on.",
            "max_strlen = 0",
        ),
        ("config = { bad = 1 } begin { }", "bad: not a known configuration option", "bad = 1"),
        ("import x; begin { }", "'x' is not allowed here", "x"),
    ],
)
def test_mistakes_are_pointed_at(text, message, marked):
    with pytest.raises(ProbeSpecError) as excinfo:
        parse_script(text)
    assert excinfo.value.message == message
    assert text[excinfo.value.start : excinfo.value.end].strip() == marked


def test_the_environment_has_settings_as_well():
    expected = {
        "BPFTRACE_MAX_STRLEN": "8",
        "BPFTRACE_PRINT_MAPS_ON_EXIT": "false",
        "BPFTRACE_X": "1",
        "A": "b",
    }
    assert from_environment(expected) == {"max_strlen": "8", "print_maps_on_exit": "0"}
    with pytest.raises(UsageError, match="BPFTRACE_MAX_STRLEN='x' is no value"):
        from_environment({"BPFTRACE_MAX_STRLEN": "x"})
