"""Test which unwind tables and regions the kernel is given, without a kernel."""

from __future__ import annotations

import itertools
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pytracer.bpf.load.unwind_maps import NO_TABLE
from pytracer.budget import Budget
from pytracer.symbols import memory_maps
from pytracer.symbols.memory_maps import Mapping, image_of
from pytracer.symbols.unwind.stack import WalkEnd
from pytracer.trace import unwinding
from pytracer.trace.unwinding import TableSupply

PYTHON = os.path.realpath(sys.executable)


class Maps:
    """What the kernel would have."""

    space_limit = 3
    has_room = True

    def __init__(self):
        self.tables, self.spaces, self.pythons, self.dropped = {}, {}, {}, []
        self.parts = {}
        self.numbers = itertools.count()

    def reserve_table(self):
        return next(self.numbers)

    def set_tables(self, tables):
        self.tables |= tables

    def drop_table(self, number):
        self.dropped.append(number)

    def set_parts(self, parts, code):
        self.parts |= dict(zip(parts.tolist(), code.tolist(), strict=True))

    def drop_parts(self, parts):
        assert not set(self.dropped) & {self.parts.pop(part)[1] for part in parts.tolist()}

    def forget_found(self):
        pass

    def set_spaces(self, spaces):
        self.spaces |= spaces

    def set_python(self, image, python):
        self.pythons[image] = python

    def drop_space(self, image):
        del self.spaces[image]

    def count_ends(self):
        ends = np.zeros(16, np.uint64)
        ends[WalkEnd.WHOLE], ends[WalkEnd.FALLBACK] = 20, 3
        return ends


@pytest.fixture
def maps():
    return Maps()


@pytest.fixture
def supply(maps, monkeypatch):
    monkeypatch.setattr(unwinding, "_SWEEP", 1e6)  # on a busy machine a sweep would come due within a test
    return TableSupply(maps)


def account():
    return Budget().account(os.geteuid(), "a test")


def own_mappings():
    return sorted(memory_maps.parse(memory_maps.read(os.getpid())), key=lambda mapping: mapping.start)


def test_each_file_has_one_table_for_all_processes(supply, maps):
    mappings = own_mappings()
    supply.add(os.getpid(), 1, mappings, account())
    supply.add(os.getpid(), 2, mappings, account())
    supply.flush()
    files = {(mapping.device, mapping.inode) for mapping in mappings if mapping.inode}
    assert len(files) <= len(maps.tables) <= len(files) + 1  # and the vDSO
    assert maps.spaces[1].tolist() == maps.spaces[2].tolist()


def test_a_region_leads_from_an_address_to_its_row(supply, maps):
    """A table's rows count from its base, wherever the file is mapped."""
    supply.add(os.getpid(), 1, own_mappings(), account())
    supply.flush()
    for region in maps.spaces[1]:
        if region["table"] == NO_TABLE:
            continue
        rows = maps.tables[int(region["table"])]
        first, last = (int(region[name]) - int(region["bias"]) for name in ("start", "end"))
        assert region["rows"] == len(rows)
        assert first <= last <= 1 << 32
        assert first <= int(rows["start"][-1])


def test_code_without_a_file_has_no_table(supply, maps):
    supply.add(os.getpid(), 1, [Mapping(0x1000, 0x2000, 0, "00:00", 0, "")], account())
    supply.flush()
    assert maps.spaces[1]["table"].tolist() == [NO_TABLE]
    assert not maps.tables


def test_what_did_not_change_is_not_loaded_again(supply, maps):
    mappings = own_mappings()
    supply.add(os.getpid(), 1, mappings, account())
    supply.flush()
    maps.spaces.clear()
    supply.add(os.getpid(), 1, list(mappings), account())
    supply.flush()
    assert not maps.spaces


def test_processes_of_one_image_that_map_other_code_use_no_table_there(supply, maps):
    """Without address space randomisation, runs of a program look alike."""
    own = next(mapping for mapping in own_mappings() if mapping.path == PYTHON)
    anonymous = Mapping(own.start, own.start + 4096, 0, "00:00", 0, "")
    other = Mapping(own.end + 4096, own.end + 8192, 0, "00:00", 0, "")
    supply.add(os.getpid(), 1, [own], account())
    supply.add(2, 1, [anonymous, other], account())
    supply.flush()
    assert maps.spaces[1][["start", "end", "table"]].tolist() == [
        (own.start, own.end, NO_TABLE),
        (other.start, other.end, NO_TABLE),
    ]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the offsets of other versions are not known")
def test_the_interpreter_of_a_process_is_known(supply, maps):
    supply.add(os.getpid(), 1, own_mappings(), account())
    start, end = struct.unpack_from("=QQ", maps.pythons[1], 8)
    [own] = [mapping for mapping in own_mappings() if mapping.start <= start < mapping.end]
    assert end <= own.end


def test_there_is_a_limit_of_processes(supply, maps):
    for image in range(5):
        supply.add(os.getpid(), image, own_mappings(), account())
    supply.flush()
    assert len(maps.spaces) == Maps.space_limit


def test_tables_have_a_limit(supply, maps, monkeypatch):
    monkeypatch.setattr(unwinding, "_ROWS_LIMIT", 1)
    supply.add(os.getpid(), 1, own_mappings(), account())
    supply.flush()
    assert set(maps.spaces[1]["table"].tolist()) == {NO_TABLE}


def test_what_ended_is_removed(maps, monkeypatch):
    """Tables stay for one sweep more, since the program may run again."""
    monkeypatch.setattr(unwinding, "_SWEEP", 0.0)
    supply = TableSupply(maps)
    script = "print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1) as child:
        assert child.stdout.readline() == b"ready\n"
        image = image_of(child.pid)
        supply.add(child.pid, image, own_mappings(), account())
        supply.flush()
        supply.flush()
        assert image in maps.spaces
        child.communicate(b"\n")
    supply.flush()
    assert image not in maps.spaces
    assert not maps.dropped
    supply.flush()
    assert sorted(maps.dropped) == sorted(maps.tables)


def test_a_command_is_loaded_before_it_runs(supply, maps):
    supply.preload([PYTHON], Budget())
    count = len(maps.tables)
    assert count > 1  # the program and a library
    supply.preload([PYTHON], Budget())
    assert len(maps.tables) == count


def part_of(path):
    """Return the part of a file that its first mapping of code is."""
    status, [own] = Path(path).stat(), [mapping for mapping in own_mappings() if mapping.path == path]
    device = os.major(status.st_dev) << 20 | os.minor(status.st_dev)
    return own, (device, status.st_ino, status.st_ctime_ns, own.offset)


def test_the_kernel_finds_a_loaded_file_by_what_it_maps(supply, maps):
    """The bias of its region is the one that user space computes from the process's mappings."""
    supply.preload([PYTHON], Budget())
    own, part = part_of(PYTHON)
    start, table, rows = maps.parts[part]
    assert len(maps.tables[table]) == rows
    supply.add(os.getpid(), 1, [own], account())
    supply.flush()
    [region] = maps.spaces[1]
    assert (int(region["bias"]), int(region["table"])) == ((own.start - start) % 2**64, table)


def test_a_file_that_an_ended_process_had_mapped_is_loaded(supply, maps):
    own, part = part_of(PYTHON)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    supply.add_file(ended.pid, own, Budget())
    supply.add_file(ended.pid, Mapping(0x1000, 0x2000, 0, "00:00", 0, ""), Budget())
    supply.flush()
    assert part in maps.parts
    assert len(maps.tables) == 1


def test_parts_of_a_dropped_table_are_forgotten_before_it(maps, monkeypatch):
    monkeypatch.setattr(unwinding, "_SWEEP", 0.0)
    supply = TableSupply(maps)
    supply.preload([PYTHON], Budget())
    assert maps.parts
    supply.flush()
    assert not maps.parts
    assert sorted(maps.dropped) == sorted(maps.tables)


def test_many_stacks_by_frame_pointers_are_said(supply, maps, monkeypatch):
    assert supply.describe_fallbacks().startswith("3 of 23 stacks of programs were walked by frame pointers")
    monkeypatch.setattr(maps, "count_ends", lambda: np.eye(1, 16, WalkEnd.WHOLE, dtype=np.uint64)[0])
    assert supply.describe_fallbacks() == ""


def test_new_processes_are_looked_for_more_often(supply):
    usual = supply.poll_interval
    supply.add(os.getpid(), 1, [], account())
    early = supply.poll_interval
    supply.preload([PYTHON], Budget())
    assert usual > early > supply.poll_interval
