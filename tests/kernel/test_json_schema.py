"""Test that each line of -f json conforms to ``pytracer schema``, for every shape of output."""

from __future__ import annotations

import json
import os
import time

import pytest
from jsonschema import Draft202012Validator

from support.cli import run

pytestmark = pytest.mark.kernel

LOAD = (
    "--",
    "sh",
    "-c",
    "for i in 1 2 3 4 5 6 7; do cat /etc/hostname /no/such/file >&2; done; exec ls / >&2",
)
PROBE = 't:syscalls:sys_enter_openat "%d %s", args->dfd, args->filename'
RUNS = {
    "table": (("syscalls", "--errno"), LOAD),
    "table of an interval": (("syscalls", "-T", "--by", "syscall,pid,comm", "0.1"), ("--", "sleep", "0.5")),
    "histogram": (("syscalls", "--latency"), LOAD),
    "stacks": (("stackcount", "t:syscalls:sys_enter_openat"), LOAD),
    "events": (("opensnoop", "-T"), LOAD),
    "list": (("openfiles", "-p", os.getpid()), ()),
    "probe specs": (("trace", PROBE), LOAD),
    "values of probe specs": (("argdist", "t:syscalls:sys_enter_openat(): int: args->dfd"), LOAD),
    "loss": (("syscalls", "--by", "pid", "--max-rows", "1"), LOAD),
}


@pytest.mark.parametrize("name", RUNS)
def test_lines_conform_to_the_schema(name):
    words, load = RUNS[name]
    schema = json.loads(run("schema", *words).out)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    before = time.time_ns()
    result = run(*words, "-f", "json", *load)
    after = time.time_ns()
    assert result.status == 0, result.err
    assert result.lines
    for line in result.lines:
        validator.validate(line)
        assert before < line["time_ns"] < after
        assert ("interval_ns" in line) == (line["kind"] in ("row", "summary"))
    assert {line["kind"] for line in result.lines} >= ({"loss"} if name == "loss" else set())


def test_intervals_make_up_the_whole_run():
    result = run("syscalls", "--by", "pid", "-f", "json", "0.1", "--", "sh", "-c", "sleep 0.4; true >&2")
    spans = {line["time_ns"]: line["interval_ns"] for line in result.lines if line["kind"] == "row"}
    [summary_ns] = {line["interval_ns"] for line in result.lines if line["kind"] == "summary"}
    assert len(spans) > 1
    assert all(later - earlier > 0 for earlier, later in zip(spans, [*spans][1:], strict=False))
    assert 0 < sum(spans.values()) <= summary_ns + len(spans)


def test_without_words_a_schema_needs_no_arguments():
    for tracer in ("funccount", "trace", "inject"):
        assert json.loads(run("schema", tracer).out)["title"].startswith("a line of pytracer " + tracer)


def test_a_profile_has_no_schema():
    result = run("schema", "syscalls", "--profile", "--", "true")
    assert result.status == 2
    assert "a format of its own" in result.err
