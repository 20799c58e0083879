"""Test headers from the distribution's package or the kernel's archive, in all their layouts."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from pytracer.bpf import identity
from pytracer.bpf.cache.directory import CacheDir
from pytracer.bpf.cache.sealed import HeadersWriteError
from pytracer.bpf.compile import headers
from pytracer.bpf.compile.headers import find_headers, packaged
from pytracer.bpf.identity import build_id, kernel_version
from pytracer.errors import HeadersError, UnknownNameError

RELEASE = os.uname().release
KCONFIG = "include/linux/kconfig.h"


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"/* {path.name} of {root.name} */\n")


@pytest.fixture
def cache(tmp_path: Path) -> CacheDir:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    return CacheDir(folder)


def archive(path: Path, *entries: tarfile.TarInfo | str) -> Path:
    with tarfile.open(path, "w:xz") as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
            data = b"text\n" if info.isfile() else b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_a_package_in_one_piece_is_taken_as_it_is(tmp_path: Path, cache: CacheDir) -> None:
    put(tmp_path / "src", KCONFIG)
    (tmp_path / RELEASE).mkdir()
    (tmp_path / RELEASE / "build").symlink_to(tmp_path / "src")
    assert packaged.find_package(lambda: cache, modules=tmp_path) == tmp_path / "src"
    assert list(cache.path.iterdir()) == []


@pytest.mark.parametrize("by", ["link", "makefile"])
def test_a_package_in_two_halves_is_joined(tmp_path: Path, cache: CacheDir, by: str) -> None:
    common, build = tmp_path / "common", tmp_path / RELEASE / "build"
    put(common, KCONFIG, "include/linux/sched.h", "arch/x86/include/asm/page.h", "Makefile")
    put(build, "include/generated/autoconf.h", "arch/x86/include/generated/asm/types.h")
    if by == "link":
        (tmp_path / RELEASE / "source").symlink_to(common)
    else:
        (build / "Makefile").write_text(f"# made\ninclude {common}/Makefile\n")
    path = packaged.find_package(lambda: cache, modules=tmp_path)
    for name in (
        KCONFIG,
        "include/linux/sched.h",
        "include/generated/autoconf.h",
        "arch/x86/include/asm/page.h",
    ):
        assert (path / name).is_file(), name
    assert (path / "arch/x86/include/generated/asm/types.h").read_text() == "/* types.h of build */\n"
    assert packaged.find_package(lambda: cache, modules=tmp_path) == path
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_package_that_is_not_there_or_not_whole(tmp_path: Path, cache: CacheDir) -> None:
    with pytest.raises(HeadersError, match="there is no") as excinfo:
        packaged.find_package(lambda: cache, modules=tmp_path)
    assert excinfo.value.hint
    (tmp_path / RELEASE / "build").mkdir(parents=True)
    with pytest.raises(HeadersError, match="not complete"):
        packaged.find_package(lambda: cache, modules=tmp_path)


def tree_with_bpf(folder: Path, *helpers: str) -> Path:
    put(folder, KCONFIG, packaged.BPF, "include/linux/sched.h", "arch/x86/include/asm/page.h")
    (folder / packaged.BPF).write_text(
        "#define __BPF_FUNC_MAPPER(FN) \\\n" + "".join(f"\tFN({name}, 1), \\\n" for name in helpers)
    )
    return folder


def library(folder: Path, *helpers: str) -> Path:
    path = folder / "libbcc.so.0"
    path.write_bytes(b"\x7fELF\0BPF_FUNC_MAPPER\0" + b"\0".join(f"BPF_FUNC_{h};".encode() for h in helpers))
    return path


def test_the_kernels_own_bpf_h_is_taken_where_bcc_brings_an_older_one(
    tmp_path: Path, cache: CacheDir
) -> None:
    tree, folder = tree_with_bpf(tmp_path / "tree", "loop", "newer"), cache.folder("headers")
    path = packaged.replace_bpf_header(tree, cache, library(tmp_path, "loop"))
    assert path.parent == folder
    assert (path / KCONFIG).read_text() == f'#include "{tree / KCONFIG}"\n#include <uapi/linux/bpf.h>\n'
    assert (tree / KCONFIG).read_text() == "/* kconfig.h of tree */\n"  # not through a link
    for name in (packaged.BPF, "include/linux/sched.h", "arch/x86/include/asm/page.h"):
        assert (path / name).read_text() == (tree / name).read_text()
    assert packaged.replace_bpf_header(tree, cache, tmp_path / "libbcc.so.0") == path
    assert [entry.name for entry in folder.iterdir()] == [path.name]


def test_bccs_bpf_h_is_taken_where_the_kernels_lacks_what_it_needs(tmp_path: Path, cache: CacheDir) -> None:
    tree = tree_with_bpf(tmp_path / "tree", "loop")
    assert packaged.replace_bpf_header(tree, cache, library(tmp_path, "loop", "newer")) == tree
    assert packaged.replace_bpf_header(tree, cache, None) == tree  # nobody knows what it needs
    (tree / packaged.BPF).unlink()
    assert packaged.replace_bpf_header(tree, cache, library(tmp_path)) == tree


def test_the_archive_is_unpacked_once(tmp_path: Path, cache: CacheDir) -> None:
    folder = tarfile.TarInfo("./include")
    folder.type = tarfile.DIRTYPE
    path = archive(tmp_path / "k.tar.xz", folder, f"./{KCONFIG}", "./arch/x86/include/asm/page.h")
    actual, cached = packaged.unpack_kheaders(cache, archive=path)
    assert not cached
    assert (actual / KCONFIG).read_text() == "text\n"
    assert packaged.unpack_kheaders(cache, archive=path) == (actual, True)
    assert [entry.name for entry in actual.parent.iterdir()] == [actual.name]


def test_links_in_the_archive_are_left_out(tmp_path: Path, cache: CacheDir) -> None:
    link = tarfile.TarInfo("include/evil")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    actual, _ = packaged.unpack_kheaders(cache, archive=archive(tmp_path / "k.tar.xz", link, KCONFIG))
    assert not (actual / "include/evil").exists()


@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "include/../../evil"])
def test_an_archive_that_reaches_outside_is_refused(tmp_path: Path, cache: CacheDir, name: str) -> None:
    with pytest.raises(HeadersError, match="outside"):
        packaged.unpack_kheaders(cache, archive=archive(tmp_path / "k.tar.xz", KCONFIG, name))
    assert list((cache.path / "headers").iterdir()) == []
    assert not list(tmp_path.rglob("evil"))


def test_an_archive_that_is_missing_damaged_or_empty(tmp_path: Path, cache: CacheDir) -> None:
    path = tmp_path / "k.tar.xz"
    with pytest.raises(HeadersError) as excinfo:
        packaged.unpack_kheaders(cache, archive=path)
    assert "modprobe kheaders" in excinfo.value.hint
    path.write_bytes(archive(tmp_path / "good.tar.xz", KCONFIG).read_bytes()[:100])
    with pytest.raises(HeadersError, match="cannot unpack"):
        packaged.unpack_kheaders(cache, archive=path)
    with pytest.raises(HeadersError, match="holds no"):
        packaged.unpack_kheaders(cache, archive=archive(path, "README"))


def test_missing_headers_name_the_package_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise HeadersError("there is none")

    monkeypatch.setattr(headers, "make_tree", missing)
    monkeypatch.setattr(packaged, "find_package", missing)
    monkeypatch.setattr(packaged, "unpack_kheaders", missing)
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path))
    with pytest.raises(HeadersError, match="no kernel types") as excinfo:
        find_headers("")
    assert excinfo.value.hint == packaged.install_hint()
    assert excinfo.value.detail.count("there is none") == 3
    for source in ("btf", "package", "kheaders"):
        with pytest.raises(HeadersError, match="there is none"):
            find_headers("", prefer=source)
    with pytest.raises(UnknownNameError):
        find_headers("", prefer="floppy")


@pytest.mark.parametrize("unwritable", [True, False])
def test_types_that_cannot_be_written_are_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, unwritable: bool
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise HeadersError("there is none")

    def full(*_: object, **__: object) -> None:
        raise HeadersWriteError("no space left")

    monkeypatch.setattr(headers, "make_tree", full if unwritable else missing)
    monkeypatch.setattr(packaged, "find_package", missing)
    monkeypatch.setattr(packaged, "unpack_kheaders", missing)
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path))
    with pytest.raises(HeadersError, match="no space left" if unwritable else "no kernel types"):
        find_headers("")


def test_sources_are_tried_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise HeadersError("there is none")

    monkeypatch.setattr(headers, "make_tree", missing)
    monkeypatch.setattr(packaged, "find_package", lambda cache: tmp_path)
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path))
    actual = find_headers("")
    assert (actual.source, actual.path, actual.checks) == ("package", tmp_path, ())
    assert "-fms-extensions" in actual.cflags


def test_build_id(tmp_path: Path) -> None:
    def note(name: bytes, kind: int, value: bytes) -> bytes:
        head = b"".join(n.to_bytes(4, __import__("sys").byteorder) for n in (len(name), len(value), kind))
        return head + name.ljust(-(-len(name) // 4) * 4, b"\0") + value.ljust(-(-len(value) // 4) * 4, b"\0")

    path = tmp_path / "notes"
    assert build_id(path) == ""
    path.write_bytes(note(b"Linux\0", 3, b"no") + note(b"GNU\0", 1, b"no") + note(b"GNU\0", 3, b"\xab\xcd"))
    assert build_id(path) == "abcd"
    path.write_bytes(b"short")
    assert build_id(path) == ""


@pytest.mark.parametrize(
    ("release", "version", "signature", "wanted"),
    [
        ("6.18.44-fc", "#1 SMP", "", (6, 18, 44)),
        ("6.1.0-13-amd64", "#1 SMP Debian 6.1.55-1 (2023-09-29)", "", (6, 1, 55)),
        ("5.15.0-84-generic", "#93-Ubuntu SMP", "Ubuntu 5.15.0-84.93-generic 5.15.116\n", (5, 15, 116)),
        ("7.0-rc1", "#1", "", (7, 0, 0)),
    ],
)
def test_kernel_version(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    release: str,
    version: str,
    signature: str,
    wanted: tuple[int],
) -> None:
    system = os.uname_result(("Linux", "host", release, version, "x86_64"))
    monkeypatch.setattr(identity.os, "uname", lambda: system)
    if signature:
        (tmp_path / "signature").write_text(signature)
    assert kernel_version(tmp_path / "signature") == wanted
