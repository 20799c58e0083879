"""Test the reader of iterators, on files that the test writes."""

from __future__ import annotations

import os
import random
import struct

import numpy as np
import pytest

from pytracer.bpf.read.streams import iterator_reader
from pytracer.bpf.read.streams.iterator_reader import ListingReader

FIXED = np.dtype([("ns", "u8"), ("serial", "u8")])
LONG = np.dtype([("ns", "u8"), ("serial", "u4"), ("text", "S500")])


def reader(records, dtype):
    """Return a reader of a file with these records."""
    file = os.memfd_create("list")
    for record in records:
        record = record.ljust(-(-len(record) // 8) * 8, b"\0")
        os.write(file, struct.pack("Q", len(record)) + record)
    os.lseek(file, 0, os.SEEK_SET)
    return ListingReader(file, dtype)


def read(source):
    """Return all that it gives."""
    batches = []
    while (batch := source.read()) is not None:
        batches.append(batch)
    assert source.read() is None
    source.close()
    return batches


def test_an_empty_iterator_has_no_records():
    assert read(reader([], FIXED)) == []


@pytest.mark.parametrize("look", [7, 64, 1 << 16])
def test_records_of_one_length(monkeypatch, look):
    monkeypatch.setattr(iterator_reader, "_LOOK", look)
    batches = read(reader((struct.pack("QQ", n, n) for n in range(1009)), FIXED))
    assert np.concatenate(batches)["serial"].tolist() == list(range(1009))


@pytest.mark.parametrize("chunk", [600, 1 << 20])
def test_records_that_end_with_strings(monkeypatch, chunk):
    monkeypatch.setattr(iterator_reader, "CHUNK", chunk)
    monkeypatch.setattr(iterator_reader, "_LOOK", 100)
    dice = random.Random(7)
    texts = [b"x" * dice.randrange(500) for _ in range(101)]
    batches = read(reader((struct.pack("QI", n, n) + text + b"\0" for n, text in enumerate(texts)), LONG))
    assert [text for batch in batches for text in batch["text"].tolist()] == texts
    assert [serial for batch in batches for serial in batch["serial"].tolist()] == list(range(101))


def test_many_long_rows_come_in_several_batches(monkeypatch):
    monkeypatch.setattr("pytracer.bpf.read.streams.records._ROWS", 2000)
    batches = read(reader((struct.pack("QI", n, n) + b"y" * 400 + b"\0" for n in range(23)), LONG))
    assert len(batches) > 1
    assert [serial for batch in batches for serial in batch["serial"].tolist()] == list(range(23))


def test_the_kernel_may_say_again(monkeypatch):
    source = reader([struct.pack("QQ", 1, 1)], FIXED)
    answers = iter([BlockingIOError(11, "again")])
    really = os.read

    def sometimes(*words):
        for answer in answers:
            raise answer
        return really(*words)

    monkeypatch.setattr(iterator_reader.os, "read", sometimes)
    assert len(read(source)) == 1
