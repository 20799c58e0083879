"""Test that the kernel's BTF is read only for questions without a cached answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytracer.errors import HeadersError
from pytracer.kernel import running_types
from pytracer.kernel.btf import Btf, BtfKind
from pytracer.kernel.running_types import RunningTypes
from support.btf_builder import INT, basic


@pytest.fixture
def reads(monkeypatch, tmp_path) -> list[Btf]:
    """Replace the kernel's BTF with one of a struct and a function; the list records each read."""
    b = basic()
    pair = b.struct("pair", 8, ("first", INT, 0))
    b.add(BtfKind.FUNC, "pair", b.add(BtfKind.FUNC_PROTO, "", INT))
    data, done = b.btf(), list[Btf]()
    assert data.find(BtfKind.STRUCT, "pair") == pair

    def load() -> Btf:
        done.append(data)
        return data

    (tmp_path / "vmlinux").write_bytes(b"")
    monkeypatch.setattr(Btf, "load", load)
    monkeypatch.setattr(running_types, "VMLINUX", tmp_path / "vmlinux")
    return done


def test_without_answers_the_types_are_read_at_once(reads):
    types = RunningTypes({})
    assert len(reads) == 1
    assert types.find(BtfKind.FUNC, "none") is None
    assert types.find(BtfKind.STRUCT, "pair") != types.find(BtfKind.FUNC, "pair")
    assert len(types) == len(reads[0])
    assert len(reads) == 1


def test_with_answers_they_are_read_for_a_new_question(reads):
    first = RunningTypes({})
    kinds = (BtfKind.FUNC, BtfKind.STRUCT)
    type_ids = [first.find(kind, name) for kind in kinds for name in ("pair", "none")]
    words = first.remember("words", lambda: 7)
    assert first.has_new
    second = RunningTypes(dict(first.answers))
    assert [second.find(kind, name) for kind in kinds for name in ("pair", "none")] == type_ids
    assert second.remember("words", lambda: 8) == words
    assert len(reads) == 1
    assert not second.has_new
    assert second.find(BtfKind.FUNC, "other") is None
    assert len(reads) == 2
    assert second.has_new
    assert [member.name for member in second.members(type_ids[2])] == ["first"]
    assert second.find_all(kinds, "pair") == first.find_all(kinds, "pair")
    assert len(reads) == 2


@pytest.mark.parametrize("name", ["two words", "line\nSTRUCT pair 1", "", "(anon)"])
def test_only_names_of_c_are_remembered(reads, name):
    types = RunningTypes({})
    assert types.find(BtfKind.FUNC, name) is None
    assert list(types.answers) == ["number of types"]


def test_types_that_cannot_be_read_are_not_there(reads, monkeypatch):
    monkeypatch.setattr(running_types, "VMLINUX", Path("/nonexistent/vmlinux"))
    with pytest.raises(HeadersError):
        RunningTypes({"FUNC pair 1": 5})


def test_a_missing_attribute_is_missing(reads):
    with pytest.raises(AttributeError):
        _ = RunningTypes({"FUNC pair": 5}).nothing
