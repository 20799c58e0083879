"""Test the cache folder: its path, and when it is not trusted."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytracer.bpf.cache import directory
from pytracer.bpf.cache.directory import CacheDir, cache_dir, explain_distrust, read_trusted
from pytracer.errors import CacheError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a home folder, without a variable that names another place."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    monkeypatch.delenv("PYTRACER_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    entry = SimpleNamespace(pw_dir=str(folder), pw_name="me")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: entry)
    return folder


@pytest.fixture(autouse=True)
def no_temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(directory, "_temporary", None)
    yield
    if directory._temporary is not None:
        directory._remove(directory._temporary, os.getpid())


def test_the_home_of_the_effective_user_is_used_not_the_variable(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    actual = cache_dir()
    assert actual == CacheDir(home / ".cache" / "pytracer")
    assert actual.path.stat().st_mode & 0o777 == 0o700
    assert cache_dir() == actual


def test_xdg_cache_home_has_priority(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir().path == tmp_path / "xdg" / "pytracer"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_dir().path == home / ".cache" / "pytracer"


def test_a_requested_folder_has_priority(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path / "mine"))
    assert cache_dir() == CacheDir(tmp_path / "mine")


def test_a_requested_folder_must_work(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "file").touch()
    for name, reason in (("open", "written by others"), ("file", "not a folder"), ("a/b/c", "cannot make")):
        monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path / name))
        with pytest.raises(CacheError, match=reason) as excinfo:
            cache_dir()
        assert excinfo.value.hint


def test_a_folder_that_others_can_write_is_skipped_with_a_note(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "xdg"
    bad.mkdir()
    bad.chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(bad))
    assert cache_dir().path == home / ".cache" / "pytracer"
    home.chmod(0o770)
    actual = cache_dir()
    assert f"{home} can be written by others" in actual.note
    assert "\n" not in actual.note
    assert actual.path.stat().st_mode & 0o777 == 0o700
    assert cache_dir().path == actual.path
    assert not explain_distrust(actual.path)


@pytest.mark.parametrize("requested", [True, False])
def test_a_read_only_folder_is_used(home: Path, monkeypatch: pytest.MonkeyPatch, requested: bool) -> None:
    first = cache_dir()
    if requested:
        monkeypatch.setenv("PYTRACER_CACHE_DIR", str(first.path))
    first.write("some", b"data")
    monkeypatch.setattr(directory, "_is_writable", lambda folder: not folder.is_relative_to(first.path))
    actual = cache_dir()
    assert actual.path == first.path
    assert actual.note == f"cannot write in {first.path}: nothing new is cached for the next start"
    assert actual.read("some") == b"data"
    assert not actual.work_folder("headers").is_relative_to(first.path)


def test_an_unwritable_cache_directory_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.rmdir()
    monkeypatch.setattr(directory, "_temporary", None)

    def read_only(**_: object) -> str:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkdtemp", read_only)
    with pytest.raises(CacheError, match="neither the cache nor a temporary one") as excinfo:
        cache_dir()
    assert "TMPDIR" in excinfo.value.hint


@pytest.mark.parametrize("obstacle", ["file", "fifo", "folder"])
def test_a_wrong_kind_of_file_does_not_stop_a_start(tmp_path: Path, obstacle: str) -> None:
    tmp_path.chmod(0o700)
    cache = CacheDir(tmp_path)
    for name in ("images", "some"):
        path = tmp_path / name
        {"file": path.touch, "fifo": lambda path=path: os.mkfifo(path), "folder": path.mkdir}[obstacle]()
    cache.write("some", b"data")
    assert (tmp_path / "some").read_bytes() == b"data"
    actual = cache.work_folder("images")
    assert actual.is_dir()


def test_a_home_that_is_not_there_is_not_made(home: Path) -> None:
    home.rmdir()
    assert cache_dir().note
    assert not home.exists()


def test_a_user_without_an_entry_gets_a_temporary_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert "no home" in cache_dir().note


def test_the_temporary_folder_is_removed_at_exit(tmp_path: Path) -> None:
    code = """
import os, pwd, types
pwd.getpwuid = lambda uid: types.SimpleNamespace(pw_dir="/nonexistent", pw_name="x")
from pytracer.bpf.cache.directory import cache_dir
path = cache_dir().path
print(path, flush=True)
if os.fork() == 0:
    raise SystemExit
os.wait()
assert path.is_dir()
"""
    environment = {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    folder = Path(result.stdout.strip())
    assert folder.parent == tmp_path
    assert not folder.exists()


def test_ancestors_must_be_trusted_too(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True, mode=0o755)
    assert explain_distrust(folder) == ""
    folder.parent.chmod(0o775)
    assert "can be written by others" in explain_distrust(folder)
    # As /tmp is: nobody can rename what is not theirs.
    folder.parent.chmod(0o1777)
    assert explain_distrust(folder) == ""
    folder.chmod(0o1777)
    assert "can be written by others" in explain_distrust(folder)


def test_a_link_is_not_followed_when_judged(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert "not a folder" in explain_distrust(tmp_path / "link")


def test_a_cache_reached_by_a_link_is_known_by_its_real_name(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path / "link" / "cache"))
    assert cache_dir().path == tmp_path / "real" / "cache"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_is_not_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "theirs" / "mine"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"x")
    os.chown(folder / "file", 12345, 12345)
    assert read_trusted(folder / "file") is None
    os.chown(folder.parent, 12345, 12345)
    assert "belongs to uid 12345" in explain_distrust(folder)


def test_files_are_read_only_if_they_can_be_trusted(tmp_path: Path) -> None:
    cache = CacheDir(tmp_path)
    assert cache.read("file") is None
    cache.write("file", b"one")
    cache.write("file", b"two")
    assert cache.read("file") == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    assert cache.read("folder") is None
    assert cache.read("link") is None
    assert cache.read("pipe") is None
    (tmp_path / "file").chmod(0o620)
    assert cache.read("file") is None


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        CacheDir(tmp_path).write("some", b"data")
    assert not list(tmp_path.iterdir())


def test_a_folder_inside_must_be_trusted_too(tmp_path: Path) -> None:
    cache = CacheDir(tmp_path)
    assert cache.folder("images") == tmp_path / "images"
    (tmp_path / "images").chmod(0o777)
    with pytest.raises(CacheError, match="written by others"):
        cache.folder("images")
    (tmp_path / "plain").touch()
    with pytest.raises(CacheError, match="plain"):
        cache.folder("plain")
