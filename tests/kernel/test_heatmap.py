"""Test heat maps against the table of the same run."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from xml.etree import ElementTree

import pytest

from pytracer.features.kernel_facts import RunningKernel
from pytracer.request import build_request
from pytracer.sinks import make_sink
from pytracer.spec import registry
from pytracer.trace.loop import TraceLoop
from support.cli import run
from support.disks import loop, work
from support.workloads import workload

pytestmark = pytest.mark.kernel
SVG = "{http://www.w3.org/2000/svg}"
BURSTS = "import os, time\nfor _ in range(5):\n    for _ in range(23): os.getppid()\n    time.sleep(0.2)"


def cells(svg):
    root = ElementTree.fromstring(svg)
    return [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "cell"], root


def test_a_histogram_of_each_interval(tmp_path):
    words = ["syscalls", "--latency", "-e", "getppid", "0.1", "-f", "heatmap", "-o", tmp_path / "x.svg"]
    result = run(*words, "--", sys.executable, "-c", BURSTS)
    assert result.status == 0, result.err
    actual, root = cells((tmp_path / "x.svg").read_text())
    assert root.get("data-total") == "115"
    assert sum(int(cell.get("data-n")) for cell in actual) == 115
    assert 4 <= len({cell.get("x") for cell in actual}) <= 10  # each burst is in an interval, or two


def test_a_heatmap_adds_up_to_the_json_of_the_same_run(tmp_path):
    names = ("heatmap", "json")
    with loop(tmp_path) as device:
        request = build_request(registry.get("biolatency"), interval=0.1, duration=1.0)
        with TraceLoop(request, RunningKernel) as trace:
            streams = [(tmp_path / name).open("w") for name in names]
            sinks = [
                make_sink(name, stream, timestamps=False, terminal=False)
                for name, stream in zip(names, streams, strict=True)
            ]
            worker = threading.Thread(target=lambda: [work(device, writes=23) for _ in range(7)])
            for sink in sinks:
                sink.open(trace.schema)
            worker.start()
            for item in trace:
                for sink in sinks:
                    sink.emit(item)
            worker.join()
            for sink, stream in zip(sinks, streams, strict=True):
                sink.close()
                stream.close()
    rows = [json.loads(line) for line in (tmp_path / "json").read_text().splitlines()]
    summary = {row["disk"]: row["requests"] for row in rows if row["kind"] == "summary"}
    assert summary[device.name] == 23 * 7
    actual, root = cells((tmp_path / "heatmap").read_text())
    assert (
        int(root.get("data-total"))
        == sum(int(cell.get("data-n")) for cell in actual)
        == sum(summary.values())
    )
    columns, intervals = Counter(), Counter()
    for cell in actual:
        columns[float(cell.get("x"))] += int(cell.get("data-n"))
    for row in rows:
        if row["kind"] == "row" and row["requests"]:
            intervals[row["time_ns"]] += row["requests"]
    assert [columns[x] for x in sorted(columns)] == [intervals[time] for time in sorted(intervals)]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert f"{device.name}: {23 * 7} requests" in texts


def test_stacks_by_part_of_a_second(tmp_path):
    start = time.time()
    words = ["profile", "-f", "heatmap", "-o", tmp_path / "x.svg"]
    result = run(*words, "--", workload("spin"), "user", 700)
    assert result.status == 0, result.err
    actual, root = cells((tmp_path / "x.svg").read_text())
    assert int(root.get("data-total")) == sum(int(cell.get("data-n")) for cell in actual) > 0
    assert len({cell.get("x") for cell in actual}) <= time.time() - start + 2


def test_tables_have_none():
    result = subprocess.run(
        [sys.executable, "-m", "pytracer", "syscalls", "-f", "heatmap", "-d", "1"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert "for histograms and stacks" in result.stderr
