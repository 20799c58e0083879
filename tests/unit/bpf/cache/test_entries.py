"""Test ``pytracer cache``: it lists and removes entries, and touches nothing else."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path

import pytest

from pytracer.bpf.cache.directory import CacheDir
from pytracer.bpf.cache.entries import clear, list_entries
from pytracer.bpf.image import Image
from pytracer.cli.main import main
from pytracer.errors import CacheError

DIGEST = "0123456789abcdef" * 2
DAY = 86400


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CacheDir:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(folder))
    return CacheDir(folder)


@pytest.fixture
def outside_folder(tmp_path: Path) -> Path:
    """Create a folder outside the cache, with a file of 1000 bytes."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_bytes(bytes(1000))
    return folder


def put_image(cache: CacheDir, name: str = "syscalls.c", *, kernel: str = "6.99.0-test") -> Path:
    path = cache.folder("images") / f"{name}-{DIGEST}.image"
    path.write_bytes(Image("key", kernel, ("/lib/libbcc 1 1",), (), ()).encode())
    path.chmod(0o600)
    return path


def put_tree(cache: CacheDir, name: str, file: str, text: str) -> Path:
    path = cache.folder("headers") / name
    path.mkdir(mode=0o700)
    (path / file).parent.mkdir(parents=True, exist_ok=True)
    (path / file).write_text(text)
    return path


def fill(cache: CacheDir) -> list[Path]:
    """Return an image and a tree of each source."""
    release = '#define UTS_RELEASE "6.99.2-test"\n'
    return [
        put_image(cache),
        put_tree(cache, DIGEST, "origin", "6.99.1-test"),
        put_tree(cache, f"package-{DIGEST}", "include/generated/utsrelease.h", release),
        put_tree(cache, f"kheaders-{DIGEST}", "include/linux/kconfig.h", ""),
    ]


def test_everything_is_listed_with_its_kernel_and_size(cache: CacheDir) -> None:
    image, btf, package, kheaders = fill(cache)
    then = time.time() - 10 * DAY
    os.utime(image, (then, then))
    actual = {entry.path: entry for entry in list_entries(cache)}
    assert list(actual) == [image, btf, kheaders, package]
    actual_entries = {path: (entry.kind, entry.name, entry.kernel) for path, entry in actual.items()}
    assert actual_entries == {
        image: ("image", "syscalls", "6.99.0-test"),
        btf: ("headers", "btf", "6.99.1-test"),
        package: ("headers", "package", "6.99.2-test"),
        kheaders: ("headers", "kheaders", ""),
    }
    assert actual[image].size == image.stat().st_size
    assert actual[btf].size == (btf / "origin").stat().st_size
    assert actual[image].used == pytest.approx(then)


def test_a_damaged_image_is_listed_too(cache: CacheDir) -> None:
    path = put_image(cache)
    path.write_bytes(b"rubbish")
    (entry,) = list_entries(cache)
    assert (entry.kernel, entry.size) == ("", 7)


def test_an_empty_cache(cache: CacheDir) -> None:
    assert list(list_entries(cache)) == []
    assert clear(cache) == []
    assert list(cache.path.iterdir()) == []


def test_clear_removes_listed_and_incomplete_entries(cache: CacheDir) -> None:
    created = fill(cache)
    for folder in ("images", "headers"):
        for name, age in ((".new-dead", 2), (".new-alive", 0)):
            path = cache.path / folder / name
            path.mkdir()
            os.utime(path, (time.time() - age * DAY,) * 2)
    assert {entry.path for entry in clear(cache)} == set(created)
    assert not any(path.exists() for path in created)
    remaining = sorted(str(path.relative_to(cache.path)) for path in cache.path.rglob("*"))
    assert remaining == ["headers", "headers/.new-alive", "images", "images/.new-alive"]
    assert clear(cache) == []


def test_an_entry_that_cannot_be_removed_does_not_stop_others(
    cache: CacheDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = fill(cache)
    unremovable = {path for path in created if path.is_file()}
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self in unremovable:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(CacheError, match=f"^cannot remove .*: {os.strerror(errno.EPERM)}$") as excinfo:
        clear(cache)
    assert excinfo.value.hint == "all else is dropped"
    assert {path for path in created if path.exists()} == unremovable


def test_foreign_files_stay(cache: CacheDir) -> None:
    """The user may have other files in the folder."""
    fill(cache)
    names = ["images/holiday.jpg", "images/notes.image", "headers/letter.txt", "headers/mine/linux/sched.h"]
    for name in [*names, f"headers/{'g' * 32}/x", f"images/x-{DIGEST}.image/y", "other/file"]:
        (cache.path / name).parent.mkdir(parents=True, exist_ok=True)
        (cache.path / name).write_text("mine")
    (cache.path / "headers" / ("f" * 32)).write_text("a file, no folder")
    before = {path for path in cache.path.rglob("*") if path.is_file()}
    removed = {path for entry in clear(cache) for path in before if path.is_relative_to(entry.path)}
    assert len(removed) == 4
    assert {path for path in cache.path.rglob("*") if path.is_file()} == before - removed


def test_links_are_not_followed(cache: CacheDir, outside_folder: Path) -> None:
    """Neither links in place of an image or a tree, nor links inside a tree."""
    tree = put_tree(cache, f"package-{DIGEST}", "include/linux/kconfig.h", "")
    (tree / "arch").symlink_to(outside_folder)
    (tree / "include" / "file.h").symlink_to(outside_folder / "precious")
    (cache.path / "headers" / ("a" * 32)).symlink_to(outside_folder)
    (cache.folder("images") / f"x.c-{DIGEST}.image").symlink_to(outside_folder / "precious")
    assert [entry.path for entry in list_entries(cache)] == [tree]
    assert next(list_entries(cache)).size < 1000
    assert [entry.path for entry in clear(cache)] == [tree]
    assert not tree.exists()
    assert (outside_folder / "precious").stat().st_size == 1000


def test_an_incomplete_link_is_removed_and_its_target_stays(cache: CacheDir, outside_folder: Path) -> None:
    link = cache.folder("images") / ".new-link"
    link.symlink_to(outside_folder)
    os.utime(link, (1, 1), follow_symlinks=False)
    clear(cache)
    assert not link.is_symlink()
    assert (outside_folder / "precious").exists()


@pytest.mark.parametrize("folder", ["images", "headers"])
def test_a_folder_that_is_a_link_is_not_touched(cache: CacheDir, outside_folder: Path, folder: str) -> None:
    outside_folder.chmod(0o700)
    (outside_folder / f"x.c-{DIGEST}.image").write_text("precious, too")
    (outside_folder / DIGEST).mkdir()
    (cache.path / folder).symlink_to(outside_folder)
    for look in (lambda: list(list_entries(cache)), lambda: clear(cache)):
        with pytest.raises(CacheError, match="is not a folder") as excinfo:
            look()
        assert str(cache.path / folder) in excinfo.value.hint
    assert sorted(path.name for path in outside_folder.iterdir()) == sorted(
        ["precious", DIGEST, f"x.c-{DIGEST}.image"]
    )


def test_a_folder_that_others_can_write_in_is_not_touched(cache: CacheDir) -> None:
    path = put_image(cache)
    path.parent.chmod(0o770)
    with pytest.raises(CacheError, match="can be written by others"):
        clear(cache)
    assert path.exists()


def test_the_table(cache: CacheDir, capsys: pytest.CaptureFixture[str]) -> None:
    fill(cache)
    assert main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["KIND", "NAME", "KERNEL", "SIZE", "LAST", "USED"]
    today = time.strftime("%Y-%m-%d")
    image = (cache.path / "images").glob("*")
    assert lines[1].split() == [
        "image",
        "syscalls",
        "6.99.0-test",
        str(next(image).stat().st_size),
        "B",
        today,
    ]
    size = lines[-1].split(", ")[3].split(" in")[0]
    assert lines[-1] == f"1 image, 3 folders of types, 0 unwind tables, {size} in {cache.path}"
    assert all(len(line) <= 80 for line in lines[:-1])


def test_names_are_harmless_to_a_terminal(cache: CacheDir, capsys: pytest.CaptureFixture[str]) -> None:
    put_image(cache, "a\x1b]0;b\x07.c", kernel="6\x1b[31m")
    main(["cache", "list"])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "a\\x1b]0;b\\x07" in out


def test_json(cache: CacheDir, capsys: pytest.CaptureFixture[str]) -> None:
    created = fill(cache)
    assert main(["cache", "-f", "json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records[0] == {
        "kind": "image",
        "name": "syscalls",
        "kernel": "6.99.0-test",
        "size": created[0].stat().st_size,
        "used": time.strftime("%Y-%m-%d"),
        "path": str(created[0]),
    }
    total = sum(record["size"] for record in records[:-1])
    counts = {"images": 1, "headers": 3, "unwind": 0, "size": total}
    assert records[-1] == {"kind": "total", **counts, "path": str(cache.path)}

    assert main(["cache", "clear", "-f", "json"]) == 0
    (cleared,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert cleared == records[-1] | {"kind": "cleared"}
    assert not any(path.exists() for path in created)


def test_unknown_words_are_refused(cache: CacheDir, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["cache", "purge"], ["cache", "clear", "now"], ["cache", "-f", "xml"]):
        assert main(words) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("pytracer: error: ")
        assert lines[1:] == ["hint: pytracer cache --help"]


def test_an_error_is_one_line_and_a_hint(cache: CacheDir, capsys: pytest.CaptureFixture[str]) -> None:
    put_image(cache).parent.chmod(0o770)
    assert main(["cache", "clear"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["pytracer", "hint"]
