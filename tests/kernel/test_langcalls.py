"""Test langcalls on programs whose calls are known, in each language."""

from __future__ import annotations

import os
import subprocess

import pytest

from support.cli import finish, run, start
from support.runtimes import BARE_PYTHON, RUBY, java, python, trace

pytestmark = pytest.mark.kernel

TIMES = 23
TRACED_CALLS = "TracePoint.new(:call, :return) {}.enable\n"


def calls(result, scope):
    """Return the number of calls of each function of a scope."""
    rows = [row for row in result.of("summary") if row["scope"] == scope]
    return {row["function"]: row["calls"] for row in rows}


def totals(result):
    """Return the totals of a run, in the order calls, returns, left, unstarted, open."""
    [record] = result.of("totals")
    assert record.pop("kind") == "totals"
    return tuple(record.values())


CALLS_OF_PYTHON = f"""
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def numbers():
    for n in range(3): yield n
def fail(): raise ValueError
class Animal:
    def speak(self): pass
for n in range({TIMES}): Animal().speak()
for n in range(5):
    try: fail()
    except ValueError: pass
list(numbers())
fib(10)
"""
EXPECTED = {"speak": TIMES, "fail": 5, "numbers": 4, "fib": 177, "Animal": 1, "<module>": 1}
"""A generator is entered each time it goes on, not as it is made."""


@pytest.mark.lab
@pytest.mark.smoke
def test_calls_of_python():
    result = trace("langcalls", command=python(CALLS_OF_PYTHON))
    assert calls(result, "<string>") == EXPECTED
    assert {row["language"] for row in result.of("summary")} == {"python"}
    assert totals(result)[0] == sum(row["calls"] for row in result.of("summary"))


def test_latency_of_python():
    code = (
        f"import time\ndef wait(): time.sleep(0.002)\ndef outer(): wait()\nfor n in range({TIMES}): outer()\n"
    )
    result = trace("langcalls", "--latency", command=python(code + CALLS_OF_PYTHON))
    expected = EXPECTED | {"wait": TIMES, "outer": TIMES}
    expected.pop("<module>")  # it does not return: the process exits in it
    assert calls(result, "<string>") == expected
    rows = {row["function"]: row for row in result.of("summary") if row["scope"] == "<string>"}
    assert rows["outer"]["total_ns"] >= rows["wait"]["total_ns"] >= TIMES * 2_000_000
    begun, returned, left, unstarted, still_open = totals(result)
    assert (begun, left, unstarted, still_open) == (returned + 1, 0, 0, 1)
    histograms = trace("langcalls", "--histogram", command=python(CALLS_OF_PYTHON))
    for row in histograms.of("summary"):
        assert sum(bucket["count"] for bucket in row["latency_ns"]) == row["calls"]
    assert calls(histograms, "<string>")["fib"] == EXPECTED["fib"]


def test_threads_of_python():
    """Their stacks are told apart."""
    code = (
        "import _thread, time; done = []\ndef inner(): time.sleep(0)\n"
        f"def work():\n  for n in range({TIMES}): inner()\n  done.append(1)\n"
        "for n in range(4): _thread.start_new_thread(work, ())\nwhile len(done) < 4: time.sleep(0.001)\n"
        "time.sleep(0.1)"
    )
    result = trace("langcalls", "--latency", "--by", "function,pid", command=python(code))
    assert calls(result, "<string>") == {"work": 4, "inner": 4 * TIMES}
    assert totals(result)[2:] == (0, 0, 1)


def test_more_threads_than_there_are_places_for():
    """A thread whose calls have returned gives its place to another."""
    code = (
        "import _thread, time\nlock = _thread.allocate_lock()\ndef work(): lock.release()\n"
        "for n in range(17000):\n  lock.acquire()\n  _thread.start_new_thread(work, ())\n"
        "lock.acquire(); time.sleep(0.1)"
    )
    result = trace("langcalls", "--latency", command=python(code))
    assert calls(result, "<string>") == {"work": 17000}
    assert totals(result)[2:] == (0, 0, 1)


def test_a_process_that_runs():
    """What began before is not known, and is counted."""
    code = (
        "import sys\ndef go(): pass\ndef outer():\n  sys.stdin.readline()\n"
        f"  for n in range({TIMES}): go()\nouter()\nprint('done', flush=True)\nsys.stdin.readline()"
    )
    with run_python(code) as program:
        tracing = start("langcalls", "-f", "json", "--latency", "-p", program.pid, "-d", "60")
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "done\n"
        program.stdin.close()
        result = finish(tracing)
    assert calls(result, "<string>") == {"go": TIMES}
    assert totals(result)[3] >= 1  # the call of outer


def run_python(code):
    """Start a program of Python whose input and output are pipes."""
    return subprocess.Popen(
        [*BARE_PYTHON, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_hostile_names():
    long_name = "n" * 100
    code = (
        "def named(name):\n  def f(): pass\n"
        "  return type(f)(f.__code__.replace(co_name=name, co_filename='x\\x1b[31m\\n'), {})\n"
        f"for name in ('', 'a\\x1b[2J\\n', '\\u00e4' * 5, '{long_name}'): named(name)()"
    )
    result = run("langcalls", "-f", "json", "--", *python(code), env={"PATH": os.defpath})
    scope = "x\x1b[31m\n"
    assert calls(result, scope) == {"": 1, "a\x1b[2J\n": 1, "\u00e4" * 5: 1, "n" * 63: 1}
    assert [(loss["reason"], loss["lost"]) for loss in result.of("loss")] == [("truncated", 1)]
    table = run("langcalls", "--", *python(code), env={"PATH": os.defpath}).out
    assert "\x1b" not in table


CALLS_OF_RUBY = f"""
class Animal
  def speak; 1; end
  def fail; raise "no"; end
end
{TIMES}.times {{ Animal.new.speak }}
5.times {{ begin; Animal.new.fail; rescue; end }}
Process.exit!(true)
"""


def test_calls_of_ruby():
    command = (*RUBY, "-e", CALLS_OF_RUBY)
    result = trace("langcalls", command=command)
    assert "methods in Ruby only while the program has a TracePoint" in result.err
    assert calls(result, "Animal") == {}
    assert calls(result, "Class")["new"] >= TIMES + 5
    result = trace("langcalls", "--latency", command=(*RUBY, "-e", TRACED_CALLS + CALLS_OF_RUBY))
    assert calls(result, "Animal") == {"speak": TIMES, "fail": 5}
    begun, returned, left, unstarted, still_open = totals(result)
    assert begun == returned + left + still_open
    # Kernel#raise has no return of its own. At the end times and exit! have not returned.
    assert (left, unstarted) == (5, 0)
    assert "raise" not in calls(result, "Kernel")


CALLS_OF_PHP = f"""
class Animal {{ function speak() {{ return 1; }} }}
function outer() {{ inner(); }}
function inner() {{ throw new Exception("no"); }}
for ($n = 0; $n < {TIMES}; $n++) (new Animal)->speak();
try {{ outer(); }} catch (Exception $e) {{ }}
"""


def test_calls_of_php():
    command = ("php", "-n", "-r", CALLS_OF_PHP)
    refused = run("langcalls", "--", *command, env={"PATH": os.defpath})
    assert refused.status == 4
    assert "only if it is started with USE_ZEND_DTRACE=1 in its environment" in refused.err
    assert "hint: -- env USE_ZEND_DTRACE=1 php ..." in refused.err
    result = trace("langcalls", "--latency", command=("env", "USE_ZEND_DTRACE=1", *command))
    assert calls(result, "Animal") == {"speak": TIMES}
    rows = {row["function"]: row["calls"] for row in result.of("summary") if row["scope"] is None}
    assert (rows["outer"], rows["inner"]) == (1, 1)
    assert totals(result)[2:] == (0, 0, 0)


def test_calls_of_java(tmp_path):
    code = (
        f"for (int n = 0; n < {TIMES}; n++) new Animal().speak();"
        "for (int n = 0; n < 5; n++) try { new Animal().fail(); } catch (RuntimeException e) { }"
        "for (int n = 0; n < 20011; n++) hot(n);"
        "---static int sum; static void hot(int n) { sum += n; }"
        "static class Animal { void speak() { } void fail() { throw new RuntimeException(); } }"
    )
    refused = run("langcalls", "--", *java(tmp_path, code), env={"PATH": os.defpath})
    assert refused.status == 4
    assert "only if it is started with -XX:+ExtendedDTraceProbes" in refused.err
    result = trace("langcalls", command=java(tmp_path, code, "-XX:+ExtendedDTraceProbes"))
    assert calls(result, "Main$Animal") == {"<init>": TIMES + 5, "speak": TIMES, "fail": 5}
    assert calls(result, "Main")["hot"] == 20011


def test_a_build_without_probes_of_functions(tmp_path):
    """Options of the JVM in its environment count, too."""
    environment = {"PATH": os.defpath, "JAVA_TOOL_OPTIONS": "-XX:+ExtendedDTraceProbes"}
    result = run("langcalls", "--dry-run", "--", *java(tmp_path, ""), env=environment)
    assert result.status == 0, result.err
    result = run("langcalls", "--", *java(tmp_path, "", "@options"), env={"PATH": os.defpath})
    assert "it may be in a file that they name" in result.err
