"""Test langstat on programs that call, collect and allocate a known number of times."""

from __future__ import annotations

import pytest

from support.runtimes import RUBY, java, python, trace

pytestmark = pytest.mark.kernel

TIMES = 23


def row_of(result):
    """Return the numbers of the one process: calls, collections, objects."""
    [row] = result.of("summary")
    return row["language"], row["calls"], row["collections"], row["objects"]


@pytest.mark.lab
@pytest.mark.smoke
def test_python():
    """The numbers are those of the tracers of each."""
    code = f"import gc; gc.disable()\ndef f(): gc.collect(1)\nfor n in range({TIMES}): f()"
    command = python(code)
    language, calls, collections, objects = row_of(trace("langstat", command=command))
    [total] = trace("langcalls", command=command).of("totals")
    assert (language, calls, objects) == ("python", total["calls"], None)
    assert collections == len(trace("langgc", command=command).of("event"))


def test_ruby(tmp_path):
    path = tmp_path / "stats"
    code = f"class Animal; end\n{TIMES}.times {{ Animal.new; GC.start }}; File.write('{path}', GC.count)"
    result = trace("langstat", command=(*RUBY, "-e", code + "; Process.exit!(true)"))
    language, calls, collections, objects = row_of(result)
    assert (language, collections) == ("ruby", int(path.read_text()))
    assert calls > 2 * TIMES
    assert objects > TIMES


def test_what_a_start_does_not_carry(tmp_path):
    """It is said, and no number."""
    command = java(tmp_path, f"for (int n = 0; n < {TIMES}; n++) System.gc();")
    result = trace("langstat", command=command)
    assert row_of(result) == ("java", None, TIMES, None)
    for probe in ("method__entry", "object__alloc"):
        assert f"raises {probe} only if it is started with -XX:+ExtendedDTraceProbes" in result.err
    result = trace("langstat", command=(*command[:1], "-XX:+ExtendedDTraceProbes", *command[1:]))
    _, calls, collections, objects = row_of(result)
    assert calls > TIMES
    assert objects > 0
    assert collections == TIMES
