"""Functions by what users write: several by one name, several names of one, and names with signs in them."""

from __future__ import annotations

import subprocess

import pytest

from pytracer.errors import UnknownNameError
from pytracer.spec import quoting
from pytracer.symbols import files, places

SUB = """static __attribute__((noinline)) int sub(int x) { asm volatile(""); return x + %d; }
int run_%s(int n) { return sub(n); }
"""
MAIN = "int run_a(int); int run_b(int); int main(void) { return run_a(1) + run_b(2); }\n"


def compiled(folder, sources, *options, output="program", compiler="gcc"):
    """Compile sources, by their path in the folder; the path of the program."""
    for path, text in sources.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    command = [compiler, *options, "-o", output, *(path for path in sources if not path.endswith(".map"))]
    subprocess.run(command, cwd=folder, check=True)
    return folder / output


def titles(path, written):
    with files.find(str(path)) as file:
        return sorted(places.find(file, written).titles)


def offsets(path, written):
    with files.find(str(path)) as file:
        return [spot.offset for spot in places.find(file, written).spots]


def test_static_functions_of_two_units_are_two_and_each_can_be_asked_for(tmp_path):
    program = compiled(tmp_path, {"a.c": SUB % (1, "a"), "b.c": SUB % (2, "b"), "m.c": MAIN}, "-O1")
    assert titles(program, "sub") == ["a.c:sub", "b.c:sub"]
    both = offsets(program, "sub")
    assert len(both) == 2
    for title in ("a.c:sub", "b.c:sub", "sub@1", "sub@2"):
        assert len(offsets(program, title)) == 1
    assert {*offsets(program, "a.c:sub"), *offsets(program, "b.c:sub")} == set(both)
    assert [*offsets(program, "sub@1"), *offsets(program, "sub@2")] == both
    assert titles(program, "?.c:sub") == ["a.c:sub", "b.c:sub"]
    assert titles(program, "s?b") == ["a.c:sub", "b.c:sub"]
    with pytest.raises(UnknownNameError):
        offsets(program, "c.c:sub")
    with pytest.raises(UnknownNameError):
        offsets(program, "sub@3")


@pytest.mark.parametrize(
    ("debug", "expected"), [("-g", ["one/x.c:sub", "two/x.c:sub"]), ("-g0", ["sub@1", "sub@2"])]
)
def test_units_of_one_name_are_told_apart_by_debug_information_else_numbered(tmp_path, debug, expected):
    sources = {"one/x.c": SUB % (1, "a"), "two/x.c": SUB % (2, "b"), "m.c": MAIN}
    program = compiled(tmp_path, sources, "-O1", debug)
    assert titles(program, "sub") == expected
    assert {tuple(offsets(program, title)) for title in expected} == {
        (offset,) for offset in offsets(program, "sub")
    }


def test_a_unit_is_told_of_a_global_function_by_debug_information(tmp_path):
    program = compiled(tmp_path, {"a.c": SUB % (1, "a"), "b.c": SUB % (2, "b"), "m.c": MAIN}, "-O1", "-g")
    assert offsets(program, "a.c:run_a") == offsets(program, "run_a")
    with pytest.raises(UnknownNameError):
        offsets(program, "b.c:run_a")


def test_versions_of_a_function_are_all_found_and_each_can_be_asked_for(tmp_path):
    source = (
        "int old(void) { return 1; } int new(void) { return 2; }\n"
        '__asm__(".symver old,wait@V1"); __asm__(".symver new,wait@@V2");\n'
    )
    sources = {"l.c": source, "v.map": "V1 { global: wait; local: *; }; V2 { global: wait; } V1;"}
    options = ["-shared", "-fPIC", "-Wl,--version-script=v.map"]
    library = compiled(tmp_path, sources, *options, output="l.so")
    for _ in range(2):  # by .symtab, and by .dynsym alone
        assert titles(library, "wait") == ["wait@@V2", "wait@V1"]
        assert titles(library, "w*") == ["wait@@V2", "wait@V1"]
        assert titles(library, "wait@*") == ["wait@@V2", "wait@V1"]
        old, new = offsets(library, "wait@V1"), offsets(library, "wait@@V2")
        assert len(old) == len(new) == 1
        assert sorted(old + new) == offsets(library, "wait")
        subprocess.run(["strip", library], check=True)


def test_names_of_one_place_are_one_function_with_all_its_names(tmp_path):
    source = 'int f(void) { return 1; } int g(void) __attribute__((alias("f"))); int h(void) { return 2; }\n'
    library = compiled(tmp_path, {"l.c": source}, "-shared", "-fPIC", output="l.so")
    assert titles(library, "?") == ["f|g", "h"]
    assert titles(library, "f|g") == ["f|g"]
    assert titles(library, "h|g") == ["g", "h"]
    assert offsets(library, "f|g") == offsets(library, "f")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "work",
            "ns::f",
            "main.(*T).m",
            "operator[]",
            "f(int, char*)",
            "a:b",
            "x*",
            "y?",
            "z+0x10",
            'q"r\\s',
        ),
        *("type:.eq.main.T", "a|b", " ", "operator++", "n@2", "::x", "x::", "pthread_cond_wait@@GLIBC_2.3.2"),
    ],
)
def test_quoting_is_read_back(name):
    written = quoting.quote(name)
    assert quoting.unquote(written) == name
    assert not quoting.is_pattern(written)
    assert quoting.split(written, ":") == [written]
    assert quoting.split(written, "|") == [written]
    assert quoting.matcher(written).fullmatch(name)
    assert quoting.quote(quoting.unquote(written)) == written


def test_patterns_around_quotes():
    assert quoting.is_pattern('"main.(*T)."*')
    assert quoting.matcher('"main.(*T)."*').fullmatch("main.(*T).m")
    assert not quoting.matcher('"main.(*T)."*').fullmatch("main.(T).m")
    assert quoting.split('"a:b":c::d:e', ":") == ['"a:b"', "c::d", "e"]
    assert quoting.either("libc:memalign", "libc:aligned_alloc") == "libc:aligned_alloc|memalign"
    assert quoting.either("old", "new|old") == "new|old"
