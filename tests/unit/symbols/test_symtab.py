"""Test symbols of files: without a type or size, compressed, or in a separate file."""

from __future__ import annotations

import lzma
import os
import subprocess

import numpy as np
import pytest

from pytracer.plan.btf_types import NoTypes, ProgramTypes
from pytracer.symbols import elf, places, program_files
from pytracer.targets import debug_info
from support.compilers import compile_files

ASM = """
    .text
    .globl before
    .type before, @function
before:
    nop
    nop
    ret
asmfunc:
    nop
    ret
    .globl table
    .type table, @object
    .size table, 8
table:
    .quad 0
    .globl sized
    .type sized, @function
sized:
    nop
inner:
    nop
    ret
    .size sized, .-sized
    .globl last
last:
    nop
    ret
    .globl _start
_start:
    ret
    .data
    .globl datum
datum:
    .quad 0
"""


def find_sites(path, pattern):
    with program_files.find(str(path)) as file:
        return [site.name for site in places.find(file, pattern).sites]


def stack(path, *names, offset=0):
    """Return what a stack calls the addresses ``offset`` bytes into functions."""
    with program_files.find(str(path)) as file, file.reading() as tables:
        starts = [tables.address_of(places.find(file, name).sites[0].offset) for name in names]
        return elf.read(file.descriptor).functions.find(np.array(starts, np.uint64) + np.uint64(offset))


@pytest.fixture
def assembled(tmp_path):
    return compile_files(tmp_path, {"program.s": ASM}, "-nostdlib", "-static")


def test_labels_of_assembler_code_are_functions(assembled):
    for name in ("before", "asmfunc", "sized", "inner", "last"):
        assert find_sites(assembled, name) == [name]
    # By a pattern only those that other units can call: a local label may be of data.
    assert set(find_sites(assembled, "*")) == {"before", "sized", "last", "_start"}
    nothing = "no function"
    for name, reason in (("table", "is data, not a function"), ("datum", nothing), ("_end", nothing)):
        with pytest.raises(Exception, match=reason):
            find_sites(assembled, name)


def test_stacks_do_not_give_them_to_their_neighbours(assembled):
    names = ["before", "asmfunc", "sized", "inner", "last"]
    assert stack(assembled, *names) == ["before", "asmfunc", "sized", "sized", "last"]
    assert stack(assembled, *names, offset=1) == ["before", "asmfunc", "sized", "sized", "last"]


def test_addresses_behind_an_inner_function_belong_to_the_outer_one(tmp_path):
    source = """
    .globl _start, outer, nested
    .type outer, @function
    .type nested, @function
_start:
outer:
    nop
nested:
    nop
    .size nested, .-nested
    nop
    ret
    .size outer, .-outer
"""
    program = compile_files(tmp_path, {"program.s": source}, "-nostdlib", "-static")
    assert [stack(program, "outer", offset=offset)[0] for offset in range(4)] == [
        "outer",
        "nested",
        "outer",
        "outer",
    ]


CODE = """static __attribute__((noinline)) int inner(int x) { __asm__ volatile(""); return x + 1; }
int kept(int x) { return inner(x) + 2; }
int main(void) { return kept(1); }
"""


def library(tmp_path):
    return compile_files(
        tmp_path, {"l.c": CODE}, "-g", "-shared", "-fPIC", "-Wl,--build-id=none", output="l.so"
    )


def split_debug(path, debug):
    subprocess.run(["objcopy", "--only-keep-debug", path, debug], check=True)
    subprocess.run(["strip", path], check=True)


def test_packed_symbols_are_for_stacks_too(tmp_path):
    path = library(tmp_path)
    expected = stack(path, "inner", "kept")
    with program_files.find(str(path)) as file:
        places_of = {name: places.find(file, name).sites[0].offset for name in ("inner", "kept")}
    split_debug(path, tmp_path / "debug")
    (tmp_path / "packed").write_bytes(lzma.compress((tmp_path / "debug").read_bytes()))
    subprocess.run(["objcopy", "--add-section", f".gnu_debugdata={tmp_path / 'packed'}", path], check=True)
    (tmp_path / "debug").unlink()
    assert stack(path, "inner", "kept") == expected == ["inner", "kept"]
    with program_files.find(str(path)) as file:
        assert {name: places.find(file, name).sites[0].offset for name in places_of} == places_of


@pytest.mark.parametrize("folder", [".", ".debug", "root"])
def test_a_debug_file_is_found_by_its_link(tmp_path, folder, monkeypatch):
    path = library(tmp_path)
    debug_folder = tmp_path / folder
    if folder == "root":
        monkeypatch.setattr("pytracer.symbols.debug.ROOT", tmp_path / "root")
        debug_folder = tmp_path / "root" / str(tmp_path).lstrip("/")
    debug_folder.mkdir(parents=True, exist_ok=True)
    debug = debug_folder / "l.so.debug"
    split_debug(path, debug)
    with pytest.raises(Exception, match="no function"):
        find_sites(path, "inner")
    subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", path], check=True)
    assert find_sites(path, "inner") == ["inner"]
    assert stack(path, "inner") == ["inner"]
    with debug.open("r+b") as file:  # another file by that name
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    with pytest.raises(Exception, match="no function"):
        find_sites(path, "inner")


SPLIT = """struct point { int x, y; };
struct pair { long a, b; };
static __attribute__((noinline)) int sub(struct point *p, int k) { __asm__ volatile(""); return p->x + k; }
__attribute__((noinline)) int NAME(struct pair by_value, int k)
{ struct point p = { k, k }; __asm__ volatile(""); return sub(&p, k) + by_value.a; }
"""


@pytest.mark.parametrize("moved", [False, True], ids=["where it was compiled", "beside the program"])
def test_split_debug_information_is_read_from_its_files(tmp_path, moved):
    """Two units have a file each, which has types, registers and units."""
    debug_folder = tmp_path / "built"
    debug_folder.mkdir()
    for name in ("one", "two"):
        (debug_folder / f"{name}.c").write_text(SPLIT)
        command = ["gcc", "-O1", "-g", "-gdwarf-5", "-gsplit-dwarf", f"-DNAME={name}", "-c", f"{name}.c"]
        subprocess.run(command, cwd=debug_folder, check=True)
    program = compile_files(debug_folder, {"m.c": "int main(void) { return 0; }\n"}, "one.o", "two.o")
    if moved:
        debug_folder = debug_folder.rename(tmp_path / "moved")
        program = debug_folder / program.name
    with program_files.find(str(program)) as file:
        for name in ("one", "two"):
            [site] = places.find(file, name).sites
            actual = debug_info.describe(file, name, site.offset)
            assert actual is not None
            prototype = ProgramTypes(actual.types, NoTypes()).function(name)
            assert [argument for argument, _ in prototype.arguments] == ["by_value", "k"]
            assert actual.registers[1] == 2
            [site] = places.find(file, f"{name}.c:sub").sites
            actual = debug_info.describe(file, "sub", site.offset)
            types = ProgramTypes(actual.types, NoTypes())
            [(_, pointer), (_, _)] = types.function("sub").arguments
            assert set(types.members(pointer.to)) == {"x", "y"}
    for path in debug_folder.glob("*.dwo"):
        path.unlink()
    with program_files.find(str(program)) as file:
        assert debug_info.describe(file, "one", places.find(file, "one").sites[0].offset) is None


USES = """struct opaque; struct twice; struct nowhere; struct short_;
__attribute__((noinline)) int uses(struct opaque *o, struct twice *t, struct nowhere *n, struct short_ *s)
{ __asm__ volatile("" : : "r"(o), "r"(t), "r"(n), "r"(s)); return 1; }
int main(void) { return uses(0, 0, 0, 0); }
"""
DEFINES = """struct opaque { long first; int %s; };
struct twice { %s x; };
struct short_ { char y; };
struct opaque opaque%d; struct twice twice%d; struct short_ short%d;
"""


def test_a_struct_that_a_unit_only_declares_is_found_where_another_defines_it(tmp_path):
    """Unless two units define it differently."""
    sources = {
        "uses.c": USES,
        "one.c": DEFINES % ("member", "long", 1, 1, 1),
        "two.c": DEFINES % ("member", "char", 2, 2, 2),
    }
    program = compile_files(tmp_path, sources, "-g")
    with program_files.find(str(program)) as file:
        actual = debug_info.describe(file, "uses", places.find(file, "uses").sites[0].offset)
    types = ProgramTypes(actual.types, NoTypes())
    members = [set(types.members(kind.to)) for _, kind in types.function("uses").arguments]
    assert members == [{"first", "member"}, set(), set(), {"y"}]
