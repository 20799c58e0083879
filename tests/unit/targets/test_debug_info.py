"""Test debug information as BTF: the compiler's layout, all places to keep it, and hostile input."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from pytracer.kernel.btf import COMPOSITES, ENUMS, Btf, BtfKind
from pytracer.kernel.facts import NOT_IN_REGISTER, FunctionTypes
from pytracer.plan.btf_types import BtfTypes
from pytracer.symbols import debug, places, program_files
from pytracer.targets import debug_info
from support.workloads import SOURCES

MEMBERS = ("key", "weight", "name", "at", "bytes", "next", "shade")
OFFSETS = "".join(f'printf("%zu ", __builtin_offsetof(struct node, {name}));' for name in MEMBERS)
CXX = """
namespace outer { namespace inner {
struct Base { long first; static int shared; };
class Derived : public Base { public: int second; int add(int number) const; };
int Derived::add(int number) const { return second + number; }
} }
int outer::inner::Base::shared;
int main() { outer::inner::Derived d; d.second = 1; return d.add(2); }
"""


def compiled(folder: Path, *options: str, text: str = "", language: str = "c") -> Path:
    """Return the workload, or another text, compiled with debug information."""
    source = SOURCES / "typed.c"
    if text:
        source = folder / "source.c"
        source.write_text(text)
    path = folder / "program"
    command = ["gcc", "-O1", "-g", *options, "-x", language, source, "-o", path, "-lstdc++"]
    subprocess.run(command, check=True)
    return path


def describe(path: Path, name: str) -> FunctionTypes | None:
    with program_files.find(str(path)) as file:
        [site] = places.functions(file, name).sites
        return debug_info.describe(file, site.name, site.offset)


def types_of(path: Path, name: str) -> Btf | None:
    actual = describe(path, name)
    return None if actual is None else actual.types


def parameters(btf: Btf | None, name: str) -> list[tuple[str, BtfKind]]:
    assert btf is not None
    function = btf.find(BtfKind.FUNC, name)
    assert function is not None
    return [(text, btf.kind(btf.resolve(kind))) for text, kind in btf.func_proto(function).params]


INSERT = [
    ("list", BtfKind.PTR),
    ("node", BtfKind.PTR),
    ("weight", BtfKind.FLOAT),
    ("times", BtfKind.INT),
    ("shade", BtfKind.ENUM),
]


@pytest.mark.parametrize(
    "options",
    [
        ("-gdwarf-5",),
        ("-gdwarf-4",),
        ("-gdwarf-3",),
        ("-gdwarf64",),
        ("-gz",),
        ("-gdwarf-4", "-fdebug-types-section"),
        ("-gdwarf-5", "-fdebug-types-section"),
        ("-gdwarf-5", "-fdebug-types-section", "-gsplit-dwarf"),
    ],
    ids=" ".join,
)
def test_types_are_laid_out_as_by_the_compiler(tmp_path, options):
    btf = types_of(compiled(tmp_path, *options), "insert")
    assert parameters(btf, "insert") == INSERT
    assert btf is not None
    reported = (SOURCES / "typed.c").read_text().partition("int main")[0]
    text = f'{reported} int main() {{ {OFFSETS} printf("%zu", sizeof(struct node)); }}'
    program = compiled(tmp_path, text=text)
    messages = list(map(int, subprocess.check_output([program], text=True).split()))
    assert [btf.member_offset("node", name) for name in MEMBERS] == messages[:-1]
    number = btf.find(COMPOSITES, "node")
    assert number is not None
    assert btf.size_of(number) == messages[-1]
    fields = {name: (offset % 8, bits) for name, _, offset, bits in btf.walk(number) if bits}
    assert fields == {"low": (0, 3), "high": (3, 5)}
    shade = btf.find(ENUMS, "shade")
    assert shade is not None
    assert dict(btf.enumerators(shade)) == {"RED": -1, "GREEN": 7}
    assert btf.find(BtfKind.TYPEDEF, "number") is not None


def test_a_method_of_a_class_that_is_derived_in_namespaces(tmp_path):
    path = compiled(tmp_path, text=CXX, language="c++")
    name = "_ZNK5outer5inner7Derived3addEi"
    btf = types_of(path, name)
    assert parameters(btf, name) == [("this", BtfKind.PTR), ("number", BtfKind.INT)]
    assert btf is not None
    members = {member: btf.member_offset("Derived", member) for member in ("first", "second", "shared")}
    assert members == {"first": 0, "second": 8, "shared": None}


LAID_OUT = """
enum high { LOW = 1, HIGH = 0x80000000u };
struct far { char before[3 << 20]; int number; unsigned bit : 1; };
struct known { int is; };
namespace other { struct known; }
char passed(char c, unsigned char u, signed char s, enum high high, struct far *far, other::known *known)
{
    return c;
}
int main() { return passed(1, 2, 3, LOW, 0, 0) - 1; }
"""


def test_signs_and_places_are_those_of_the_program(tmp_path):
    path = compiled(tmp_path, "-funsigned-char", text=LAID_OUT, language="c++")
    name = "_Z6passedcha4highP3farPN5other5knownE"
    actual = types_of(path, name)
    assert actual is not None
    types = BtfTypes(actual, base_count=1 << 32)
    function = types.function(name)
    assert function is not None
    kinds = dict(function.arguments)
    assert {text: kinds[text].signed for text in "cus"} == {"c": False, "u": False, "s": True}
    assert not kinds["high"].signed
    assert types.enumerator("HIGH") == 0x80000000
    far = types.members(kinds["far"].to)
    assert far["before"].offset == 0
    assert "number" not in far  # BTF has no place for what is behind so much beside bit-fields
    assert types.members(kinds["known"].to) == {}  # it is only declared, and no other's by its name


PLACES = {"insert": (0, 1, NOT_IN_REGISTER, 2, 3), "size": (0, 1), "wide": (1,)}


@pytest.mark.parametrize("name", PLACES)
def test_locations_of_arguments_are_known_if_the_compiler_recorded_them(tmp_path, name):
    count = len(PLACES[name])
    for option, expected in (("-O2", PLACES[name]), ("-O0", (None,) * count)):
        actual = describe(compiled(tmp_path, option), name)
        assert actual is not None
        assert actual.registers == expected


@pytest.mark.parametrize("option", ["-g1", "-g0"])
def test_without_debug_information_there_are_no_types(tmp_path, option):
    assert types_of(compiled(tmp_path, option), "insert") is None


def test_debug_information_of_a_package_is_found_by_build_id(tmp_path, monkeypatch):
    path = compiled(tmp_path, "-Wl,--build-id")
    with program_files.find(str(path)) as file, file.reading() as tables:
        build_id = tables.build_id()
    monkeypatch.setattr(debug, "FOLDER", tmp_path / "debug")
    stored = tmp_path / "debug" / build_id[:2] / f"{build_id[2:]}.debug"
    stored.parent.mkdir(parents=True)
    subprocess.run(["objcopy", "--only-keep-debug", path, stored], check=True)
    subprocess.run(["objcopy", "--strip-debug", path], check=True)
    assert parameters(types_of(path, "insert"), "insert") == INSERT
    stored.unlink()
    assert types_of(path, "insert") is None


# As dwz -m leaves it: a type stands in a file that several programs refer to, 0x1f20 is DW_FORM_GNU_ref_alt.
SHARES = """
 .text
 .globl main, taken
 .type taken, @function
taken: ret
 .size taken, .-taken
main: xor %%eax, %%eax
 ret
 .section .debug_abbrev
 .uleb128 1, 0x11; .byte 1; .uleb128 0x13, 0x0b, 0x11, 0x01, 0x12, 0x07, 0, 0
 .uleb128 2, 0x2e; .byte 1; .uleb128 0x03, 0x08, 0x11, 0x01, 0x12, 0x07, 0x27, 0x19, 0, 0
 .uleb128 3, 0x05; .byte 0; .uleb128 0x03, 0x08, 0x49, 0x1f20, 0, 0
 .byte 0
 .section .debug_info
 .long 2f - 1f
1: .value 4; .long 0; .byte 8
 .uleb128 1; .byte 12; .quad taken, 1
 .uleb128 2; .asciz "taken"; .quad taken, 1
 .uleb128 3; .asciz "number"; .long 13
 .byte 0, 0
2:
 .section .note.GNU-stack
 .section .gnu_debugaltlink
 .asciz "shared"; .ascii "%(build_id)s"
"""
SHARED = """
 .section .note.gnu.build-id, "a", @note
 .long 4, 8, 3; .asciz "GNU"; .ascii "%(build_id)s"
 .section .debug_abbrev
 .uleb128 1, 0x3c; .byte 1; .uleb128 0x13, 0x0b, 0, 0
 .uleb128 2, 0x24; .byte 0; .uleb128 0x03, 0x08, 0x0b, 0x0b, 0x3e, 0x0b, 0, 0
 .byte 0
 .section .debug_info
 .long 2f - 1f
1: .value 4; .long 0; .byte 8
 .uleb128 1; .byte 12
 .uleb128 2; .asciz "short int"; .byte 2, 5
 .byte 0
2:
"""


@pytest.mark.parametrize(
    ("build_id", "folder"),
    [("known id", "shared"), ("other id", "shared"), ("known id", "6b/6e6f776e206964.debug")],
)
def test_debug_information_that_several_files_share(tmp_path, monkeypatch, build_id, folder):
    """Beside the program, or found by the build id in the program."""
    monkeypatch.setattr(debug, "FOLDER", tmp_path)
    texts = {
        "program": SHARES % {"build_id": "known id"},
        "shared": SHARED % {"build_id": build_id},
    }
    for name, text in texts.items():
        command = ["gcc", "-x", "assembler", "-", "-o", name, *(["-c"] if name == "shared" else [])]
        subprocess.run(command, cwd=tmp_path, input=text, text=True, check=True)
    (tmp_path / folder).parent.mkdir(exist_ok=True)
    (tmp_path / "shared").rename(tmp_path / folder)
    btf = types_of(tmp_path / "program", "taken")
    if build_id == "other id":
        assert btf is None
        return
    assert parameters(btf, "taken") == [("number", BtfKind.INT)]
    assert btf is not None
    assert btf.find(BtfKind.INT, "short int") is not None


def test_an_entry_that_is_its_own_sibling_is_no_endless_loop(tmp_path):
    path = compiled(tmp_path)
    data = bytearray(path.read_bytes())
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        begin = elf.get_section_by_name(".debug_info")["sh_offset"]
        for unit in elf.get_dwarf_info().iter_CUs():
            for entry in unit.iter_DIEs():
                sibling = entry.attributes.get("DW_AT_sibling")
                if sibling is not None:
                    assert sibling.form == "DW_FORM_ref4"
                    struct.pack_into("=I", data, begin + sibling.offset, entry.offset - unit.cu_offset)
    path.write_bytes(data)
    assert parameters(types_of(path, "insert"), "insert") == INSERT


def test_oversized_debug_information_is_not_read(tmp_path, monkeypatch):
    path = compiled(tmp_path)
    monkeypatch.setattr("pytracer.symbols.dwarf_entries.WEIGHT", 1_000_000)
    assert types_of(path, "insert") is None


@pytest.mark.parametrize("packed", [False, True])
def test_large_sections_are_not_read(tmp_path, packed):
    """By the size in a section's header, or its size when decompressed."""
    path = compiled(tmp_path, *(["-gz"] if packed else []))
    assert types_of(path, "insert") is not None
    with program_files.find(str(path)) as file, file.reading() as tables:
        section = tables.section(b".debug_info")
        number = list(tables.sections["offset"]).index(section["offset"])
        data = bytearray(path.read_bytes())
        [headers] = struct.unpack_from("=Q", data, 40)
        # sh_size, or ch_size of what the section begins with
        position = int(section["offset"]) + 8 if packed else headers + 64 * number + 32
        [before] = struct.unpack_from("=Q", data, position)
        assert before > (0 if packed else int(section["size"]) - 1)
        struct.pack_into("=Q", data, position, 1 << 40)
    path.write_bytes(data)
    assert types_of(path, "insert") is None


def test_damaged_debug_information_is_ignored(tmp_path):
    """Change bytes of all debug sections at random: there are types or none, but no error."""
    path = compiled(tmp_path)
    content = path.read_bytes()
    with program_files.find(str(path)) as file, file.reading() as tables:
        [site] = places.functions(file, "insert").sites
        names = (b".debug_info", b".debug_abbrev", b".debug_str", b".debug_aranges", b".debug_line")
        sections = [tables.section(name) for name in names]
    rng = random.Random(1)
    none = 0
    for _ in range(300):
        data = bytearray(content)
        for section in sections:
            for _ in range(rng.choice((0, 1, 3, 50))):
                position = int(section["offset"]) + rng.randrange(int(section["size"]))
                data[position] = rng.randrange(256)
        path.write_bytes(data)
        with program_files.find(str(path)) as file:
            none += debug_info.describe(file, site.name, site.offset) is None
    assert 0 < none < 300
