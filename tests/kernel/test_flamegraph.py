"""Test pictures of stacks against the table of the same run, since all sinks get the same items."""

from __future__ import annotations

import json
import re
import subprocess
from xml.etree import ElementTree

import pytest

from support.cli import run
from support.formats import write_items
from support.workloads import workload

pytestmark = pytest.mark.kernel

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("tracer", "arguments", "command", "column"),
    [
        ("profile", [], [workload("spin"), "user", "300"], "samples"),
        ("stackcount", ["t:raw_syscalls:sys_enter"], ["cat", "/etc/hostname"], "hits"),
        ("offcputime", [], ["sh", "-c", "sleep 0.1; sleep 0.1; cat /etc/hostname"], "total_ns"),
        ("wakeuptime", [], ["sh", "-c", "sleep 0.1; cat /etc/hostname | cat"], "total_ns"),
        ("offwaketime", [], ["sh", "-c", "sleep 0.1; cat /etc/hostname | cat"], "total_ns"),
        ("memleak", [], ["cat", "/etc/hostname"], "bytes"),
    ],
)
def test_the_total_of_every_format_is_that_of_the_table(tracer, arguments, command, column, tmp_path):
    out = write_items(tracer, arguments, command)
    records = [json.loads(line) for line in out["json"].splitlines()]
    total = sum(record.get(column, record.get("lost", 0)) for record in records)
    assert total > 0
    root = ElementTree.fromstring(out["flamegraph"])
    assert root.get("data-total") == str(total)
    widths = {}
    for g in root.findall(f".//{SVG}g[@data-name]"):
        depth = int(g.get("data-d"))
        widths[depth] = widths.get(depth, 0) + int(g.get("data-n"))
    assert widths[0] == widths[1] == total
    assert sum(int(line.split()[-1]) for line in out["folded"].decode().splitlines()) == total
    assert json.loads(out["speedscope"])["profiles"][0]["endValue"] == total
    if column == "hits" or column == "samples":
        table = out["table"].decode()
        assert sum(map(int, re.findall(rf"^(\d+) {column}", table, re.M))) == total
    (tmp_path / "p.pb.gz").write_bytes(out["pprof"])
    result = subprocess.run(
        ["go", "tool", "pprof", "-raw", f"-sample_index={column}", str(tmp_path / "p.pb.gz")],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    samples = result.stdout.partition("Samples:")[2].partition("Locations")[0]
    column_index = samples.splitlines()[1].split().index(f"{column}/{_unit(column)}[dflt]")
    counts = re.findall(r"^ *([\d ]+):", samples, re.M)
    assert sum(int(line.split()[column_index]) for line in counts) == total


def _unit(column):
    return {"total_ns": "nanoseconds", "bytes": "bytes"}.get(column, "count")


def stacked(calls):
    return "--", "sh", "-c", f"echo | {workload('stacked')} {calls} >&2; true"


def test_23_calls_are_23_wide(tmp_path):
    file = tmp_path / "x.svg"
    words = ["stackcount", "-U", f"u:{workload('stacked')}:leaf", "-f", "flamegraph", "-o", file]
    result = run(*words, *stacked(23))
    assert result.status == 0, result.err
    frames = {
        g.get("data-name"): int(g.get("data-n"))
        for g in ElementTree.parse(file).getroot().findall(f".//{SVG}g[@data-name]")
    }
    assert (frames["outer"], frames["other"], frames["main"]) == (23, 24, 47)


def test_two_runs_are_compared(tmp_path):
    a, b, svg = tmp_path / "a", tmp_path / "b", tmp_path / "d.svg"
    words = ["stackcount", "-U", f"u:{workload('stacked')}:leaf", "-f"]
    assert run(*words, "json", "-o", a, *stacked(23)).status == 0
    assert run(*words, "folded", "-o", b, *stacked(7)).status == 0
    assert run("diff", a, b, "-o", svg).status == 0
    titles = {
        g.get("data-name"): g.find(f"{SVG}title").text
        for g in ElementTree.parse(svg).getroot().findall(f".//{SVG}g[@data-name]")
    }
    assert titles["outer"].startswith("outer: 23 before, 7 after (-16)")
    assert titles["other"].startswith("other: 24 before, 8 after (-16)")


def test_a_format_for_stacks_is_refused_where_there_are_none():
    result = run("capable", "-f", "flamegraph", "-d", 1)
    assert (result.status, "is for stacks" in result.err) == (2, True)
