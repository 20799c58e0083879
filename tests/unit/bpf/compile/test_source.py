"""Test the C that is compiled: each include once, in place, and #line with the original files."""

from __future__ import annotations

import re

import pytest

from pytracer.bpf.compile import source
from pytracer.errors import BuildError


@pytest.fixture
def probes(tmp_path, monkeypatch):
    (tmp_path / "include").mkdir()
    monkeypatch.setattr(source, "probes_folder", lambda: tmp_path)
    return tmp_path


def places(text):
    """Return (file, line, text) of every line of code, as a compiler that follows #line would name them."""
    file, number, actual = "", 0, []
    for line in text.splitlines():
        if match := re.fullmatch(r'#line (\d+) "([^"]+)"', line):
            number, file = int(match[1]), match[2]
            continue
        if line.strip():
            actual.append((file, number, line))
        number += 1
    return actual


def file_lines(path):
    """Return the same of a file, own includes left out."""
    lines = enumerate(path.read_text().splitlines(), 1)
    return [
        (path.name, number, line)
        for number, line in lines
        if line.strip() and not re.match(r'\s*#\s*include\s+"', line)
    ]


def test_nested_includes_come_once_and_in_place(probes):
    (probes / "t.c").write_text(
        '// licence\n#include "a.h"\n#include "b.h"\n#include <linux/sched.h>\n\nint f;\n'
        '#include "a.h"\nint g;\n'
    )
    (probes / "include" / "a.h").write_text('#pragma once\n#include "c.h"\nint a;\n')
    (probes / "include" / "b.h").write_text('int b;\n  #  include "c.h"  // again\n\nint b2;')
    (probes / "include" / "c.h").write_text('#include "a.h"\nint c;\n')
    assert places(source.read_source("t.c")) == [
        ("t.c", 1, "// licence"),
        ("a.h", 1, "#pragma once"),
        ("c.h", 2, "int c;"),
        ("a.h", 3, "int a;"),
        ("b.h", 1, "int b;"),
        ("b.h", 4, "int b2;"),
        ("t.c", 4, "#include <linux/sched.h>"),
        ("t.c", 6, "int f;"),
        ("t.c", 8, "int g;"),
    ]


@pytest.mark.parametrize("name", sorted(path.name for path in source.probes_folder().glob("*.c")))
def test_every_line_of_our_files_keeps_its_place(name):
    actual = places(source.read_source(name))
    assert len(actual) == len(set(actual))
    assert not [line for _, _, line in actual if re.match(r'\s*#\s*include\s+"', line)]
    folder = source.probes_folder()
    for file in {file for file, _, _ in actual}:
        path = folder / name if file == name else folder / "include" / file
        assert [position for position in actual if position[0] == file] == file_lines(path)


@pytest.mark.parametrize("name", sorted(path.name for path in source.probes_folder().glob("*.c")))
def test_no_include_is_left_out_because_a_condition_held_the_first(name):
    """Each include is inlined once: under a condition, it is missing when that is false."""
    folder, always, sometimes = source.probes_folder(), {name}, set()

    def follow(path, depth):
        for line in path.read_text().splitlines():
            if match := re.match(r'\s*#\s*include\s+"([\w./-]+)"', line):
                file = match[1]
                assert depth or file not in sometimes, f"{path.name}: {file}"
                if file not in always | sometimes and (folder / "include" / file).exists():
                    (sometimes if depth else always).add(file)
                    follow(folder / "include" / file, depth)
            depth += bool(re.match(r"\s*#\s*if", line)) - bool(re.match(r"\s*#\s*endif", line))

    follow(folder / name, 0)


def test_an_absolute_path_is_taken_as_it_is(probes, tmp_path):
    (probes / "include" / "a.h").write_text("int a;\n")
    own_file = tmp_path / "elsewhere.c"
    own_file.write_text('#include "a.h"\nint own;\n')
    assert places(source.read_source(str(own_file))) == [("a.h", 1, "int a;"), ("elsewhere.c", 2, "int own;")]


def test_a_comment_is_no_include(probes):
    (probes / "t.c").write_text('// #include "nowhere.h"\n')
    assert places(source.read_source("t.c")) == [("t.c", 1, '// #include "nowhere.h"')]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nowhere.c", None, r"cannot read .*nowhere\.c: .*No such file"),
        ("t.c", b'#include "nowhere.h"\n', r"cannot read .*include/nowhere\.h"),
        ("t.c", b"int \xff;\n", r"cannot read .*t\.c: .*utf-8"),
    ],
)
def test_an_unreadable_include_is_an_error(probes, name, text, message):
    if text is not None:
        (probes / name).write_bytes(text)
    with pytest.raises(BuildError, match=message):
        source.read_source(name)
