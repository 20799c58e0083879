"""Test langgc on runtimes that count their collections themselves."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections import Counter

import pytest

from support.cli import run
from support.runtimes import PYTHON, RUBY, java, python, trace

pytestmark = pytest.mark.kernel

TIMES = 23
COLLECT = f"import gc; gc.disable()\nfor n in range({TIMES}): gc.collect(n % 3)\n"
STATS = "open('{}', 'w').write(' '.join(str(one['collections']) for one in gc.get_stats()))"


def collections(result):
    """Return the number of collections of each kind in a stream."""
    return Counter(event["collection"] for event in result.of("event"))


def totals(result):
    """Return the totals of a run, in the order starts, pairs, replaced, unstarted, open."""
    [record] = result.of("totals")
    assert record.pop("kind") == "totals"
    return tuple(record.values())


def generations(path):
    """Return what a program of Python wrote about its collections, as the tracer names them."""
    numbers = map(int, path.read_text().split())
    return Counter({f"generation {generation}": number for generation, number in enumerate(numbers)})


@pytest.mark.lab
@pytest.mark.smoke
def test_collections_of_python(tmp_path):
    path = tmp_path / "stats"
    result = trace("langgc", command=python(COLLECT + STATS.format(path)))
    expected = generations(path)
    assert expected.total() >= TIMES
    assert collections(result) == +expected
    assert totals(result) == (expected.total(), expected.total(), 0, 0, 0)
    for event in result.of("event"):
        assert event["language"] == "python"
        assert event["latency_ns"] > 0
    assert len({event["pid"] for event in result.of("event")}) == 1


def test_histograms_and_a_minimum(tmp_path):
    path = tmp_path / "stats"
    command = python(COLLECT + STATS.format(path))
    result = trace("langgc", "--latency", "--by", "pid,collection", command=command)
    rows = result.of("summary")
    assert Counter({row["collection"]: row["collections"] for row in rows}) == +generations(path)
    for row in rows:
        assert sum(bucket["count"] for bucket in row["latency_ns"]) == row["collections"]
        assert row["language"] == "python"
        assert row["comm"] == "python3"
        assert row["total_ns"] >= row["max_ns"] > 0
    result = trace("langgc", "--min", "1000s", command=command)
    assert not result.of("event")
    assert totals(result)[1] == generations(path).total()


def test_threads_and_a_stranger(tmp_path):
    """Collections of several threads are told apart, and those of another process are not shown."""
    path = tmp_path / "stats"
    threads = (
        "import gc, _thread, time; gc.disable(); done = []\n"
        f"def work():\n  for n in range({TIMES}): gc.collect()\n  done.append(1)\n"
        "for n in range(4): _thread.start_new_thread(work, ())\n"
        "while len(done) < 4: time.sleep(0.01)\n"
    )
    stranger = subprocess.Popen(
        [PYTHON, "-c", "import gc, time\nwhile True: gc.collect(); time.sleep(0.001)"]
    )
    try:
        result = trace("langgc", command=python(threads + STATS.format(path)))
    finally:
        stranger.kill()
        stranger.wait()
    assert collections(result) == +generations(path)
    threads_of_full = {event["tid"] for event in result.of("event") if event["collection"] == "generation 2"}
    assert len(threads_of_full) == 4
    [pid] = {event["pid"] for event in result.of("event")}
    assert pid != stranger.pid


def test_a_collection_that_does_not_end():
    """The process exits in it."""
    code = (
        "import gc; gc.disable()\nclass Last:\n  def __del__(self): os._exit(0)\n"
        "last = Last(); last.itself = last; del last\ngc.collect(1)"
    )
    result = trace("langgc", command=python(code))
    starts, pairs, *others = totals(result)
    assert (pairs, others) == (starts - 1, [0, 0, 1])
    assert (
        collections(result)["generation 1"]
        == collections(trace("langgc", command=python("")))["generation 1"]
    )


def test_collections_of_ruby(tmp_path):
    """Each marks once; those that sweep do it in steps."""
    path = tmp_path / "stats"
    code = f"{TIMES}.times {{ GC.start }}; File.write('{path}', GC.count); Process.exit!(true)"
    result = trace("langgc", command=(*RUBY, "-e", code))
    count = int(path.read_text())
    assert count >= TIMES
    assert collections(result)["mark"] == count
    starts, pairs, *others = totals(result)
    assert (starts, others) == (pairs, [0, 0, 0])
    assert pairs == collections(result).total()
    assert {event["language"] for event in result.of("event")} == {"ruby"}


@pytest.mark.parametrize("collector", ["Serial", "G1"])
def test_collections_of_java(tmp_path, collector):
    log = tmp_path / "log"
    command = java(
        tmp_path,
        f"for (int n = 0; n < {TIMES}; n++) System.gc();"
        "for (int n = 0; n < 1 << 11; n++) kept[n % 8] = new byte[1 << 15];"
        "---static byte[][] kept = new byte[8][];",
        f"-XX:+Use{collector}GC",
        "-Xmx48m",
        f"-Xlog:gc:file={log}",
    )
    result = trace("langgc", command=command)
    pauses = re.findall(r"GC\(\d+\) Pause (\w+)", log.read_text())
    full = pauses.count("Full")
    assert full >= TIMES
    assert len(pauses) > full
    assert collections(result) == {"full": full, "pause": len(pauses) - full}
    assert totals(result) == (len(pauses), len(pauses), 0, 0, 0)


@pytest.mark.parametrize(
    ("words", "status", "message", "hint"),
    [
        (("--", "perl", "-e", "1"), 4, "perl: Perl (", "languages that have: python, ruby, java"),
        (("--", "php", "-r", "1;"), 4, "php: PHP (", "languages that have: python, ruby, java"),
        (("php",), 2, "PHP has no probes for this", "languages that have: python, ruby, java"),
        (("/usr/bin/perl", "-d", "1"), 2, "perl has no USDT probes", ""),
    ],
)
def test_what_has_no_probes(words, status, message, hint):
    result = run("langgc", *words, env={"PATH": os.defpath})
    assert result.status == status
    assert message in result.err
    assert hint in result.err


def test_a_file_of_a_runtime():
    """A command that is started by another program is found by the runtime's file."""
    result = run(
        "langgc", "-f", "json", os.path.realpath(PYTHON), "--", "sh", "-c",
        "true; " + shlex.join(python(f"import gc; [gc.collect(1) for n in range({TIMES})]")),
        env={"PATH": os.defpath},
    )  # fmt: skip
    assert collections(result)["generation 1"] == TIMES
