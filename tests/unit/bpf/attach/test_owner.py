"""Test the names of objects that outlive a process, and sets of links: all or none."""

from __future__ import annotations

import os
import re

import pytest

from pytracer.bpf.attach import owner as owners
from pytracer.bpf.attach.link import Link, attach_each
from pytracer.bpf.attach.owner import encode_short_name, is_dead, is_dead_short, name_owner
from support.hostile_names import hostile_process


@pytest.fixture
def dead_owner() -> str:
    """Return the name that a process had before it exited."""
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(read_fd, 1)
        os._exit(0)
    name = name_owner(child)
    os.write(write_fd, b"x")
    os.waitpid(child, 0)
    os.close(read_fd)
    os.close(write_fd)
    return name


def test_living_owners_are_distinguished_from_dead_ones(dead_owner):
    alive = name_owner(os.getpid())
    assert not is_dead(alive)
    assert not is_dead_short(encode_short_name(alive))
    assert is_dead(dead_owner)
    assert is_dead_short(encode_short_name(dead_owner))


def test_a_name_may_be_any_bytes():
    with hostile_process() as pid:
        assert re.fullmatch(rf"\d+_{pid}_\d+", name_owner(pid))
        assert not is_dead(name_owner(pid))


def test_a_reused_pid_is_another_process():
    namespace, process, mapping_made_at = name_owner(os.getpid()).split("_")
    other = f"{namespace}_{process}_{int(mapping_made_at) + 1}"
    assert is_dead(other)
    assert is_dead_short(encode_short_name(other))


def test_owners_in_another_pid_namespace_are_unknown(dead_owner, monkeypatch):
    monkeypatch.setattr(owners, "_read_pid_namespace", lambda: 1)
    assert not is_dead(dead_owner)
    assert not is_dead_short(encode_short_name(dead_owner))


def test_a_short_name_fits_the_kernels_limit():
    for name in ("0_1_0", "4294967295_4194304_99999999999", name_owner(os.getpid())):
        assert re.fullmatch(r"pt[0-9A-Za-z_.]{13}", encode_short_name(name))
    assert encode_short_name("1_1_1") != encode_short_name("1_1_2") != encode_short_name("1_2_1")


@pytest.mark.parametrize("name", ["", "count", "pt", "ptsomebody_else", "xdp_dispatcher", "pt!0123456789ab"])
def test_other_names_have_no_owner(name):
    assert not is_dead_short(name)


def test_links_are_all_made_or_none():
    new_links: list[Link] = []

    def attach(index: int, name: str) -> list[Link]:
        if name == "bad":
            raise OSError(16, "busy")
        new_links.append(Link(os.open("/dev/null", os.O_RDONLY), place=name))
        return new_links[-1:]

    links = attach_each({1: "lo", 2: "eth0"}, attach)
    assert [link.place for link in links] == ["lo", "eth0"]
    for link in links:
        link.close()
    new_links.clear()
    with pytest.raises(OSError, match="busy"):
        attach_each({1: "lo", 2: "bad"}, attach)
    assert [link.fd for link in new_links] == [-1]
