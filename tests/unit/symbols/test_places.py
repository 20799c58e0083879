"""Test which file a name means, and where its functions are."""

from __future__ import annotations

import lzma
import os
import struct
import subprocess
from pathlib import Path

import pytest

from pytracer.errors import UnknownNameError, UsageError
from pytracer.spec import ProbeSite
from pytracer.symbols import libraries, places, program_files
from pytracer.symbols.root import Root
from support import budgets
from support.elf_builder import Symbol, build


@pytest.fixture
def file(tmp_path):
    descriptors = []

    def of(*symbols, **fields):
        (tmp_path / "program").write_bytes(build(symbols, **fields))
        descriptors.append(program_files.find(str(tmp_path / "program")))
        return descriptors[-1]

    yield of
    for descriptor in descriptors:
        descriptor.close()


@pytest.mark.parametrize("width", [1, 2])
def test_a_function_is_where_its_segment_is_in_the_file(file, width):
    program = file(Symbol(b"work", 0x401040, 8), Symbol(b"other", 0x401080, 8), width=width, offset=0x2000)
    assert places.find(program, "work").sites == (ProbeSite("work", 0x2040),)
    assert places.find(program, "work+4").sites == (ProbeSite("work+4", 0x2044),)
    assert places.find(program, "+0x2080").sites == (ProbeSite("+0x2080", 0x2080),)
    assert [site.name for site in places.find(program, "*").sites] == ["work", "other"]
    assert [site.name for site in places.find(program, "w?rk").sites] == ["work"]


def test_names_that_share_their_end_and_versions(file):
    program = file(
        Symbol(b"do_work", 0x401000, 8), Symbol(b"open@@V2", 0x401010, 8), Symbol(b"opened", 0x401020, 8)
    )
    with pytest.raises(UnknownNameError):
        places.find(program, "work")
    assert places.find(program, "open").sites == (ProbeSite("open", 0x1010),)


def test_several_names_of_one_place_are_one(file):
    program = file(Symbol(b"__read", 0x401000, 8), Symbol(b"read", 0x401000, 8))
    assert places.find(program, "*read").sites == (ProbeSite("read", 0x1000),)


def test_both_symbol_tables_are_searched(tmp_path):
    data = build([Symbol(b"inside", 0x401000, 8)], [Symbol(b"exported", 0x401010, 8)])
    (tmp_path / "program").write_bytes(data)
    with program_files.find(str(tmp_path / "program")) as program:
        assert [site.name for site in places.find(program, "*").sites] == ["inside", "exported"]


def test_an_ifunc_is_reported(file):
    program = file(Symbol(b"memcpy", 0x401000, 8, kind=10), Symbol(b"memmove_sse", 0x401010, 8))
    with pytest.raises(UsageError, match=r"memcpy of .* is chosen among several functions"):
        places.find(program, "memcpy")
    matches = places.find(program, "mem*")
    assert [site.name for site in matches.sites] == ["memmove_sse"]
    assert matches.note.endswith("(IFUNC): memcpy")


def test_an_unknown_function_is_an_error_that_suggests_others(file):
    program = file(Symbol(b"work", 0x401000, 8))
    with pytest.raises(UnknownNameError) as excinfo:
        places.find(program, "wrok")
    assert excinfo.value.hint == "did you mean work?"
    with pytest.raises(UsageError, match="no code at offset 0x9"):
        places.find(program, "+0x9")
    with pytest.raises(UsageError, match="probed from its beginning"):
        places.find(program, "work+2", at_return=True)
    with pytest.raises(UsageError, match=r"outside the function bounds \('work' size is 8\)"):
        places.find(program, "work+8")
    symbols = [Symbol(b"function_%d" % n, 0x401000 + n % 0xF00, 1) for n in range(5000)]
    with pytest.raises(UnknownNameError) as excinfo:
        places.find(file(*symbols), "functoin_4999")
    assert "did you mean function_" in excinfo.value.hint


def test_the_error_for_a_stripped_file_has_a_hint(file):
    with pytest.raises(UsageError, match="has no symbols of functions") as excinfo:
        places.find(file(build_id=b"\xab\xcd"), "work")
    assert "build id abcd" in excinfo.value.hint
    assert "+0x1040" in excinfo.value.hint


def test_split_symbols_are_found_by_the_build_id(file, tmp_path, monkeypatch):
    symbols = tmp_path / "ab" / "cd.debug"
    symbols.parent.mkdir()
    symbols.write_bytes(build([Symbol(b"work", 0x401040, 8)], build_id=b"\xab\xcd"))
    monkeypatch.setattr("pytracer.symbols.debug.FOLDER", tmp_path)
    assert places.find(file(build_id=b"\xab\xcd"), "work").sites == (ProbeSite("work", 0x1040),)
    symbols.write_bytes(build([Symbol(b"work", 0x401040, 8)], build_id=b"\xab\xce"))
    with pytest.raises(UsageError):
        places.find(file(build_id=b"\xab\xcd"), "work")


def test_symbols_that_are_packed_in_the_file(tmp_path):
    """Fedora keeps dynamic symbols plain and the rest compressed in .gnu_debugdata."""
    code = "int kept(void) { return 1; } static int __attribute__((noinline, used)) inner(void) { return 2; }"
    library, others = tmp_path / "library.so", tmp_path / "rest"
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", library]
    subprocess.run(command, input=code, text=True, check=True)
    with program_files.find(str(library)) as program:
        [expected] = places.find(program, "inner").sites
    subprocess.run(["objcopy", "--only-keep-debug", library, others], check=True)
    (tmp_path / "packed").write_bytes(lzma.compress(others.read_bytes()))
    subprocess.run(["strip", library], check=True)
    with program_files.find(str(library)) as program, pytest.raises(UnknownNameError):
        places.find(program, "inner")
    packed = f".gnu_debugdata={tmp_path / 'packed'}"
    subprocess.run(["objcopy", "--add-section", packed, library], check=True)
    with program_files.find(str(library)) as program:
        assert places.find(program, "inner").sites == (expected,)
        assert len(places.find(program, "kept").sites) == 1
    (tmp_path / "packed").write_bytes(b"no xz")
    subprocess.run(["objcopy", "--update-section", packed, library], check=True)
    with program_files.find(str(library)) as program, pytest.raises(UnknownNameError):
        places.find(program, "inner")


def test_a_broken_file_is_an_error(tmp_path):
    path = tmp_path / "program"
    data = bytearray(build([Symbol(b"work", 0x401040, 8)]))
    sections = struct.unpack_from("<Q", data, 40)[0]
    struct.pack_into("<Q", data, sections + 64 + 24, 1 << 40)  # the table of symbols is beyond the end
    path.write_bytes(data)
    with (
        program_files.find(str(path)) as program,
        pytest.raises(UsageError, match="is broken: a table ends behind"),
    ):
        places.find(program, "work")


@pytest.mark.parametrize(
    ("name", "file", "is_it"),
    [
        ("libc", "libc.so.6", True),
        ("libc", "libc-2.31.so", True),
        ("libc", "libc.musl-x86_64.so.1", True),
        ("libc", "libcap.so.2", False),
        ("libssl.so.3", "libssl.so.3", True),
        ("libssl.so", "libssl.so.3", True),
        ("libssl.so.3", "libssl.so.30", False),
        ("libstdc++", "libstdc++.so.6", True),
        ("python3", "python3", True),
        ("python3", "python3.11", False),
    ],
)
def test_libraries_by_name(name, file, is_it):
    assert libraries.is_called(name, file) is is_it


def cache(*entries, before=b""):
    strings, table = b"", b""
    start = 48 + 24 * len(entries)
    for name, path in entries:
        offset = start + len(strings)
        strings += name + b"\0" + path + b"\0"
        table += struct.pack("=iIIIQ", 0x303, offset, offset + len(name) + 1, 0, 0)
    return (
        before + b"glibc-ld.so.cache1.1" + struct.pack("=II20x", len(entries), len(strings)) + table + strings
    )


def test_the_cache_of_the_dynamic_linker():
    entries = (b"libc.so.6", b"/lib/libc.so.6"), (b"libz.so.1", b"/lib/libz.so.1")
    expected = [(name.decode(), path.decode()) for name, path in entries]
    assert list(libraries.entries(cache(*entries))) == expected
    assert list(libraries.entries(cache(*entries, before=b"ld.so-1.7.0\0" + bytes(24)))) == expected
    assert list(libraries.entries(b"something else")) == []
    cache_data = cache(*entries)
    for size in range(len(cache_data)):
        list(libraries.entries(cache_data[:size]))


def test_a_cache_of_the_dynamic_linker_that_names_megabytes_names_nothing():
    """A container controls the cache: 300,000 entries in 16 MB may each be as long as the rest of the
    file."""
    data = bytearray(cache(*[(b"libc.so.6", b"/lib")] * 1000, (b"libz.so.1", b"/lib/libz.so.1")))
    for number in range(1000):
        struct.pack_into("=II", data, 48 + 24 * number + 4, len(data), len(data) + number)
    entries = list(libraries.entries(bytes(data) + b"x" * (1 << 20)))
    assert entries[-1] == ("libz.so.1", "/lib/libz.so.1")
    assert set(entries[:-1]) == {("", "")}


def test_more_libraries_than_may_be_looked_at_are_left_out(tmp_path, monkeypatch):
    (tmp_path / "cache").write_bytes(cache(*[(b"lib%d.so" % n, b"/lib/lib%d.so" % n) for n in range(100)]))
    budget, messages = budgets.budget_with(entries=50), []
    budget.listen(messages.append)
    monkeypatch.setattr(libraries, "CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(libraries, "current", lambda: budget)
    monkeypatch.setattr(libraries.owners, "credentials_of", lambda *_: budgets.UID)
    with Root(os.getpid()) as root:
        assert len(libraries.names(root)) == 50
    [line] = messages
    assert f"exceeds what is spent for user {budgets.UID}: 50 entries" in line
    with Root() as root:
        assert len(libraries.names(root)) == 100


def test_a_fifo_in_the_place_of_a_file_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "cache")
    with Root() as root, pytest.raises(OSError, match="Invalid"):
        root.read(str(tmp_path / "cache"))


def test_a_library_is_the_one_that_this_machine_runs(tmp_path, monkeypatch):
    narrow, wide = tmp_path / "narrow", tmp_path / "wide"
    for folder, width in ((narrow, 1), (wide, 2)):
        folder.mkdir()
        (folder / "libfoo.so.1").write_bytes(build([Symbol(b"work", 0x401000, 8)], width=width))
    monkeypatch.setattr(libraries, "CACHE", str(tmp_path / "cache"))
    paths = [str(folder / "libfoo.so.1").encode() for folder in (narrow, wide)]
    (tmp_path / "cache").write_bytes(cache(*((b"libfoo.so.1", path) for path in paths)))
    monkeypatch.setattr(program_files, "_read_machine", lambda _: (2, 62))
    with program_files.find("libfoo") as actual:
        assert actual.name == str(wide / "libfoo.so.1")
    with program_files.find("foo") as actual:
        assert actual.name == str(wide / "libfoo.so.1")
    (wide / "libfoo.so.2").write_bytes(build([Symbol(b"more", 0x401000, 8)]))
    (tmp_path / "cache").write_bytes(
        cache((b"libfoo.so.1", paths[1]), (b"libfoo.so.2", str(wide / "libfoo.so.2").encode()))
    )
    with pytest.raises(UsageError, match=r"libfoo may be libfoo\.so\.1 or libfoo\.so\.2"):
        program_files.find("libfoo")
    with pytest.raises(UnknownNameError) as excinfo:
        program_files.find("libfo")
    assert "libfoo.so" in excinfo.value.hint


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/dev/null", "no file with code"), ("/", "no file with code"), ("/no/such", "No such file")],
)
def test_a_missing_file(path, reason):
    with pytest.raises(UsageError, match=reason):
        program_files.find(path)


def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no file with code"):
        program_files.find(str(tmp_path / "pipe"))


def test_this_process_has_mapped_its_executable():
    with program_files.find("libc", os.getpid()) as actual:
        assert actual.mapped
        assert "libc" in actual.name
    exe = Path("/proc/self/exe").stat()
    assert (exe.st_dev, exe.st_ino) in {file.identity[:2] for file in program_files.open_mapped(os.getpid())}
    with pytest.raises(UsageError, match="was replaced just now"):
        program_files.find("libc", 0, (1, 2, 3))


def test_a_file_that_was_written_to_since_is_another(file):
    """The inode is the same but the code differs: earlier offsets are invalid."""
    before = file(Symbol(b"work", 0x1000, 16))
    program_files.find(before.name, 0, before.identity).close()
    content = Path(before.name).read_bytes()
    while Path(before.name).stat().st_ctime_ns == before.identity[2]:  # whose clock may tick slowly
        Path(before.name).write_bytes(content)
    with pytest.raises(UsageError, match="was replaced just now"):
        program_files.find(before.name, 0, before.identity)


def test_a_process_that_is_not_there():
    with pytest.raises(UsageError, match="no process 4194999"):
        program_files.find("libc", 4194999)
    with pytest.raises(FileNotFoundError):
        Root(4194999)


def test_the_file_of_a_process_that_ended_is_found_by_its_path(tmp_path):
    path = tmp_path / "program"
    path.write_bytes(build([Symbol(b"work", 0x401040, 8)]))
    with program_files.find(str(path)) as file:
        identity = file.identity
    with program_files.find(str(path), 4194999, identity) as file:
        assert places.find(file, "work").sites
    with pytest.raises(UsageError, match="no process 4194999"):
        program_files.find(str(path), 4194999, (identity[0], identity[1] + 1, *identity[2:]))
    with pytest.raises(UsageError, match="no process 4194999"):
        program_files.find(str(path), 4194999)
