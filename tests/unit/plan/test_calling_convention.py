"""Test where C passes arguments, against a compiler's debug information."""

from __future__ import annotations

import platform

import pytest

from pytracer.kernel.facts import NOT_IN_REGISTER
from pytracer.plan.btf_types import BtfTypes, NoTypes, ProgramTypes
from pytracer.plan.calling_convention import first_registers
from pytracer.symbols import places, program_files
from pytracer.targets import debug_info
from support.compilers import compile_files
from support.probe_spec_kernel import types as kernel_types

SOURCE = """
struct one { int a, b; };
struct two { long a; int b; };
struct large { long a[3]; };
struct real { double a, b; };
struct mixed { double a; long b; };
struct merged { float a; int b; double c; };
struct inner { struct one x; char text[8]; };
struct odd { char a; long b; } __attribute__((packed));
union either { double a; long b; };
typedef struct two renamed;
struct floats { float f[3]; };
struct pointers { char *p[2]; };
struct grid { float f[2][2]; };
struct bits { double a; int b : 3, c : 20; };
struct pairs { struct { char a; float b; } p[2]; };
struct wrapped { long double a; };
#define TAKES(NAME, TYPE) \\
    __attribute__((noinline)) long NAME(int first, TYPE by_value, long last, short more) \\
    { __asm__ volatile("" : : "r"(last), "r"(more), "r"(first)); return last + more + first; }
#define RETURNS(NAME, TYPE) \\
    __attribute__((noinline)) TYPE NAME(long last, int more) \\
    { TYPE t; __builtin_memset(&t, 0, sizeof t); __asm__ volatile("" : : "r"(last), "r"(more)); return t; }
TAKES(t_one, struct one) TAKES(t_two, struct two) TAKES(t_large, struct large) TAKES(t_real, struct real)
TAKES(t_mixed, struct mixed) TAKES(t_merged, struct merged) TAKES(t_inner, struct inner)
TAKES(t_either, union either) TAKES(t_renamed, const renamed) TAKES(t_double, double) TAKES(t_float, float)
TAKES(t_floats, struct floats) TAKES(t_pointers, struct pointers) TAKES(t_grid, struct grid)
TAKES(t_bits, struct bits) TAKES(t_pairs, struct pairs) TAKES(t_wrapped, struct wrapped)
TAKES(t_odd, struct odd) TAKES(t_wide, long double)
RETURNS(r_one, struct one) RETURNS(r_two, struct two) RETURNS(r_large, struct large)
RETURNS(r_real, struct real)
__attribute__((noinline)) long full(long a, long b, long c, long d, long e, struct two f, long last)
{ __asm__ volatile("" : : "r"(last), "r"(a)); return last + a; }
#define SEVEN double a, double b, double c, double d, double e, double g, double h
__attribute__((noinline)) long spilt(long first, SEVEN, double i, struct mixed f, long last)
{ __asm__ volatile("" : : "r"(last), "r"(first)); return last + first; }
__attribute__((noinline)) long fits(long first, SEVEN, struct mixed f, long last)
{ __asm__ volatile("" : : "r"(last), "r"(first)); return last + first; }
__attribute__((noinline)) long beside(long first, long double by_value, SEVEN, struct mixed f, long last)
{ __asm__ volatile("" : : "r"(last), "r"(first)); return last + first; }
__attribute__((noinline)) long eight(SEVEN, double i, struct large by_value, struct two f, long last)
{ __asm__ volatile("" : : "r"(last)); return last; }
int main(void) { return 0; }
"""
TAKEN = ("one", "two", "large", "real", "mixed", "merged", "inner", "either", "renamed", "double", "float")
ARRAYS = ("floats", "pointers", "grid", "bits", "pairs")
NAMES = [*(f"t_{name}" for name in (*TAKEN, *ARRAYS)), "t_wide"]
NAMES += ["r_one", "r_two", "r_large", "r_real", "full", "spilt", "fits", "beside", "eight"]

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="written for the x86-64 psABI")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compile_files(tmp_path_factory.mktemp("passing"), {"p.c": SOURCE}, "-g", "-fno-toplevel-reorder")


def describe(program, name):
    with program_files.find(str(program)) as file:
        actual = debug_info.describe(file, name, places.find(file, name).sites[0].offset)
    assert actual is not None
    types = ProgramTypes(actual.types, NoTypes())
    return actual.registers, types.function(name), types


@pytest.mark.parametrize("name", NAMES)
def test_the_convention_agrees_with_the_compiler(program, name):
    reported, prototype, types = describe(program, name)
    assert any(location not in (None, NOT_IN_REGISTER) for location in reported)
    computed = first_registers(prototype, [None] * len(reported), types, "x86_64")
    for (argument, _), message, location in zip(prototype.arguments, reported, computed, strict=True):
        if argument not in ("by_value", "f"):
            assert location == message, argument


@pytest.mark.parametrize("name", ["t_odd", "t_wrapped"])
def test_arguments_after_an_unknown_one_are_unknown(program, name):
    reported, prototype, types = describe(program, name)
    assert first_registers(prototype, [None] * len(reported), types, "x86_64") == [
        0,
        NOT_IN_REGISTER,
        NOT_IN_REGISTER,
        NOT_IN_REGISTER,
    ]


def test_arm64_passes_large_structs_by_address_and_floats_by_themselves(program):
    for name, expected in {
        "t_one": [0, 1, 2, 3],
        "t_two": [0, 1, 3, 4],
        "t_large": [0, 1, 2, 3],
        "t_real": [0, NOT_IN_REGISTER, 1, 2],
        "t_mixed": [0, 1, 3, 4],
        "r_large": [0, 1],
        "eight": [*[NOT_IN_REGISTER] * 8, 0, 1, 3],
    }.items():
        reported, prototype, types = describe(program, name)
        assert first_registers(prototype, [None] * len(reported), types, "aarch64") == expected, name


def test_types_of_the_program_and_of_the_kernel_are_both_suggested(program):
    _, _, types = describe(program, "t_one")
    types_of_both = ProgramTypes(types._own._btf, BtfTypes(kernel_types()))
    assert {"one", "file"} <= types_of_both.names("struct")
