"""Symbols: ELF files made by hand and broken at random, kernels as text, and this very process."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pytracer.symbols import elf, jit, maps
from pytracer.symbols.demangle import Demangler
from pytracer.symbols.kernel import KernelSymbols
from pytracer.symbols.tables import ElfError
from pytracer.symbols.user import ASTRAY, UNKNOWN, UserSymbols
from support.cli import wait_for
from support.elf_builder import Symbol, build


def addresses(*numbers):
    return np.array(numbers, np.uint64)


@pytest.fixture
def read(tmp_path):
    def of(data):
        path = tmp_path / "file"
        path.write_bytes(data)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return elf.read(descriptor)
        finally:
            os.close(descriptor)

    return of


@pytest.mark.parametrize("width", [1, 2])
def test_functions_have_a_beginning_and_an_end(read, width):
    symbols = [
        Symbol(b"two", 0x401040, 0x10),
        Symbol(b"one", 0x401000, 0x20),
        Symbol(b"data", 0x401030, 8, 1),
    ]
    found = read(build(symbols, width=width))
    assert found.whole
    names = found.functions.find(
        addresses(0x400FFF, 0x401000, 0x40101F, 0x401020, 0x401034, 0x401040, 0x401050)
    )
    assert names == [None, "one", "one", None, None, "two", None]


def test_places_in_the_file_are_addresses(read):
    found = read(build([], offset=0x2000, vaddr=0x5000))
    assert found.address_of(addresses(0x2000, 0x2FFF, 0x3000)).tolist() == [0x5000, 0x5FFF, 0x3000]
    assert found.functions.find(addresses(0x5000)) == [None]


def test_what_says_no_size_reaches_as_far_as_the_next(read):
    symbols = [Symbol(b"assembly", 0x401000, 0), Symbol(b"next", 0x401040, 4)]
    assert read(build(symbols)).functions.find(addresses(0x40103F, 0x401044)) == ["assembly", None]
    # but not where there may be others in between
    assert read(build([], symbols)).functions.find(addresses(0x40103F, 0x401043)) == [None, "next"]


def test_symbols_for_linking_do_where_there_are_no_others(read):
    dynamic = [Symbol(b"exported", 0x401000, 16)]
    found = read(build([], dynamic))
    assert not found.whole
    assert found.functions.find(addresses(0x401008)) == ["exported"]
    found = read(build([Symbol(b"inside", 0x401000, 16)], dynamic))
    assert found.functions.find(addresses(0x401008)) == ["inside"]


def test_of_several_names_the_plainest(read):
    names = [
        Symbol(b"__read", 0x401000, 16),
        Symbol(b"read", 0x401000, 16, binding=2),
        Symbol(b"_read", 0x401000, 16),
        Symbol(b"nothing", 0x401000, 0),
        Symbol(b"read@OLD_1.0", 0x401000, 16),
    ]
    for order in (names, names[::-1]):
        assert read(build(order)).functions.find(addresses(0x401001)) == ["read"]


def test_undefined_and_nameless_symbols_are_none(read):
    symbols = [Symbol(b"elsewhere", 0x401000, 16, section=0), Symbol(b"kept", 0x401100, 16)]
    assert read(build(symbols)).functions.find(addresses(0x401000, 0x401100)) == [None, "kept"]


def test_a_name_without_an_end_is_cut(read):
    assert read(build([Symbol(b"x" * 10_000, 0x401000, 16)])).functions.find(addresses(0x401000)) == [
        "x" * 4096
    ]


def test_tables_larger_than_the_room_are_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(build([Symbol(b"x" * 10_000, 0x401000, 16)]))
    with path.open("rb") as file, pytest.raises(ElfError):
        elf.read(file.fileno(), 9_000)


def test_build_id(read):
    assert read(build(build_id=bytes(range(20)))).build_id == bytes(range(20)).hex()
    assert read(build()).build_id == ""


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"MZ" + bytes(100), b"\x7fELF\x02\x02\x01" + bytes(100)])
def test_what_is_no_elf_file_of_this_machine(read, data):
    with pytest.raises(ElfError):
        read(data)


def test_broken_files_are_an_error_or_have_other_symbols(read):
    whole = build([Symbol(b"one", 0x401000, 0x20)], [Symbol(b"two", 0x401040, 0x20)], build_id=bytes(20))
    used = len(whole.rstrip(b"\0")) + 64
    chance = random.Random(23)
    outcomes = set()
    for _ in range(2000):
        data = bytearray(whole[: chance.choice([len(whole), chance.randrange(used)])])
        for _ in range(chance.randrange(4)):
            data[chance.randrange(min(used, len(data) or 1))] = (
                chance.choice([0, 1, 0x7F, 0xFF]) if data else 0
            )
        try:
            found = read(bytes(data))
        except ElfError:
            outcomes.add("error")
            continue
        for name in found.functions.find(found.address_of(addresses(0, 0x1000, 0x401010, 2**64 - 1))):
            outcomes.add(name)
    assert {"error", "one"} <= outcomes


KALLSYMS = """\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81001000 d no_function
ffffffff81001000 t do_this
ffffffff81001000 t do_this_alias
ffffffff81002000 W do_that
ffffffff82000000 T _etext
ffffffff82100000 d data
ffffffffa0001000 t later\t[things]
ffffffffa0000000 t module_code\t[things]
ffffffffa0002000 d module_data\t[things]
"""


def kernel(tmp_path, text):
    path = tmp_path / "kallsyms"
    path.write_text(text)
    return KernelSymbols(path)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (0xFFFFFFFF81001000, "do_this"),
        (0xFFFFFFFF81001FFF, "do_this"),
        (0xFFFFFFFF81FFFFFF, "do_that"),
        (0xFFFFFFFF82100001, "0xffffffff82100001"),
        (0xFFFFFFFFA0000FFF, "module_code"),
        (0xFFFFFFFFA0001000, "later"),
        (0xFFFFFFFFA0002000, "0xffffffffa0002000"),
        (0xFFFFFFFFFF600000, "0xffffffffff600000"),
        (0x1000, "0x1000"),
    ],
)
def test_functions_of_the_kernel(tmp_path, address, name):
    assert kernel(tmp_path, KALLSYMS).names(addresses(address)) == [name]


def test_what_is_far_behind_a_modules_function_is_not_it(tmp_path):
    text = "ffffffffa0000000 t module_code\t[things]\n"
    assert kernel(tmp_path, text).names(addresses(0xFFFFFFFFA0010000)) == ["module_code"]
    assert kernel(tmp_path, text).names(addresses(0xFFFFFFFFA0100000)) == ["0xffffffffa0100000"]


@pytest.mark.parametrize(
    "text", ["", "0000000000000000 T _stext\n0000000000000000 t do_this\n", "nonsense\n"]
)
def test_a_kernel_that_hides_them(tmp_path, text):
    symbols = kernel(tmp_path, text)
    assert symbols.hidden
    assert symbols.names(addresses(0xFFFFFFFF81001000)) == ["0xffffffff81001000"]


def test_a_32_bit_kernel(tmp_path):
    symbols = kernel(tmp_path, "c0100000 T _stext\nc0101000 t do_this\nc0200000 T _etext\n")
    assert symbols.names(addresses(0xC0101010)) == ["do_this"]


def test_maps_are_those_with_code():
    text = (
        b"55d0c0000000-55d0c0001000 r--p 00000000 fe:01 23 /usr/bin/a b\n"
        b"55d0c0001000-55d0c0002000 r-xp 00001000 fe:01 23 /usr/bin/a b\n"
        b"7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n"
        b"7ffe00000000-7ffe00002000 r-xp 00000000 00:00 0 [vdso]\n"
        b"7fff00000000-7fff00001000 r-xp 00002000 fe:01 24 /tmp/x\xff (deleted)\n"
    )
    found = maps.parse(text)
    assert [mapping.name for mapping in found] == ["a b", "", "[vdso]", r"x\xff"]
    assert (found[0].start, found[0].end, found[0].offset) == (0x55D0C0001000, 0x55D0C0002000, 0x1000)
    assert (found[0].device, found[0].inode) == ("fe:01", 23)


def address_of(function):
    return ctypes.cast(function, ctypes.c_void_p).value


def test_this_very_process():
    symbols = UserSymbols()
    assert symbols.notice(os.getpid())
    libc = ctypes.CDLL(None)
    places = addresses(address_of(libc.getppid), address_of(libc.qsort_r), 8)
    names = symbols.names(os.getpid(), maps.image_of(os.getpid()), places)
    assert names == ["getppid", "qsort_r", ASTRAY]
    symbols.close()


def test_another_image_is_another_program():
    symbols = UserSymbols()
    assert symbols.notice(os.getpid())
    place = addresses(address_of(ctypes.CDLL(None).getppid))
    image = maps.image_of(os.getpid())
    assert symbols.names(os.getpid(), image + 1, place) == [UNKNOWN]
    # a child that was forked has the same, and may be gone before anyone can look
    assert symbols.names(os.getpid() + 1, image, place) == ["getppid"]
    symbols.close()


def test_a_process_that_ended_keeps_what_was_noticed():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    symbols = UserSymbols()
    wait_for(lambda: any("libc.so" in m.name for m in maps.parse(maps.read(process.pid))), "its libc")
    assert symbols.notice(process.pid)
    image = maps.image_of(process.pid)
    start = next(m for m in maps.parse(maps.read(process.pid)) if "libc.so" in m.name)
    process.communicate(b"\n")
    assert not symbols.notice(process.pid)
    own = next(m for m in maps.parse(maps.read(os.getpid())) if "libc.so" in m.name)
    place = address_of(ctypes.CDLL(None).getppid) - own.start + start.start
    assert symbols.names(process.pid, image, addresses(place)) == ["getppid"]
    symbols.close()


def test_a_file_that_was_written_anew_is_another(tmp_path):
    """Its inode may be the same."""
    symbols = UserSymbols()
    path = tmp_path / "code"
    seen = []
    for name in (b"first", b"second"):
        path.write_bytes(build([Symbol(name, 0x401000, 0x100)]))
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0x2000, prot=mmap.PROT_READ | mmap.PROT_EXEC):
            assert symbols.notice(os.getpid())
            start = next(m for m in maps.parse(maps.read(os.getpid())) if m.path == str(path)).start
            seen += symbols.names(os.getpid(), maps.image_of(os.getpid()), addresses(start + 0x1010))
        assert symbols.notice(os.getpid())  # without it
    assert seen == ["first", "second"]
    symbols.close()


def test_the_kernels_code_in_programs_has_names():
    symbols = UserSymbols()
    assert symbols.notice(os.getpid())
    mapping = next(m for m in maps.parse(maps.read(os.getpid())) if m.path == "[vdso]")
    places = np.arange(mapping.start, mapping.end, 16, dtype=np.uint64)
    names = symbols.names(os.getpid(), maps.image_of(os.getpid()), places)
    assert any("clock_gettime" in name for name in names)
    assert not {UNKNOWN, ASTRAY} & set(names)
    symbols.close()


def test_a_process_that_is_not_there():
    assert maps.image_of(2**22 + 1) == 0
    assert maps.read(2**22 + 1) == b""
    assert not UserSymbols().notice(2**22 + 1)


def test_what_is_no_file_is_not_opened(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    mapping = maps.Mapping(0x1000, 0x2000, 0, "00:00", pipe.stat().st_ino, str(pipe))
    assert maps.find_file(os.getpid(), mapping) is None  # and not waited for
    file = tmp_path / "file"
    file.write_text("")
    other = maps.Mapping(0x1000, 0x2000, 0, "00:00", file.stat().st_ino + 1, str(file))
    assert maps.find_file(os.getpid(), other) is None


@pytest.fixture
def own_map():
    path = Path(f"/tmp/perf-{os.getpid()}.map")
    path.unlink(missing_ok=True)
    yield path
    path.unlink(missing_ok=True)


def test_functions_that_were_made(own_map):
    own_map.write_bytes(
        b"1000 20 one\n0x2000 0x10 two words\nnonsense\n3000 10 \xff;\n1000 8 again\n4000 10 unfin"
    )
    made = jit.Made(os.getpid())
    assert made
    names = made.find(addresses(0x1000, 0x1008, 0x2001, 0x3000, 0x4000))
    assert names == ["again", None, "two words", r"\xff;", None]
    with own_map.open("ab") as file:
        file.write(b"ished\n")
    assert made.find(addresses(0x4000)) == ["unfinished"]
    made.close()


def test_a_list_of_functions_that_another_user_made_is_none(own_map):
    own_map.write_bytes(b"1000 20 one\n")
    if os.geteuid() == 0:
        os.chown(own_map, 65534, 65534)
        assert not jit.Made(os.getpid())
    own_map.unlink()
    other = own_map.with_suffix(".other")
    other.write_bytes(b"1000 20 one\n")
    own_map.symlink_to(other)
    assert not jit.Made(os.getpid())
    other.unlink()
    own_map.unlink()
    os.mkfifo(own_map)
    assert not jit.Made(os.getpid())


def test_a_list_from_before_the_process_began_is_anothers(own_map):
    own_map.write_bytes(b"1000 20 one\n")
    begun = maps.started(os.getpid())
    os.utime(own_map, (begun - 60, begun - 60))
    assert not jit.Made(os.getpid())


MANGLED = {
    "_ZN4node9inspector5AgentC1Ev": "node::inspector::Agent::Agent()",
    "_ZN4core3fmt9Formatter3pad17h0123456789abcdefE": "core::fmt::Formatter::pad",
    "_RNvC6_123foo3bar": "123foo::bar",
    "_Znonsense": "_Znonsense",
    "main": "main",
}


def test_names_as_they_were_written():
    demangler = Demangler()
    assert demangler.names(MANGLED) == list(MANGLED.values())
    assert demangler.names(["main"] * 2) == ["main"] * 2


def test_names_that_mean_harm_stay_as_they_are():
    doubled = "_Z1f" + "".join(f"I1aS{'' if n == 0 else f'{n - 1:X}'}_S_E" for n in range(3))
    bomb = "_Z1fI" + "1gI" * 40 + "i" + "E" * 40 + "".join(f"S{n:X}_" for n in range(35)) * 30 + "E"
    deep = "_Z1f" + "P" * 4000 + "i"
    long = "_Z" + "9" * 8 + "x"
    endless = "_Z5000" + "a" * 5000 + "v"
    demangler = Demangler()
    names = demangler.names([deep, bomb, doubled, long, endless, "_Z4finev"])
    assert names[-1] == "fine()"
    assert names[4] == endless
    assert all(
        len(name) <= 4096 or name == mangled for name, mangled in zip(names, [deep, bomb], strict=False)
    )


def test_without_the_package_names_stay_as_they_are(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert Demangler().names(MANGLED) == list(MANGLED)
