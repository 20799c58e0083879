"""Test mappings over time: changes as the kernel records them, and memory maps read now and then."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pytracer.symbols import history
from pytracer.symbols.history import MappingChanges, MappingReadings, Span, add_interval
from pytracer.symbols.memory_maps import Mapping
from pytracer.symbols.user import ASTRAY, UNKNOWN, UNLOADED, UserSymbols
from support.elf_builder import Symbol, build

PID, IMAGE, PARENT = 2**22 + 1, 7, 2**22 + 2  # no process has these
START, END = 0x7F0000001000, 0x7F0000003000
INNER = START + 0x10


def mapping(name, start=START, end=END, inode=5):
    return Mapping(start, end, 0, "fe:01", inode, f"/{name}")


A, B = mapping("a", inode=5), mapping("b", inode=6)


def test_a_change_ends_one_span_and_begins_another():
    changes = MappingChanges()
    changes.add(START, END, 10)
    changes.add(START + 0x1000, END, 20)
    changes.add(END, END + 0x1000, 15)
    assert changes.span(INNER, 9, [])[:3] == (0, 10, True)
    assert changes.span(INNER, 10, [])[:3] == (10, 1 << 64, True)
    assert changes.span(START + 0x1000, 10, [])[:3] == (10, 20, True)
    assert changes.span(END, 30, [])[:3] == (15, 1 << 64, True)
    assert changes.span(START - 1, 30, [])[:3] == (0, 1 << 64, True)


def test_a_change_at_an_unknown_address_ends_all_spans():
    changes = MappingChanges()
    changes.add_everywhere(10)
    assert changes.span(INNER, 5, [7, 8])[:3] == (0, 7, True)
    assert changes.span(INNER, 7, [7, 9])[:3] == (7, 9, False)
    assert changes.span(INNER, 8, [7, 9])[:3] == (7, 9, False)
    assert changes.span(INNER, 9, [7, 9])[:3] == (9, 10, True)
    assert changes.span(INNER, 12, [7, 8])[:3] == (10, 1 << 64, True)


@pytest.mark.parametrize(
    ("gaps", "breaks"),
    [
        ([(5, 9), (1, 3)], [1, 3, 5, 9]),
        ([(5, 9), (7, 12)], [5, 12]),
        ([(5, 9), (6, 7)], [5, 9]),
        ([(6, 7), (5, 9)], [5, 9]),
        ([(1, 3), (5, 9), (2, 6)], [1, 9]),
        ([(1, 3), (3, 4)], [1, 4]),
        ([(1, 3), (1, 3)], [1, 3]),
    ],
)
def test_times_in_which_anything_may_have_changed_are_put_together(symbols, gaps, breaks):
    for gap in gaps:
        symbols.add_break(*gap)
    assert symbols._breaks == breaks


def test_a_change_that_raised_no_generation_may_be_before_or_after_a_sample():
    changes = MappingChanges()
    changes.add(START, END, 10)
    changes.mark_unseen(10)
    assert not changes.span(INNER, 9, []).known
    assert changes.span(INNER, 10, []).known


def test_an_unknown_generation_has_the_unchanged_mappings():
    changes = MappingChanges()
    changes.add(START, END, 10)
    assert not changes.span(INNER, 0, []).known
    assert changes.span(END, 0, []).known


def test_old_changes_are_forgotten_and_reported_so(monkeypatch):
    monkeypatch.setattr(history, "_TIMES", 4)
    changes = MappingChanges()
    for time in range(10, 60, 10):
        changes.add(START, END, time)
    assert not changes.span(INNER, 15, []).known
    assert changes.span(INNER, 45, [])[:3] == (40, 50, True)


def test_too_many_ranges_are_widened(monkeypatch):
    monkeypatch.setattr(history, "_RANGES", 1)
    changes = MappingChanges()
    changes.add(0x1000, 0x2000, 10)
    changes.add(START, END, 20)
    assert changes.span(START + (1 << 25), 30, []).begin == 20
    assert changes.span(0x1000, 30, []).begin == 10


def test_a_reading_answers_within_a_span_alone():
    readings = MappingReadings()
    readings.add(10, 12, 0, [(A, None)])
    readings.add(20, 22, 0, None)
    readings.add(30, 32, 0, [])
    readings.add(40, 42, 0, [(B, None)])

    def names_at(begin, end, *times):
        return [actual.path for actual, _ in readings.at(INNER, Span(begin, end, True, times), 0)]

    assert names_at(0, 15) == ["/a"]
    assert names_at(0, 12) == []  # it may have been read after the change
    assert names_at(11, 20) == []
    assert names_at(13, 25) == ["/a"]
    assert names_at(25, 35) == []
    assert names_at(35, 1 << 64) == ["/b"]
    assert sorted(names_at(0, 1 << 64)) == ["/a", "/b"]
    assert readings.latest(INNER)[0] == B
    assert names_at(13, 25, 9, 13) == ["/a"]
    assert names_at(13, 25, 11, 13) == []  # the file was looked for while another took that place


def test_readings_of_one_generation():
    readings = MappingReadings()
    for number, actual in enumerate((A, B, A)):
        readings.add(10 * number, 10 * number + 1, number + 1, [(actual, None)])
    everything = Span(0, 1 << 64, known=True)
    assert readings.at(INNER, everything, 2) == [(B, None)]
    assert readings.at(INNER, everything, 9) == []


@pytest.fixture
def symbols(tmp_path):
    """Use files with one function each; :func:`mapped` maps them."""
    symbols = UserSymbols()
    symbols.blind = False
    symbols.folder = tmp_path
    yield symbols
    symbols.close()


def map_file(symbols, name, start=START):
    """Return the mapping of a file with a function of that name."""
    path = symbols.folder / name
    path.write_bytes(build([Symbol(name.encode(), 0x401000, 0x100)]))
    status = path.stat()
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    return Mapping(start, start + 0x2000, 0, device, status.st_ino, str(path))


def name(symbols, generation, pid=PID, image=IMAGE, address=START + 0x1010):
    [label] = symbols.names(pid, image, generation, np.array([address], np.uint64))
    return label


def test_a_sample_has_the_name_of_its_time(symbols):
    assert symbols.add_mapped(PID, map_file(symbols, "alpha"), 10)
    assert symbols.add_mapped(PID, map_file(symbols, "beta"), 20)
    assert [name(symbols, time) for time in (9, 10, 19, 20, 99)] == [
        UNLOADED, "alpha", "alpha", "beta", "beta",
    ]  # fmt: skip
    assert name(symbols, 15, address=END) == UNKNOWN  # no exec was seen, nor a map read
    symbols.mark_unseen(PID, 20)
    assert [name(symbols, time) for time in (15, 20)] == [UNLOADED, "beta"]


def test_another_file_of_that_name_is_not_the_mapped_file(symbols):
    was = map_file(symbols, "alpha")
    Path(was.path).rename(was.path + ".old")
    map_file(symbols, "alpha")
    assert not symbols.add_mapped(PID, was, 10)
    assert name(symbols, 10) == UNLOADED


def test_after_losses_nothing_older_counts(symbols):
    symbols.add_mapped(PID, map_file(symbols, "alpha"), 10)
    symbols.add_break(20, 30)
    assert [name(symbols, time) for time in (10, 19, 20, 29, 30)] == ["alpha", "alpha", *[UNLOADED] * 3]


def test_while_code_is_moved_nothing_is_known(symbols):
    """Another process is not affected."""
    for pid in (PID, PARENT):
        symbols.add_mapped(pid, map_file(symbols, "alpha"), 10)
    symbols.add_move(PID, 20, 30)
    assert [name(symbols, time) for time in (10, 19, 20, 29, 30)] == ["alpha", "alpha", *[UNLOADED] * 3]
    assert [name(symbols, time, PARENT) for time in (10, 29, 30)] == ["alpha"] * 3
    symbols.add_mapped(PID, map_file(symbols, "beta"), 40)
    assert name(symbols, 40) == "beta"


def test_overlapping_intervals_are_one():
    ends = []
    for interval in [(20, 30), (50, 60), (25, 40), (10, 12), (12, 20)]:
        add_interval(ends, *interval)
    assert ends == [10, 40, 50, 60]


def test_an_executed_program_has_nothing_of_the_one_before(symbols):
    symbols.add_mapped(PID, map_file(symbols, "alpha"), 10)
    symbols.add_exec(PID, 20)
    assert name(symbols, 15) == "alpha"
    assert name(symbols, 25) == UNLOADED
    assert name(symbols, 25, address=END) == ASTRAY
    symbols.add_mapped(PID, map_file(symbols, "beta"), 30)
    assert name(symbols, 30) == "beta"


def test_a_child_has_the_parents_mappings_at_the_fork(symbols):
    symbols.add_mapped(PARENT, map_file(symbols, "alpha"), 10)
    symbols.add_fork(PID, PARENT, 20)
    symbols.add_mapped(PARENT, map_file(symbols, "beta"), 30)
    assert [name(symbols, time) for time in (20, 40)] == ["alpha", "alpha"]
    symbols.add_mapped(PID, map_file(symbols, "gamma"), 50)
    assert [name(symbols, time) for time in (40, 50)] == ["alpha", "gamma"]
    symbols.add_fork(PID, PARENT, 60)  # the id is another's by now
    assert [name(symbols, time) for time in (55, 65)] == ["gamma", "beta"]


def test_children_of_children(symbols):
    symbols.add_mapped(PARENT, map_file(symbols, "alpha"), 10)
    symbols.add_fork(PID, PARENT, 20)
    symbols.add_fork(PID + 2, PID, 30)
    assert name(symbols, 40, pid=PID + 2) == "alpha"
