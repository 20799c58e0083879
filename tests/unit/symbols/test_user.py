"""Test symbols: ELF files, valid and broken at random, kernel symbols as text, and this process."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import random
import re
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pytracer.budget import RUN, USER, Budget, OverBudgetError
from pytracer.record import replace
from pytracer.symbols import elf, jit, memory_maps, owners
from pytracer.symbols.demangle import Demangler, without_parameters
from pytracer.symbols.elf_tables import ElfError
from pytracer.symbols.kernel import KernelSymbols
from pytracer.symbols.user import ASTRAY, UNKNOWN, UserSymbols
from support import budgets
from support.cli import wait_for
from support.elf_builder import Symbol, build


def addresses(*numbers):
    return np.array(numbers, np.uint64)


@pytest.fixture
def read_elf(tmp_path):
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
def test_functions_have_a_beginning_and_an_end(read_elf, width):
    symbols = [
        Symbol(b"two", 0x401040, 0x10),
        Symbol(b"one", 0x401000, 0x20),
        Symbol(b"data", 0x401030, 8, 1),
    ]
    parsed = read_elf(build(symbols, width=width))
    assert parsed.whole
    names = parsed.functions.find(
        addresses(0x400FFF, 0x401000, 0x40101F, 0x401020, 0x401034, 0x401040, 0x401050)
    )
    assert names == [None, "one", "one", None, None, "two", None]


def test_places_in_the_file_are_addresses(read_elf):
    parsed = read_elf(build([], offset=0x2000, vaddr=0x5000))
    assert parsed.address_of(addresses(0x2000, 0x2FFF, 0x3000)).tolist() == [0x5000, 0x5FFF, 0x3000]
    assert parsed.functions.find(addresses(0x5000)) == [None]


def test_a_symbol_without_a_size_extends_to_the_next(read_elf):
    symbols = [Symbol(b"assembly", 0x401000, 0), Symbol(b"next", 0x401040, 4)]
    assert read_elf(build(symbols)).functions.find(addresses(0x40103F, 0x401044)) == ["assembly", None]
    # but not where there may be others in between
    assert read_elf(build([], symbols)).functions.find(addresses(0x40103F, 0x401043)) == [None, "next"]


def test_symbols_for_linking_do_where_there_are_no_others(read_elf):
    dynamic = [Symbol(b"exported", 0x401000, 16)]
    parsed = read_elf(build([], dynamic))
    assert not parsed.whole
    assert parsed.functions.find(addresses(0x401008)) == ["exported"]
    parsed = read_elf(build([Symbol(b"inside", 0x401000, 16)], dynamic))
    assert parsed.functions.find(addresses(0x401008)) == ["inside"]


def test_the_plainest_of_several_names_is_chosen(read_elf):
    names = [
        Symbol(b"__read", 0x401000, 16),
        Symbol(b"read", 0x401000, 16, binding=2),
        Symbol(b"_read", 0x401000, 16),
        Symbol(b"nothing", 0x401000, 0),
        Symbol(b"read@OLD_1.0", 0x401000, 16),
    ]
    for order in (names, names[::-1]):
        assert read_elf(build(order)).functions.find(addresses(0x401001)) == ["read"]


def test_undefined_and_nameless_symbols_are_none(read_elf):
    symbols = [Symbol(b"elsewhere", 0x401000, 16, section=0), Symbol(b"kept", 0x401100, 16)]
    assert read_elf(build(symbols)).functions.find(addresses(0x401000, 0x401100)) == [None, "kept"]


def test_a_name_without_an_end_is_cut(read_elf):
    assert read_elf(build([Symbol(b"x" * 10_000, 0x401000, 16)])).functions.find(addresses(0x401000)) == [
        "x" * 4096
    ]


def test_tables_larger_than_may_be_spent_are_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(build([Symbol(b"x" * 10_000, 0x401000, 16)]))
    messages = []
    for memory in (9_000, 30_000):
        budget = budgets.budget_with(memory=memory)
        budget.listen(messages.append)
        with path.open("rb") as file, contextlib.ExitStack() as may_fail:
            if memory == 9_000:
                may_fail.enter_context(pytest.raises(OverBudgetError))
            assert len(elf.read(file.fileno(), budget.account(budgets.UID, "process 23 (x)")).functions) == 1
    [line] = messages
    assert line.startswith("process 23 (x) exceeds what is spent for user ")


@pytest.mark.parametrize("filling", [b"\0", b"@"])
def test_empty_strings_and_marks_use_no_memory(read_elf, filling):
    """128 MB of them would be a list of 1 GB."""
    symbols = [Symbol(b"one", 0x401000, 16), Symbol(filling * (1 << 20), 0x402000, 16, 1)]
    data = build(symbols)
    tracemalloc.start()
    parsed = read_elf(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert parsed.functions.find(addresses(0x401000)) == ["one"]
    assert peak < 6 << 20


def test_build_id(read_elf):
    assert read_elf(build(build_id=bytes(range(20)))).build_id == bytes(range(20)).hex()
    assert read_elf(build()).build_id == ""


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"MZ" + bytes(100), b"\x7fELF\x02\x02\x01" + bytes(100)])
def test_files_that_are_no_elf_of_this_machine(read_elf, data):
    with pytest.raises(ElfError):
        read_elf(data)


def test_broken_files_are_an_error_or_have_other_symbols(read_elf):
    original = build([Symbol(b"one", 0x401000, 0x20)], [Symbol(b"two", 0x401040, 0x20)], build_id=bytes(20))
    used = len(original.rstrip(b"\0")) + 64
    rng = random.Random(23)
    outcomes = set()
    for _ in range(2000):
        data = bytearray(original[: rng.choice([len(original), rng.randrange(used)])])
        for _ in range(rng.randrange(4)):
            data[rng.randrange(min(used, len(data) or 1))] = rng.choice([0, 1, 0x7F, 0xFF]) if data else 0
        try:
            parsed = read_elf(bytes(data))
        except ElfError:
            outcomes.add("error")
            continue
        for name in parsed.functions.find(parsed.address_of(addresses(0, 0x1000, 0x401010, 2**64 - 1))):
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


RUN_TIME = """\
ffffffff81000000 T _stext
ffffffff82000000 T _etext
ffffffffa0000000 t inner\t[things]
ffffffffa0010000 t last\t[things]
ffffffffa0020000 t only\t[others]
ffffffffc0000000 t bpf_prog_6deef7357e7b4530_hit\t[bpf]
ffffffffc0000100 t bpf_prog_d8a4bd7d3b0a4d2b\t[bpf]
ffffffffc0001000 t bpf_trampoline_6442464113\t[bpf]
ffffffffc0003000 t ftrace_trampoline\t[__builtin__ftrace]
"""


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (0xFFFFFFFFA000FFFF, "inner"),
        (0xFFFFFFFFA0010FFF, "last"),
        (0xFFFFFFFFA0011000, ""),  # the next page may be another's
        (0xFFFFFFFFA001FFFF, ""),
        (0xFFFFFFFFA0020FFF, "only"),
        (0xFFFFFFFFA0021000, ""),
        (0xFFFFFFFFC000007F, "bpf_prog_6deef7357e7b4530_hit"),
        (0xFFFFFFFFC0000080, ""),  # a filter of classic BPF, which has no symbol
        (0xFFFFFFFFC0000100, "bpf_prog_d8a4bd7d3b0a4d2b"),
        (0xFFFFFFFFC0000101, ""),  # it is not known how long that is
        (0xFFFFFFFFC0001000, "bpf_trampoline_6442464113"),
        (0xFFFFFFFFC0001010, ""),
        (0xFFFFFFFFC0003010, ""),
    ],
)
def test_the_extent_of_symbols_outside_of_the_kernel_image(tmp_path, address, name):
    path = tmp_path / "kallsyms"
    path.write_text(RUN_TIME)
    symbols = KernelSymbols(path, lambda: [(0xFFFFFFFFC0000000, 0xFFFFFFFFC0000080)])
    assert symbols.names(addresses(address)) == [name or f"0x{address:x}"]


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
    parsed = memory_maps.parse(text)
    assert [mapping.name for mapping in parsed] == ["a b", "", "[vdso]", r"x\xff"]
    assert (parsed[0].start, parsed[0].end, parsed[0].offset) == (0x55D0C0001000, 0x55D0C0002000, 0x1000)
    assert (parsed[0].device, parsed[0].inode) == ("fe:01", 23)


def address_of(function):
    return ctypes.cast(function, ctypes.c_void_p).value


def test_this_very_process():
    symbols = UserSymbols()
    assert symbols.notice(os.getpid())
    libc = ctypes.CDLL(None)
    places = addresses(address_of(libc.getppid), address_of(libc.qsort_r), 8)
    names = symbols.names(os.getpid(), memory_maps.image_of(os.getpid()), None, places)
    assert names == ["getppid", "qsort_r", ASTRAY]
    symbols.close()


def test_another_image_is_another_program():
    symbols = UserSymbols()
    assert symbols.notice(os.getpid())
    target = addresses(address_of(ctypes.CDLL(None).getppid))
    image = memory_maps.image_of(os.getpid())
    assert symbols.names(os.getpid(), image + 1, None, target) == [UNKNOWN]
    # a child that was forked has the same, and may be gone before anyone can look
    assert symbols.names(os.getpid() + 1, image, None, target) == ["getppid"]
    symbols.close()


def test_an_exited_process_keeps_its_noticed_mappings():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    symbols = UserSymbols()
    wait_for(
        lambda: any("libc.so" in m.name for m in memory_maps.parse(memory_maps.read(process.pid))), "its libc"
    )
    assert symbols.notice(process.pid)
    image = memory_maps.image_of(process.pid)
    start = next(m for m in memory_maps.parse(memory_maps.read(process.pid)) if "libc.so" in m.name)
    process.communicate(b"\n")
    assert not symbols.notice(process.pid)
    mapping = next(m for m in memory_maps.parse(memory_maps.read(os.getpid())) if "libc.so" in m.name)
    target = address_of(ctypes.CDLL(None).getppid) - mapping.start + start.start
    assert symbols.names(process.pid, image, None, addresses(target)) == ["getppid"]
    symbols.close()


def test_a_rewritten_file_is_another_file(tmp_path):
    """It may have the same inode."""
    symbols = UserSymbols()
    path = tmp_path / "code"
    actual = []
    for name in (b"first", b"second"):
        path.write_bytes(build([Symbol(name, 0x401000, 0x100)]))
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0x2000, prot=mmap.PROT_READ | mmap.PROT_EXEC):
            assert symbols.notice(os.getpid())
            start = next(
                m for m in memory_maps.parse(memory_maps.read(os.getpid())) if m.path == str(path)
            ).start
            actual += symbols.names(
                os.getpid(), memory_maps.image_of(os.getpid()), None, addresses(start + 0x1010)
            )
        assert symbols.notice(os.getpid())  # without it
    assert actual == ["first", "second"]
    symbols.close()


def test_the_kernels_code_in_programs_has_names():
    symbols = UserSymbols()
    assert symbols.notice(os.getpid())
    mapping = next(m for m in memory_maps.parse(memory_maps.read(os.getpid())) if m.path == "[vdso]")
    places = np.arange(mapping.start, mapping.end, 16, dtype=np.uint64)
    names = symbols.names(os.getpid(), memory_maps.image_of(os.getpid()), None, places)
    assert any("clock_gettime" in name for name in names)
    assert not {UNKNOWN, ASTRAY} & set(names)
    symbols.close()


def test_a_process_that_is_not_there():
    assert memory_maps.image_of(2**22 + 1) == 0
    assert memory_maps.read(2**22 + 1) == b""
    assert not UserSymbols().notice(2**22 + 1)


def test_only_regular_files_are_opened(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    mapping = memory_maps.Mapping(0x1000, 0x2000, 0, "00:00", pipe.stat().st_ino, str(pipe))
    assert memory_maps.find_file(os.getpid(), mapping) is None  # and not waited for
    file = tmp_path / "file"
    file.write_text("")
    other = memory_maps.Mapping(0x1000, 0x2000, 0, "00:00", file.stat().st_ino + 1, str(file))
    assert memory_maps.find_file(os.getpid(), other) is None


def perf_map():
    return jit.PerfMap(os.getpid(), Budget().account(os.geteuid(), "this process"))


def test_over_the_budget_of_one_user_others_still_have_names(monkeypatch):
    """Two users map the same file; only the one over budget gets no names."""
    budget = budgets.budget_with(entries=1000)
    messages = []
    budget.listen(messages.append)
    user = [budgets.UID]
    monkeypatch.setattr("pytracer.symbols.owners.credentials_of", lambda *_: user[0])
    target = addresses(address_of(ctypes.CDLL(None).getppid))
    symbols = UserSymbols(budget)
    names = []
    children = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(2)]
    for child, uid in zip(children, (budgets.UID, 0), strict=True):
        user[0] = uid
        wait_for(
            lambda pid=child.pid: any("libc.so" in m.name for m in memory_maps.parse(memory_maps.read(pid))),
            "its libc",
        )
        assert symbols.notice(child.pid)
        remote, local = (
            next(m for m in memory_maps.parse(memory_maps.read(pid)) if "libc.so" in m.name)
            for pid in (child.pid, os.getpid())
        )
        moved = target - np.uint64(local.start) + np.uint64(remote.start)
        names += symbols.names(child.pid, memory_maps.image_of(child.pid), None, moved)
        child.communicate(b"\n")
    symbols.close()
    assert re.fullmatch(r"libc\.so\.6\+0x[0-9a-f]+", names[0])
    assert names[1] == "getppid"
    [line] = messages
    assert re.fullmatch(
        rf"process {children[0].pid} \(\S+\) exceeds what is spent for user {budgets.UID}: .*", line
    )


def test_a_user_over_budget_is_skipped(monkeypatch):
    now = [0.0]
    budget = Budget(user=replace(USER, cpu=2.0, share=0.5), clock=lambda: now[0], cpu=lambda: now[0])
    account = budget.account(budgets.UID, "process 23 (x)")
    with account.timed():
        now[0] += 4.5
    with pytest.raises(OverBudgetError), account.timed():
        pass
    now[0] += 1.0  # of the time that passes, half may be spent
    with account.timed():
        now[0] += 0.5
        with pytest.raises(OverBudgetError):
            account.check()


def test_users_together_have_a_limit_that_root_has_apart():
    budget = Budget(user=replace(USER, entries=10), run=replace(RUN, entries=25))
    messages = []
    for uid in (1001, 1002):
        budget.account(uid, f"process {uid} (x)").charge(entries=10)
    with pytest.raises(OverBudgetError):
        budget.account(1003, "process 1003 (x)").charge(entries=10)
    budget.account(0, "process 1 (init)").charge(entries=25)
    budget.listen(messages.append)
    assert messages == [
        "process 1003 (x) exceeds what is spent for all users but root: 25 entries; names are missing, "
        "nothing else is"
    ]


def test_within_a_user_namespace_who_made_it_is_to_blame():
    shell = "echo; read x"
    uid = os.geteuid() or 65534
    become = [] if os.geteuid() else ["setpriv", f"--reuid={uid}", "--clear-groups"]
    command = [*become, "unshare", "-Ur", "unshare", "-Ur", "sh", "-c", shell]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    credentials = owners.credentials(process.pid)
    assert owners.credentials_of(process.pid, credentials.uid) == uid
    process.communicate(b"\n")
    assert owners.credentials_of(os.getpid(), 12345) == 12345


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
    perf_functions = perf_map()
    assert perf_functions
    names = perf_functions.find(addresses(0x1000, 0x1008, 0x2001, 0x3000, 0x4000))
    assert names == ["again", "one", "two words", r"\xff;", None]
    with own_map.open("ab") as file:
        file.write(b"ished\n")
    assert perf_functions.find(addresses(0x4000)) == ["unfinished"]
    perf_functions.close()


@pytest.mark.parametrize(("name", "is_dump"), [("jit-{pid}.dump", True), ("jit-{pid}.so", False)])
def test_an_unread_jitdump_is_reported(tmp_path, name, is_dump):
    """perf finds a jitdump because it is mapped with code."""
    path = tmp_path / name.format(pid=os.getpid())
    path.write_bytes(bytes(mmap.PAGESIZE))
    messages = list[str]()
    budget = Budget()
    budget.listen(messages.append)
    symbols = UserSymbols(budget)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC):
        symbols.notice(os.getpid())
    symbols.close()
    assert any("jitdump, which is not read" in line for line in messages) is is_dump


# As written by jcmd Compiler.perfmap of JDK 17.0.15, node 20 --perf-basic-prof, .NET (from its format string
# "%p %x %s [%s]", upper case on some systems), LuaJIT ("%lx %x TRACE_%d::%s:%u") and Python 3.12 -X perf.
@pytest.mark.parametrize(
    ("line", "start", "size", "name"),
    [
        (b"0x00007f28e0ec78a0 0x00000000000000d0 java.lang.String Spin.name()", 0x7F28E0EC78A0, 0xD0, None),
        (b"7f4e3e7c5c40 348 JS:*hot [eval]:1:47", 0x7F4E3E7C5C40, 0x348, None),
        (b"0x7f2b1c3d0e80 7f int32 [x] X::Main(string[])[Optimized]", 0x7F2B1C3D0E80, 0x7F, None),
        (b"00007F2B1C3D0E80 7F stub GenerateLookupStub", 0x7F2B1C3D0E80, 0x7F, None),
        (b"bcbafd10 2c5 TRACE_1::spin.lua:7", 0xBCBAFD10, 0x2C5, None),
        (b"7f1c8a3f4000 b py::hot:/tmp/x.py", 0x7F1C8A3F4000, 0xB, None),
        (b"ffff000000001000  10   two words\r", 0xFFFF000000001000, 16, "two words"),
    ],
)
def test_runtimes_that_write_perf_maps(own_map, line, start, size, name):
    own_map.write_bytes(line + b"\n")
    perf_functions = perf_map()
    name = name or line.decode().split(" ", 2)[2]
    matches = perf_functions.find(addresses(start - 1, start, start + size - 1, start + size))
    assert matches == [None, name, name, None]
    perf_functions.close()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"1000",
        b"1000 10",
        b"1000 10 ",
        b"0x 10 name",
        b"1000 0x name",
        b"1000 0 nothing",
        b"xyz 10 name",
        b"11112222333344445 10 long",
        b"1000 11112222333344445 long",
        b"ffffffffffffff00 1000 wraps",
        b"-1000 10 name",
        b"1000\t10\tname",
        b"1" * 100,
        b"0" * 100,
        b"\xff" * 100,
        b"\0" * 100,
    ],
)
def test_invalid_lines_do_not_affect_others(own_map, line):
    own_map.write_bytes(b"2000 10 before\n" + line + b"\n3000 10 after\n")
    perf_functions = perf_map()
    assert perf_functions.find(addresses(0x1000, 0x2000, 0x3000)) == [None, "before", "after"]
    perf_functions.close()


def test_later_functions_are_in_place_of_earlier_ones_as_far_as_they_reach(own_map):
    rng = random.Random(23)
    lines = [(rng.randrange(4000), rng.choice([1, 7, 100, 5000])) for _ in range(3000)]
    perf_functions, expected = None, [None] * 4000
    for part in (lines[:1000], lines[1000:1001], lines[1001:]):
        with own_map.open("ab") as file:
            for start, size in part:
                name = f"f{start}_{size}"
                file.write(b"%x %x %s\n" % (start, size, name.encode()))
                expected[start : start + size] = [name] * len(expected[start : start + size])
        perf_functions = perf_functions or perf_map()
        assert perf_functions.find(np.arange(4000, dtype=np.uint64)) == expected
    perf_functions.close()


def test_only_added_lines_are_read(own_map, monkeypatch):
    own_map.write_bytes(b"1000 20 one\n" * 1000)
    perf_functions, parsed = perf_map(), []
    monkeypatch.setattr(
        jit, "_parse", lambda data, base, parse=jit._parse: parsed.append(len(data)) or parse(data, base)
    )
    for _ in range(2):
        assert perf_functions.find(addresses(0x1000)) == ["one"]
    with own_map.open("ab") as file:
        file.write(b"2000 20 two\n300")
    assert perf_functions.find(addresses(0x1000, 0x2000)) == ["one", "two"]
    with own_map.open("ab") as file:
        file.write(b"0 10 three\n")
    assert perf_functions.find(addresses(0x2000, 0x3000)) == ["two", "three"]
    assert parsed == [12_000, 12, 14]
    perf_functions.close()


def test_a_rewritten_list_is_read_again(own_map):
    """HotSpot writes into the same file again: shorter, longer, or of the same length."""
    own_map.write_bytes(b"1000 20 one\n2000 20 two\n")
    perf_functions = perf_map()
    assert perf_functions.find(addresses(0x1000, 0x2000)) == ["one", "two"]
    for text in (b"1000 20 six\n", b"1000 20 two\n" * 100, b"1000 20 ten\n" * 100):
        own_map.write_bytes(text)
        os.utime(own_map, ns=(0, own_map.stat().st_mtime_ns + 1))  # in less than the clock's resolution
        assert perf_functions.find(addresses(0x1000, 0x2000)) == [text.split()[2].decode(), None]
    perf_functions.close()


def test_only_lines_longer_than_the_read_buffer_are_skipped(own_map, monkeypatch):
    monkeypatch.setattr(jit, "_PIECE", 64)
    name = b"n" * 10_000
    own_map.write_bytes(b"1000 10 one\n2000 10 " + name + b"\n3000 10 three\n4000 10 " + b"x" * 500)
    perf_functions = perf_map()
    assert perf_functions.find(addresses(0x1000, 0x3000, 0x4000)) == ["one", "three", None]
    with own_map.open("ab") as file:
        file.write(b"y" * 32 + b"\n5000 10 five\n")
    assert perf_functions.find(addresses(0x3000, 0x5000)) == ["three", "five"]
    perf_functions.close()


def test_a_list_over_the_budget_is_read_as_far_as_it_may_be_and_that_is_reported(own_map):
    own_map.write_bytes(b"1000 10 one\n" * 1000)
    messages = []
    budget = budgets.budget_with(entries=1500)
    budget.listen(messages.append)
    perf_map = jit.PerfMap(os.getpid(), budget.account(budgets.UID, "process 23 (x)"))
    assert perf_map.find(addresses(0x1000)) == ["one"]
    with own_map.open("ab") as file:
        file.write(b"2000 10 two\n" * 1000)
    for _ in range(2):
        assert perf_map.find(addresses(0x1000, 0x2000)) == ["one", None]
    assert messages == [
        f"process 23 (x) exceeds what is spent for user {budgets.UID}: 1,500 entries; names are missing, "
        "nothing else is"
    ]
    perf_map.close()
    assert budget.left(budgets.UID, "entries") == 1500


def test_a_list_that_root_wrote_counts_for_every_user(own_map):
    if os.geteuid():
        pytest.skip("only root can give its files to others")
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, user=65534)
    path = Path(f"/tmp/perf-{process.pid}.map")
    try:
        path.write_bytes(b"1000 20 one\n")
        for uid, counts in ((0, True), (65534, True), (1, False)):
            os.chown(path, uid, uid)
            assert bool(jit.PerfMap(process.pid, Budget().account(0, "it"))) is counts
        os.chown(path, 0, 0)
        os.link(path, path.with_suffix(".link"))  # that can be of any file of root's
        assert not jit.PerfMap(process.pid, Budget().account(0, "it"))
    finally:
        path.unlink()
        path.with_suffix(".link").unlink(missing_ok=True)
        process.communicate(b"\n")


def test_a_list_of_functions_that_another_user_made_is_none(own_map):
    own_map.write_bytes(b"1000 20 one\n")
    if os.geteuid() == 0:
        os.chown(own_map, 65534, 65534)
        assert not perf_map()
    own_map.unlink()
    other = own_map.with_suffix(".other")
    other.write_bytes(b"1000 20 one\n")
    own_map.symlink_to(other)
    assert not perf_map()
    other.unlink()
    own_map.unlink()
    os.mkfifo(own_map)
    assert not perf_map()


def test_a_list_from_before_the_process_began_is_anothers(own_map):
    own_map.write_bytes(b"1000 20 one\n")
    start = memory_maps.started(os.getpid())
    os.utime(own_map, (start - 60, start - 60))
    assert not perf_map()


MANGLED = {
    "_ZN4node9inspector5AgentC1Ev": "node::inspector::Agent::Agent()",
    "_ZN4core3fmt9Formatter3pad17h0123456789abcdefE": "core::fmt::Formatter::pad",
    "_RNvC6_123foo3bar": "123foo::bar",
    "_Znonsense": "_Znonsense",
    "main": "main",
}


def test_names_as_they_were_written():
    without = Demangler(parameters=False).names(["_ZN2ns1fIiEEvT_", "_ZN3foo3barEPKcz", "_Zfail"])
    assert without == ["ns::f<int>", "foo::bar", "_Zfail"]
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


def test_functions_that_were_made_where_others_had_been(own_map):
    """A line was written between two readings of the file: samples between them may belong to either
    function."""
    times = [time.monotonic_ns()]
    own_map.write_bytes(b"1000 20 one\n3000 20 alone\n")
    perf_functions = perf_map()
    perf_functions.update()
    times.append(time.monotonic_ns())
    perf_functions.update()
    times.append(time.monotonic_ns())
    with own_map.open("ab") as file:
        file.write(b"1010 20 two\n")
    perf_functions.update()
    times.append(time.monotonic_ns())

    def names(since, until):
        return perf_functions.find(addresses(0x1000, 0x1010, 0x2000, 0x3000), since, until)

    assert names(times[1], times[1] + 1) == ["one", "one", None, "alone"]
    assert names(times[1], jit.LATEST) == ["one", "[unloaded]", None, "alone"]
    assert names(times[3], jit.LATEST) == ["one", "two", None, "alone"]
    assert names(jit.LATEST, jit.LATEST) == ["one", "two", None, "alone"]
    assert names(times[0] - 2, times[0] - 1) == ["one", "one", None, "alone"]
    with own_map.open("ab") as file:
        file.write(b"1010 20 three\n1010 20 four\n1010 20 three\n3000 20 alone\n")
    assert names(times[3], jit.LATEST) == ["one", "[unloaded]", None, "alone"]
    perf_functions.close()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("void ns::f<int>(int)", "ns::f<int>"),
        (
            "std::vector<int, std::allocator<int>>::push_back(int&&)",
            "std::vector<int, std::allocator<int>>::push_back",
        ),
        ("A::operator()(int) const", "A::operator()"),
        ("A::operator bool()", "A::operator bool"),
        ("bool operator< <int>(A<int>, A<int>)", "bool operator< <int>"),
        ("main::'lambda'()::operator()() const", "main::'lambda'()::operator()"),
        ("void foo<3>(int (*)(int))", "foo<3>"),
        ("f(int) && (.cold)", "f (.cold)"),
        ("guard variable for f()::x", "guard variable for f()::x"),
        ("vtable for A", "vtable for A"),
        ("core::fmt::Write::write_fmt", "core::fmt::Write::write_fmt"),
        ("foo::<fn(i32)>::bar", "foo::<fn(i32)>::bar"),
        ("(anonymous namespace)::f(long)", "(anonymous namespace)::f"),
        ("(x)", "(x)"),
        (")", ")"),
        ("", ""),
    ],
)
def test_parameters_are_left_out(text, name):
    assert without_parameters(text) == name
