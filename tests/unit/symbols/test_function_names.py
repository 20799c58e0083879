"""Test functions by name: several with one name, several names of one, and names with signs in them."""

from __future__ import annotations

import subprocess

import pytest

from pytracer.errors import UnknownNameError
from pytracer.spec import parse_source, quoting
from pytracer.symbols import function_names, places, program_files
from pytracer.symbols.demangle import Demangler
from support.compilers import compile_files

SUB = """static __attribute__((noinline)) int sub(int x) { asm volatile(""); return x + %d; }
int run_%s(int n) { return sub(n); }
"""
MAIN = "int run_a(int); int run_b(int); int main(void) { return run_a(1) + run_b(2); }\n"


def titles(path, pattern):
    with program_files.find(str(path)) as file:
        return sorted(places.find(file, pattern).titles)


def offsets(path, pattern):
    with program_files.find(str(path)) as file:
        return [site.offset for site in places.find(file, pattern).sites]


def test_static_functions_of_two_units_are_two_and_each_can_be_selected(tmp_path):
    program = compile_files(tmp_path, {"a.c": SUB % (1, "a"), "b.c": SUB % (2, "b"), "m.c": MAIN}, "-O1")
    assert titles(program, "sub") == ["a.c:sub", "b.c:sub"]
    offset_list = offsets(program, "sub")
    assert len(offset_list) == 2
    for title in ("a.c:sub", "b.c:sub", "sub@1", "sub@2"):
        assert len(offsets(program, title)) == 1
    assert {*offsets(program, "a.c:sub"), *offsets(program, "b.c:sub")} == set(offset_list)
    assert [*offsets(program, "sub@1"), *offsets(program, "sub@2")] == offset_list
    assert titles(program, "?.c:sub") == ["a.c:sub", "b.c:sub"]
    assert titles(program, "s?b") == ["a.c:sub", "b.c:sub"]
    with pytest.raises(UnknownNameError):
        offsets(program, "c.c:sub")
    with pytest.raises(UnknownNameError):
        offsets(program, "sub@3")


@pytest.mark.parametrize(
    ("debug", "expected"), [("-g", ["one/x.c:sub", "two/x.c:sub"]), ("-g0", ["sub@1", "sub@2"])]
)
def test_units_of_one_name_are_distinguished_by_debug_information_else_numbered(tmp_path, debug, expected):
    sources = {"one/x.c": SUB % (1, "a"), "two/x.c": SUB % (2, "b"), "m.c": MAIN}
    program = compile_files(tmp_path, sources, "-O1", debug)
    assert titles(program, "sub") == expected
    assert {tuple(offsets(program, title)) for title in expected} == {
        (offset,) for offset in offsets(program, "sub")
    }


def test_the_unit_of_a_global_function_comes_from_debug_information(tmp_path):
    program = compile_files(
        tmp_path, {"a.c": SUB % (1, "a"), "b.c": SUB % (2, "b"), "m.c": MAIN}, "-O1", "-g"
    )
    assert offsets(program, "a.c:run_a") == offsets(program, "run_a")
    with pytest.raises(UnknownNameError):
        offsets(program, "b.c:run_a")


def test_versions_of_a_function_are_all_found_and_each_can_be_selected(tmp_path):
    source = (
        "int old(void) { return 1; } int new(void) { return 2; }\n"
        '__asm__(".symver old,wait@V1"); __asm__(".symver new,wait@@V2");\n'
    )
    sources = {"l.c": source, "v.map": "V1 { global: wait; local: *; }; V2 { global: wait; } V1;"}
    options = ["-shared", "-fPIC", "-Wl,--version-script=v.map"]
    library = compile_files(tmp_path, sources, *options, output="l.so")
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
    library = compile_files(tmp_path, {"l.c": source}, "-shared", "-fPIC", output="l.so")
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
    quoted = quoting.quote(name)
    assert quoting.unquote(quoted) == name
    assert not quoting.is_pattern(quoted)
    assert quoting.split(quoted, ":") == [quoted]
    assert quoting.split(quoted, "|") == [quoted]
    assert quoting.matcher(quoted).fullmatch(name)
    assert quoting.quote(quoting.unquote(quoted)) == quoted


def test_patterns_around_quotes():
    assert quoting.is_pattern('"main.(*T)."*')
    assert quoting.matcher('"main.(*T)."*').fullmatch("main.(*T).m")
    assert not quoting.matcher('"main.(*T)."*').fullmatch("main.(T).m")
    assert quoting.split('"a:b":c::d:e', ":") == ['"a:b"', "c::d", "e"]
    assert quoting.either("libc:memalign", "libc:aligned_alloc") == "libc:aligned_alloc|memalign"
    assert quoting.either("old", "new|old") == "new|old"


GO = """package main
type T struct{ n int }
//go:noinline
func (t *T) Add(x int) int { t.n += x; return t.n }
//go:noinline
func Each[E any](in []E, f func(E) E) int { for i := range in { in[i] = f(in[i]) }; return len(in) }
func main() {
	t := &T{}
	for i := 0; i < 3; i++ { t.Add(i) }
	println(Each([]int{1, 2}, func(x int) int { return x + 1 }), t.n)
}
"""
CPP = """#include <ostream>
#include <string>
template <bool B, unsigned long N> __attribute__((noinline)) int flag(wchar_t c, std::ostream *) {
  auto twice = [](int x) __attribute__((noinline)) { asm volatile(""); return 2 * x; };
  return twice(c) + B + N;
}
namespace ns {
struct Foo {
  int v[4];
  __attribute__((noinline)) int &operator[](int i) { asm volatile(""); return v[i]; }
  __attribute__((noinline)) int bar(int x, char *p) { asm volatile(""); return x + !p + v[0]; }
  __attribute__((noinline)) int bar(int x) const { asm volatile(""); return x; }
};
template <class T> __attribute__((noinline)) T twice(T x) { asm volatile(""); return x * 2; }
namespace { __attribute__((noinline)) int hidden(const std::string &s) { asm(""); return s.size(); } }
}
int main() {
  ns::Foo f{};
  f[1] = f.bar(1, nullptr) + f.bar(2) + ns::hidden("text");
  return flag<true, 100>(L'a', nullptr) + ns::twice<int>(3) + (int)ns::twice<double>(2) - 10;
}
"""
RUST = """struct P<T>(T);
trait Show { fn show(&self) -> usize; }
impl<T: Copy + Into<u64>> Show for P<T> {
    #[inline(never)]
    fn show(&self) -> usize { let v: u64 = self.0.into(); std::hint::black_box(v as usize) }
}
fn main() { for i in 0..3u32 { std::hint::black_box(P(i).show()); } }
"""


@pytest.fixture(scope="module", params=["libc", "program.go", "program.cc", "program.rs"])
def binary(request, tmp_path_factory):
    if request.param == "libc":
        with program_files.find("libc") as file:
            return file.name
    sources = {"program.go": GO, "program.cc": CPP, "program.rs": RUST}
    folder = tmp_path_factory.mktemp(request.param)
    return str(compile_files(folder, {request.param: sources[request.param]}))


def test_every_name_is_found_as_shown_and_as_stored(binary):
    with program_files.find(binary) as file, file.reading():
        addresses = dict[str, set[int]]()
        for symbol in function_names.symbols(file, bool):
            addresses.setdefault(symbol.name, set()).add(symbol.address)
        assert len(addresses) > 10
        for name, expected in addresses.items():
            for quoted in {name, quoting.quote(name)}:
                source = parse_source(f"u:{quoting.quote(binary)}:{quoted}")
                assert parse_source(source.text) == source
                assert quoting.unquote(source.place) == binary
                assert not source.offset
                matches = function_names.find(file, source.name)
                assert {match.symbol.address for match in matches} == expected, quoted


def test_names_shown_for_a_pattern_are_unique(binary):
    matches, expected = None, "main.*" if "go" in binary else "*a*" if "libc" not in binary else "*_r"
    with program_files.find(binary) as file:
        matches = places.find(file, expected)
        assert len(set(matches.titles)) == len(matches.sites) > 2
        for site, title in zip(matches.sites, matches.titles, strict=True):
            assert [place.offset for place in places.find(file, title).sites] == [site.offset]


def test_cpp_functions_are_found_as_stacks_show_them(tmp_path):
    program = compile_files(tmp_path, {"program.cc": CPP})
    with program_files.find(str(program)) as file, file.reading():
        symbols = function_names.symbols(file, bool)
        names = Demangler().names(place.name for place in symbols)
        for place, text in zip(symbols, names, strict=True):
            assert place.address in {match.symbol.address for match in function_names.find(file, text)}, text
    assert len(offsets(program, "int flag<true, 100ul>(wchar_t, std::ostream*)")) == 1
    place = "ns::Foo::bar(int, char*)"
    assert len(offsets(program, place)) == len(offsets(program, quoting.quote(place))) == 1
    assert len(offsets(program, "ns::Foo::bar")) == 2
    assert len(offsets(program, "ns::Foo::operator[]")) == 1
    assert len(offsets(program, "ns::twice")) == 2
    assert len(offsets(program, "ns::twice<int>")) == 1
    assert len(offsets(program, "ns::Foo::*")) == 3
    assert len(offsets(program, "ns::(anonymous namespace)::hidden")) == 1


def test_a_go_method_is_one_though_its_name_has_a_star(tmp_path):
    program = compile_files(tmp_path, {"program.go": GO})
    assert titles(program, "main.(*T).Add") == ['"main.(*T).Add"']
    assert titles(program, '"main.(*T)."*') == ['"main.(*T).Add"']
    assert '"main.(*T).Add"' in titles(program, "main.*")
