"""Test langalloc on programs that allocate a known number of objects."""

from __future__ import annotations

import os

import pytest

from support.cli import run
from support.runtimes import PYTHON, RUBY, java, trace

pytestmark = pytest.mark.kernel

TIMES = 23


def objects(result):
    """Return the number of objects by kind and class."""
    return {(row["allocated"], row["class"]): row["objects"] for row in result.of("summary")}


@pytest.mark.lab
@pytest.mark.smoke
def test_objects_of_ruby():
    code = (
        f"class Animal; end\n{TIMES}.times {{ Animal.new }}\n7.times {{ Hash.new }}\n5.times {{ Array.new }}"
    )
    actual = objects(trace("langalloc", command=(*RUBY, "-e", code)))
    assert actual["object", "Animal"] == TIMES
    assert (actual["object", "Hash"], actual["object", "Array"]) == (7, 5)
    commands = [(*RUBY, "-e", f"{times}.times {{ [nil, 1].size }}") for times in (TIMES, 2 * TIMES)]
    arrays = [objects(trace("langalloc", command=command))["array", None] for command in commands]
    assert arrays[1] - arrays[0] == TIMES
    by_process = trace("langalloc", "--by", "pid", command=(*RUBY, "-e", code)).of("summary")
    assert [row["comm"] for row in by_process] == ["ruby"]


def test_objects_of_java(tmp_path):
    code = (
        "for (int n = 0; n < 20011; n++) kept = new Animal(n);"
        "---static Animal kept; static class Animal { int n; Animal(int n) { this.n = n; } }"
    )
    refused = run("langalloc", "--", *java(tmp_path, code), env={"PATH": os.defpath})
    assert refused.status == 4
    assert "raises object__alloc only if it is started with -XX:+ExtendedDTraceProbes" in refused.err
    result = trace("langalloc", command=java(tmp_path, code, "-XX:+ExtendedDTraceProbes"))
    assert objects(result)["object", "Main$Animal"] == 20011


def test_a_language_without_such_probes():
    result = run("langalloc", "--", PYTHON, "-c", "1")
    assert result.status == 4
    assert "has no probes for this" in result.err
    assert "languages that have: ruby, java" in result.err
