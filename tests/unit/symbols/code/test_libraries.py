"""Test the analysis of all functions of real files against objdump, and of broken files."""

from __future__ import annotations

import bisect
import contextlib
import random
import re
import subprocess
from collections.abc import Sequence

import pytest

from pytracer.errors import PytracerError, UnreadableCodeError
from pytracer.spec import ExitKind, ProbeSite
from pytracer.symbols import code, elf_tables, places, program_files
from pytracer.symbols.code import code_file as images
from support.compilers import compile_files

RETURN = ExitKind.RETURN
_LINE = re.compile(r"\s+([0-9a-f]+):\t(.*)")
MIXED = """
#include <stdexcept>
#include <string>
extern "C" {
int ext(int);
__attribute__((noinline)) static int fast(int x) { return x * 3; }
__attribute__((noinline)) static int slow(int x) { return x * 5; }
static int (*choose(void))(int) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") ? fast : slow;
}
int best(int x) __attribute__((ifunc("choose")));
int work(int x) { return best(x + 1); }
int branch(int x) {
    switch (x) {
    case 0: return ext(1);
    case 1: return 7;
    case 2: return ext(3) + 2;
    case 3: return 9;
    case 4: return ext(99) * 2;
    case 5: return 1;
    case 6: return ext(4);
    }
    return -1;
}
}
int risky(int x) {
    try { if (x > 3) throw std::runtime_error("x"); return ext(x); }
    catch (std::exception &) { return ext(9); }
    catch (...) { return 3; }
}
"""


def objdump(path: str) -> tuple[set[int], list[int]]:
    """Return the addresses of all instructions, and of those that return, ascending."""
    words = ["objdump", "-d", "-w", "--no-show-raw-insn", path]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    instructions, returns = set[int](), list[int]()
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is not None and not match[2].startswith("(bad)"):
            instructions.add(int(match[1], 16))
            if "ret" in match[2].split():
                returns.append(int(match[1], 16))
    return instructions, sorted(returns)


def compare(path: str) -> tuple[int, int, int]:
    """Return how many functions a file has, how many can be read, how many have a return that was not found.
    Raises AssertionError where an exit is no instruction."""
    instructions, returns = objdump(path)
    readable = incomplete = 0
    with program_files.find(path) as file, code.Libraries() as libraries:
        image = images.open_image(file)
        sites = [site for site in places.find(file, "*").sites if not image.symbols.guessed]
        sites = [site for site in sites if ".cold" not in site.name]
        for site in sites:
            try:
                actual = code.analyze(file, site, resolve=libraries)
            except PytracerError:
                continue
            readable += 1
            own_addresses = {
                image.address_of(item.site.offset) for item in actual.exits if item.site.file == file.name
            }
            assert own_addresses <= instructions, site.name
            begin, end = image.extent(image.address_of(site.offset))
            own_returns = returns[bisect.bisect_left(returns, begin) : bisect.bisect_left(returns, end)]
            incomplete += not own_addresses.issuperset(own_returns)
        return len(sites), readable, incomplete


def test_all_functions_of_the_c_library():
    """A few are written in assembly: one begins with a lock prefix, some have unreachable code."""
    with program_files.find("libc") as file:
        path = file.name
    functions, readable, incomplete = compare(path)
    assert functions > 2000
    assert functions - readable < functions / 100
    assert incomplete < functions / 500  # returns in dead code that does not look like code


@pytest.mark.parametrize("language", ["cc", "rs", "go"])
def test_all_functions_of_a_program(tmp_path, language):
    texts = {
        "cc": MIXED + 'extern "C" int ext(int x) { return x; } int main() { return work(risky(branch(2))); }',
        "rs": 'fn main() { let v: Vec<String> = std::env::args().collect(); println!("{:?}", v); }',
        "go": 'package main\nimport "fmt"\nfunc main() { fmt.Println("hello") }\n',
    }
    path = compile_files(tmp_path, {f"program.{language}": texts[language]})
    functions, readable, incomplete = compare(str(path))
    assert functions > (8 if language == "cc" else 200)
    assert functions - readable <= functions / 200
    assert incomplete <= functions / 200


def test_calls_of_go_are_counted_behind_the_stack_check(tmp_path):
    text = """
package main
import "os"
//go:noinline
func small(x int) int { return x * 3 }
//go:noinline
func deep(n int) int {
	var a [64]int
	if n == 0 { return a[0] }
	a[n%64] = n
	return deep(n-1) + a[n%64]
}
//go:noinline
func huge(n int) int {
	var a [200000]byte
	a[n] = 1
	return int(a[n/2]) + deep(n)
}
func main() { os.Exit(small(deep(huge(3)))) }
"""
    path = compile_files(tmp_path, {"program.go": text})
    instructions, _ = objdump(str(path))
    with program_files.find(str(path)) as file:
        image = images.open_image(file)
        for name, is_checked in (("main.small", False), ("main.deep", True), ("main.huge", True)):
            [start] = image.symbols.addresses(name)
            actual = code.analyze(file, ProbeSite(name, image.offset_of(start)))
            entry = image.address_of(actual.entry)
            assert actual.goroutine
            assert actual.g_offset == -8
            assert not actual.restarts
            assert (entry > start) == is_checked
            assert entry in instructions
            assert {item.kind for item in actual.exits} == {RETURN}
            # Whoever was found by the place that is probed is the same function.
            assert code.analyze(file, ProbeSite(name, actual.entry)) == actual
            assert code.entry(file, ProbeSite(name, image.offset_of(start))) == actual.entry


@pytest.fixture(scope="module")
def mixed_library(tmp_path_factory):
    """Build a library with every kind of table that is read."""
    folder = tmp_path_factory.mktemp("mixed")
    return compile_files(folder, {"mixed.cc": MIXED}, "-shared", "-fPIC", output="mixed.so")


@pytest.mark.parametrize("seed", range(20))
def test_a_broken_file_is_an_error_that_is_expected(mixed_library, tmp_path, seed):
    """Change bytes of all tables and of the code at random, and truncate the file."""
    chosen = random.Random(seed)
    good = mixed_library.read_bytes()
    with program_files.find(str(mixed_library)) as file:
        sections = [
            section
            for section in file.tables.sections
            if section["size"] and section["type"] != elf_tables.NOBITS
        ]
        ranges = [(int(section["offset"]), int(section["size"])) for section in sections] + [
            (0, 64 + 12 * 56)
        ]
        sites = places.find(file, "*").sites
    for _ in range(5):
        data = bytearray(good)
        for _ in range(chosen.choice((1, 2, 8))):
            start, size = chosen.choice(ranges)
            offset = start + chosen.randrange(size)
            data[offset] = chosen.choice((0, 1, 0x7F, 0x80, 0xFF, chosen.randrange(256)))
        if chosen.random() < 0.1:
            del data[chosen.randrange(len(data)) :]
        (tmp_path / "broken.so").write_bytes(bytes(data))
        with contextlib.suppress(PytracerError), program_files.find(str(tmp_path / "broken.so")) as file:
            ask_all(file, sites)


def ask_all(file: program_files.ProgramFile, sites: Sequence[ProbeSite]) -> None:
    """Run every query on a file's code. Any error but a PytracerError is passed on."""
    with code.Libraries() as libraries:
        for site in sites:
            with contextlib.suppress(PytracerError):
                code.analyze(file, site, resolve=libraries)
            with contextlib.suppress(PytracerError):
                code.entry(file, site)
            with contextlib.suppress(PytracerError):
                code.check_offset(file, site.offset + 1)
            with contextlib.suppress(PytracerError):
                code.unprobeable(file, site.offset)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (".rept 10000\n ret\n .endr", ""),  # each the first that nothing leads to
        (".rept 200000\n ret\n .endr", "returns at more than"),
        (".rept 16000\n je .Lwork\n ret\n .endr", ""),
        (".rept 200\n call 1f\n 1:\n .endr\n ret", "1600 bytes deep"),
        ("jmp *%rax\n .rept 30000\n lea .Lwork(%rip), %rax\n add %rbx, %rax\n jmp *%rax\n .endr", ""),
        (".rept 1200000\n nop\n .endr\n ret", "more than 1024 KiB of code"),
    ],
)
def test_the_analysis_of_huge_functions_terminates(tmp_path, body, problem):
    text = f".globl work\n.type work, @function\nwork: .Lwork: {body}\n.size work, .-work\n"
    path = compile_files(tmp_path, {"huge.s": text}, "-shared", output="huge.so")
    with program_files.find(str(path)) as file:
        [site] = places.find(file, "work").sites
        if problem:
            with pytest.raises(UnreadableCodeError, match=problem):
                code.analyze(file, site)
        else:
            assert code.analyze(file, site).exits


def test_many_functions_that_jump_to_the_next(tmp_path):
    """Tail calls beyond the limit are not followed: the call is lost there."""
    names = [f"f{number}" for number in range(600)]
    text = "".join(
        f".type {name}, @function\n{name}: test %edi, %edi\n jne {after}\n ret\n.size {name}, .-{name}\n"
        for name, after in zip(names, [*names[1:], names[0]], strict=True)
    )
    path = compile_files(tmp_path, {"many.s": text}, "-shared", output="many.so")
    with program_files.find(str(path)) as file:
        [site] = places.find(file, "f0").sites
        kinds = [item.kind for item in code.analyze(file, site).exits]
    assert kinds.count(ExitKind.RETURN) == 1
    assert 200 < kinds.count(ExitKind.TAIL_RETURN) < 600
    assert kinds.count(ExitKind.INDIRECT) == 1
