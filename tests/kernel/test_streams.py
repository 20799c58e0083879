"""Test streams of numbered events: each arrives once, whole and in order, or is counted as lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from bench.work import go

from pytracer.bpf.attach import raw_tracepoint
from pytracer.bpf.read.maps import Map
from pytracer.bpf.read.streams import perf_buffer
from pytracer.errors import PytracerError
from pytracer.model import Batch, Loss
from pytracer.trace import stream_collector
from support.cli import COMMAND, LIMIT, finish, start
from support.needs import needs
from support.serials import FACTS, THREAD, batches, calls, column, losses, plugin, text, trace

pytestmark = pytest.mark.kernel
CPUS = sorted(os.sched_getaffinity(0))
KINDS = ["ring", "perf"]
LARGE = 64 << 20  # nothing may be lost


@pytest.fixture(autouse=True)
def _can(request):
    callspec = getattr(request.node, "callspec", None)
    if (callspec and callspec.params.get("kind") == "ring") or "discards" in request.node.name:
        needs("ringbuf", FACTS["ring"]().has_map_type(27))
    before = descriptors()
    yield
    assert descriptors() == before


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def events(kind: str, count: int, threads: int = 1, *defines: str, buffer: int = LARGE):
    """Return all items of a trace of a number of calls."""
    with calls(count, threads) as process, trace(kind, process, *defines, buffer=buffer) as open_trace:
        go(process)
        items = list(open_trace)
        assert open_trace.lost == sum(losses(items).values())
        return items


def check_texts(items) -> None:
    """Check that each text is that of its call's number."""
    for serial, message in zip(column(items, "serial").tolist(), column(items, "text"), strict=True):
        assert message == text(serial % (1 << THREAD))


@pytest.mark.lab
@pytest.mark.parametrize("kind", KINDS)
def test_each_event_is_read_once_in_order_with_its_text(kind):
    items = events(kind, 101, 1, "TEXT")
    assert losses(items) == {}
    assert column(items, "serial").tolist() == list(range(101))
    check_texts(items)


@pytest.mark.parametrize("defines", [(), ("TEXT",)], ids=["fixed", "text"])
@pytest.mark.parametrize("kind", KINDS)
def test_many_events_on_every_cpu(kind, defines):
    threads = min(len(CPUS), 4) if list(range(len(CPUS))) == CPUS else 1
    buffer = LARGE * (len(perf_buffer.online_cpus()) // 2 + 1 if kind == "perf" else 1)
    items = events(kind, 100_000, threads, *defines, buffer=buffer)
    assert losses(items) == {}
    serials, cpus = column(items, "serial"), column(items, "cpu")
    assert sorted(serials.tolist()) == [t << THREAD | n for t in range(threads) for n in range(100_000)]
    assert set((serials >> THREAD).tolist()) == set(range(threads))
    for cpu in set(cpus.tolist()):
        for thread in range(threads):
            thread_serials = serials[(serials >> THREAD == thread) & (cpus == cpu)].astype("i8")
            assert (np.diff(thread_serials) > 0).all()
    for batch in batches(items):
        assert (np.diff(batch.times) >= 0).all()
    if kind == "perf":
        assert (np.diff(column(items, "time").astype("i8")) >= 0).all()
    if defines:
        check_texts(items)


@pytest.mark.parametrize("size", [1, 16 << 10])
@pytest.mark.parametrize("kind", KINDS)
def test_a_small_ring_wraps_many_times(kind, size):
    """Records of every length cross the end of the ring; records that do not fit are counted."""
    items = events(kind, 200_000, 1, "TEXT", buffer=size)
    serials = column(items, "serial")
    assert (np.diff(serials.astype("i8")) > 0).all()
    assert len(serials) + sum(losses(items).values()) == 200_000
    assert set(losses(items)) <= {"ring_full", "missed"}
    check_texts(items)


def test_discarded_records_are_skipped():
    items = events("ring", 100_000, 1, "DISCARD")
    assert losses(items) == {}
    assert column(items, "serial").tolist() == list(range(0, 100_000, 3))


@pytest.mark.parametrize(("kind", "total"), [("ring", 10_000_000), ("perf", 1_000_000)])
def test_a_slow_reader_of_a_ring_that_is_too_small(kind, total):
    """The events made are those shown and lost, and they do not accumulate in memory."""
    shown_count, lost, after = 0, 0, -1
    with calls(total) as process, trace(kind, process, buffer=256 << 10) as open_trace:
        resident = memory()
        maximum = 0
        go(process)
        for item in open_trace:
            if isinstance(item, Loss):
                assert item.reason in ("ring_full", "missed")
                lost += item.lost
                continue
            serials = item.records["serial"].astype("i8")
            assert serials[0] > after
            assert (np.diff(serials) > 0).all()
            after = int(serials[-1])
            shown_count += len(item)
            maximum = max(maximum, memory() - resident)
            time.sleep(0.02)
    assert shown_count > 0
    assert lost > 0
    assert shown_count + lost == total
    assert maximum < 32 << 20


def memory() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_can_be_closed_in_the_middle_of_a_flood(kind):
    with calls(50_000_000) as process, trace(kind, process) as open_trace:
        go(process)
        for item in open_trace:
            assert len(item) > 0
            stored = item
            break
        first = stored.records["serial"].tolist()
    assert stored.records["serial"].tolist() == first


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_can_be_stopped_in_the_middle_of_a_flood(kind):
    with calls(50_000_000) as process, trace(kind, process) as open_trace:
        go(process)
        items = []
        for item in open_trace:
            items.append(item)
            open_trace.stop()
        assert process.poll() is None
        serials = column(items, "serial").astype("i8")
        assert (np.diff(serials) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_ends_in_time(kind):
    with calls(50_000_000) as process, trace(kind, process, duration=1.3) as open_trace:
        go(process)
        for item in open_trace:
            if isinstance(item, Batch):
                time.sleep(0.01)
        assert process.poll() is None


@pytest.mark.parametrize("kind", KINDS)
def test_two_concurrent_traces(kind):
    gathered: dict[str, list] = {}

    def gather(name, open_trace):
        gathered[name] = list(open_trace)

    with (
        calls(20_000) as first,
        calls(30_000) as second,
        trace("perf", first, buffer=LARGE) as first_trace,
        trace(kind, second, "TEXT", buffer=LARGE) as second_trace,
    ):
        threads = [
            threading.Thread(target=gather, args=pair)
            for pair in (("one", first_trace), ("other", second_trace))
        ]
        for thread in threads:
            thread.start()
        go(first)
        go(second)
        for thread in threads:
            thread.join(LIMIT)
    assert column(gathered["one"], "serial").tolist() == list(range(20_000))
    assert column(gathered["other"], "serial").tolist() == list(range(30_000))
    assert set(column(gathered["one"], "pid").tolist()) == {first.pid}


def test_a_cpu_that_comes_online_gets_a_ring(monkeypatch):
    """The events of a new CPU are lost until the reader notices it, and are counted."""
    absent, cpus = CPUS[0], perf_buffer.online_cpus()
    if len(cpus) < 2:
        cpus = [*cpus, absent]
    monkeypatch.setattr(perf_buffer, "_CPUS", 0)
    other_cpus = [cpu for cpu in cpus if cpu != absent]
    monkeypatch.setattr(perf_buffer, "online_cpus", lambda: other_cpus)
    with calls(3_000_000) as process:
        os.sched_setaffinity(process.pid, {absent})
        with trace("perf", process, buffer=LARGE) as open_trace:
            monkeypatch.setattr(perf_buffer, "online_cpus", lambda: cpus)
            go(process)
            items = list(open_trace)
    serials = column(items, "serial")
    assert len(serials) > 0
    assert len(serials) + sum(losses(items).values()) == 3_000_000


def fails(*_: object, **__: object):
    raise OSError(24, os.strerror(24))


@pytest.mark.parametrize(
    "step", [(stream_collector, "open_reader"), (raw_tracepoint, "attach")], ids=lambda step: step[1]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_open_leaks_nothing(monkeypatch, kind, step):
    monkeypatch.setattr(*step, fails)
    with calls(1) as process, pytest.raises((OSError, PytracerError), match="open files"):
        trace(kind, process)


def test_a_perf_ring_that_cannot_be_entered_leaves_nothing_open(monkeypatch):
    update = Map.update

    def refuse(self, key, value):
        if self.name == "events":
            fails()
        update(self, key, value)

    monkeypatch.setattr(Map, "update", refuse)
    with calls(1) as process, pytest.raises((OSError, PytracerError), match="open files"):
        trace("perf", process)


@pytest.fixture
def serials(tmp_path):
    """Start ``pytracer serials``, a tracer of another package."""
    environment = plugin(tmp_path)

    def begin(process, *words: object):
        return start("serials", "-p", process.pid, *words, env=environment)

    return begin


@pytest.mark.parametrize("strict", [False, True])
def test_losses_are_records_and_strict_makes_them_an_error(serials, strict):
    with calls(1_000_000) as process:
        tracer = serials(process, "-f", "json", "--buffer", "4k", *(["--strict"] if strict else []))
        go(process)
        result = finish(tracer)
    assert result.status == (3 if strict else 0), result.err
    assert ("pytracer: error: " in result.err) == strict
    lost = result.of("loss")
    assert {record["reason"] for record in lost} <= {"ring_full", "missed"}
    shown_count = result.of("event")
    assert len(shown_count) + sum(record["lost"] for record in lost) == 1_000_000
    assert [record["serial"] for record in shown_count] == sorted(record["serial"] for record in shown_count)


@pytest.mark.parametrize("form", ["table", "csv", "json"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_flood(serials, form, number):
    with calls(100_000_000) as process:
        tracer = serials(process, "-f", form, "--buffer", "256k")
        go(process)
        assert tracer.stdout.readline()
        reader = threading.Timer(0.3, os.killpg, (tracer.pid, number))
        reader.start()
        result = finish(tracer)
        reader.join()
        assert process.poll() is None
    assert result.status == 0, result.err
    if form == "json":  # the last line is whole
        json.loads(result.out.splitlines()[-1])


def test_a_reader_that_goes_away_ends_a_flood(tmp_path):
    with calls(100_000_000) as process:
        tracer = subprocess.Popen(
            [*COMMAND, "serials", "-p", str(process.pid), "--buffer", "256k", "-v"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=plugin(tmp_path),
        )
        for line in tracer.stderr:
            if "tracing" in line:
                break
        go(process)
        head = [tracer.stdout.readline() for _ in range(5)]
        tracer.stdout.close()
        assert tracer.wait(LIMIT) == 0
        assert tracer.stderr.read() == ""
        tracer.stderr.close()
        assert process.poll() is None
    assert "SERIAL" in head[0]
