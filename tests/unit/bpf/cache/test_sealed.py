"""Test folders of the cache: complete, or made again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pytracer.bpf.cache import sealed
from pytracer.bpf.cache.sealed import is_intact, publish
from pytracer.errors import HeadersError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(
        sealed, "explain_distrust", lambda _: ""
    )  # of /tmp, that depends on who runs the test
    return tmp_path / "headers"


def fill(new: Path) -> None:
    (new / "include/linux").mkdir(parents=True)
    (new / "include/linux/kconfig.h").write_text("struct task_struct;")
    (new / "include/linux/types.h").touch()
    (new / "include/asm").symlink_to("linux")


def empty(path: Path) -> None:
    (path / "include/linux/kconfig.h").write_text("")


def change(path: Path) -> None:
    (path / "include/linux/kconfig.h").write_text("struct task_struct:")


def remove(path: Path) -> None:
    (path / "include/linux/types.h").unlink()


def add(path: Path) -> None:
    (path / "include/linux/sched.h").touch()


def put_a_folder(path: Path) -> None:
    remove(path)
    (path / "include/linux/types.h").mkdir()


def put_a_fifo(path: Path) -> None:
    remove(path)
    os.mkfifo(path / "include/linux/types.h")


def put_a_fifo_for_what_has_contents(path: Path) -> None:
    (path / "include/linux/kconfig.h").unlink()
    os.mkfifo(path / "include/linux/kconfig.h")


def put_a_link(path: Path) -> None:
    (path / "include/linux/kconfig.h").rename(path.parent / "elsewhere")
    (path / "include/linux/kconfig.h").symlink_to(path.parent / "elsewhere")


def turn_a_link(path: Path) -> None:
    (path / "include/asm").unlink()
    (path / "include/asm").symlink_to("../../x")


def cut_the_list(path: Path) -> None:
    text = (path / sealed.LIST).read_bytes()
    (path / sealed.LIST).write_bytes(text[:-10])


def make_the_list_a_fifo(path: Path) -> None:
    (path / sealed.LIST).unlink()
    os.mkfifo(path / sealed.LIST)


def be_a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("something")


def be_a_fifo(path: Path) -> None:
    shutil.rmtree(path)
    os.mkfifo(path)


def be_empty(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        empty,
        change,
        remove,
        add,
        put_a_folder,
        put_a_fifo,
        put_a_fifo_for_what_has_contents,
        put_a_link,
        turn_a_link,
        cut_the_list,
        make_the_list_a_fifo,
        be_a_file,
        be_a_fifo,
        be_empty,
    ],
)
def test_damaged_folders_are_made_again(path: Path, damage: Callable[[Path], None]) -> None:
    publish(path, fill)
    assert is_intact(path)
    damage(path)
    assert not is_intact(path)
    publish(path, fill)
    assert is_intact(path)
    assert (path / "include/linux/kconfig.h").read_text() == "struct task_struct;"
    assert [entry.name for entry in path.parent.iterdir() if entry.name != "elsewhere"] == ["headers"]


def test_a_second_writer_leaves_the_first_ones_folder(path: Path) -> None:
    publish(path, fill)
    number = path.stat().st_ino
    publish(path, fill)
    assert path.stat().st_ino == number


def test_an_interrupted_write_leaves_nothing(path: Path) -> None:
    def interrupted(new: Path) -> None:
        fill(new)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(path, interrupted)
    assert not list(path.parent.iterdir())


def test_all_is_on_the_disk_before_it_has_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = list[str]()
    rename, fsync = Path.rename, os.fsync

    def named(self: Path, to: Path) -> Path:
        result.append("name")
        return rename(self, to)

    def flushed(descriptor: int) -> None:
        result.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(Path, "rename", named)
    monkeypatch.setattr(os, "fsync", flushed)
    publish(path, fill)
    index = result.index("name")
    assert {"kconfig.h", sealed.LIST, "linux", "include"} <= set(result[:index])
    assert result[index + 1 :] == [path.parent.name]


def test_large_trees_are_compared_by_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The headers of a kernel's archive are 60 MB."""
    monkeypatch.setattr(sealed, "_DIGESTED", 4)
    publish(path, fill)
    assert is_intact(path)
    change(path)
    assert is_intact(path)
    empty(path)
    assert not is_intact(path)


def test_a_folder_that_cannot_be_written_is_an_error(path: Path) -> None:
    with pytest.raises(HeadersError, match="cannot put kernel types"):
        publish(path.parent / "none" / "headers", fill)
