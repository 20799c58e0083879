"""Test the file that caches the answers of the kernel's BTF."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytracer.bpf.cache import entries, type_answers
from pytracer.bpf.cache.directory import cache_dir
from pytracer.kernel import btf, running_types

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root keeps answers")


class Types:
    """BTF that records the questions of a run."""

    def __init__(self, answers: dict[str, int]) -> None:
        self.answers = answers
        self.has_new = True


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """A cache, and a kernel with a BTF."""
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(btf, "VMLINUX", tmp_path / "vmlinux")
    (tmp_path / "vmlinux").write_bytes(b"0123")
    return tmp_path / "cache"


def keep(monkeypatch, answers: dict[str, int]) -> Types:
    types = Types(answers)
    monkeypatch.setattr(running_types, "_types", types)
    type_answers.keep()
    return types


ANSWERS = {"FUNC vfs_read": 4711, "FUNC none": 0, "argument words 4711": 4}


def test_answers_are_kept_for_the_next_run(cache, monkeypatch):
    assert type_answers.recall() == {}
    types = keep(monkeypatch, ANSWERS)
    assert not types.has_new
    assert type_answers.recall() == ANSWERS
    [file] = (cache / "types").iterdir()
    file.unlink()
    type_answers.keep()  # nothing is new
    assert type_answers.recall() == {}


def test_answers_are_of_one_kernel_and_one_version_of_the_code(cache, monkeypatch):
    keep(monkeypatch, ANSWERS)
    monkeypatch.setattr(type_answers, "kernel_identity", lambda _: "another build")
    assert type_answers.recall() == {}
    monkeypatch.undo()
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(cache))
    monkeypatch.setattr(btf, "VMLINUX", cache.parent / "vmlinux")
    assert type_answers.recall() == ANSWERS
    monkeypatch.setattr(type_answers, "file_identity", lambda path: f"{path} is newer")
    assert type_answers.recall() == {}


def test_a_btf_of_another_size_is_another(cache, monkeypatch):
    keep(monkeypatch, ANSWERS)
    btf.VMLINUX.write_bytes(b"01234")
    assert type_answers.recall() == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[: data.rindex(b"\n", 0, -1) + 1],  # a line is missing
        lambda data: data + b"FUNC vfs_write 1\n",
        lambda data: data.replace(b"4711\n", b"many\n"),
        lambda data: data.replace(b" ", b"  ", 1),
        lambda data: b"\xff" + data,
        lambda _: b"",
    ],
)
def test_a_damaged_file_is_not_used(cache, monkeypatch, change):
    keep(monkeypatch, ANSWERS)
    [file] = (cache / "types").iterdir()
    file.write_bytes(change(file.read_bytes()))
    assert type_answers.recall() == {}


@pytest.mark.parametrize("name", ["types", "types/*"])
def test_files_that_others_can_write_are_not_used(cache, monkeypatch, name):
    keep(monkeypatch, ANSWERS)
    [path] = cache.glob(name)
    path.chmod(path.stat().st_mode | 0o022)
    assert type_answers.recall() == {}


def test_the_answers_to_a_pattern_are_not_kept(cache, monkeypatch):
    keep(monkeypatch, {f"FUNC function_{number}": number for number in range(5000)})
    assert not (cache / "types").exists()
    monkeypatch.setattr(running_types, "_types", None)
    type_answers.keep()
    assert not (cache / "types").exists()


def test_the_cache_command_lists_and_removes_them(cache, monkeypatch):
    keep(monkeypatch, ANSWERS)
    [entry] = entries.clear(cache_dir())
    assert (entry.kind, entry.kernel) == ("types", os.uname().release)
    assert type_answers.recall() == {}
