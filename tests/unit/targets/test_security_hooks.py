"""Test the look-up of hooks of security modules."""

from __future__ import annotations

import pytest

from pytracer.errors import HeadersError, UnknownNameError, UnsupportedError
from pytracer.kernel.btf import BtfKind
from pytracer.spec import parse_source
from pytracer.targets import find, security_hooks
from support.btf_builder import INT, basic


@pytest.fixture
def types(monkeypatch):
    """Give the kernel these hooks, of which programs are attached to two."""

    def use(*functions):
        builder = basic()
        names = ("file_open", "file_lock", "inode_link")
        builder.struct("security_list_options", 4, *((name, INT, 0) for name in names), union=True)
        for name in functions:
            builder.add(BtfKind.FUNC, name, builder.add(BtfKind.FUNC_PROTO, "", INT))
        btf = builder.btf()
        monkeypatch.setattr(security_hooks.Btf, "load", lambda: btf)

    return use


def test_hooks_are_found_by_name_and_pattern(types):
    types("bpf_lsm_file_open", "bpf_lsm_inode_link", "bpf_lsm_find_cgroup_shim")
    assert [target.name for target in find(parse_source("lsm:file_open")).targets] == ["file_open"]
    found = find(parse_source("lsm:*"))
    assert [target.name for target in found.targets] == ["file_open", "inode_link"]
    assert found.left_out == {security_hooks._NO_FUNCTION: 1}


def test_what_is_no_hook_or_takes_no_program_is_an_error(types, monkeypatch):
    types("bpf_lsm_file_open")
    with pytest.raises(UnknownNameError, match="no hook of security modules 'file_opem'"):
        find(parse_source("lsm:file_opem"))
    with pytest.raises(UnsupportedError, match="lsm:file_lock is a hook to which the kernel attaches no"):
        find(parse_source("lsm:file_lock"))
    types("vfs_read")
    with pytest.raises(UnsupportedError, match="runs no programs as a security module"):
        find(parse_source("lsm:file_open"))

    def load():
        raise HeadersError("no BTF")

    monkeypatch.setattr(security_hooks.Btf, "load", load)
    with pytest.raises(UnsupportedError, match="no BTF"):
        find(parse_source("lsm:file_open"))
