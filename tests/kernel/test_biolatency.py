"""Test biolatency against requests to a loop device of the test's own.

It sees the whole machine's requests, and only counts them; what the tests look at is their own disk's.
"""

from __future__ import annotations

import contextlib
import os

import pytest

from pytracer.features.kernel_facts import RunningKernel
from pytracer.spec import RawTracepoint
from support.cli import run, start, stop
from support.disks import BLOCK, completed_requests, loop, schedulers, work

pytestmark = pytest.mark.kernel
MEASURES = {"total_ns", "avg_ns", "max_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns"}
WORK = {"reads": 101, "writes": 23, "flushes": 7, "discards": 5}


@contextlib.contextmanager
def record_requests(device, *words):
    """Yield the requests to the device during the block, by operation; filled at the end."""
    tracer = start("biolatency", "-f", "json", "--by", "disk,operation", 60, *words)
    counts: dict[str, int] = {}
    try:
        yield counts
    finally:
        result = stop(tracer)
    assert result.status == 0, result.err
    # A probe that interrupts itself has to do with another disk: this one is asked for one thing at a time.
    assert {loss["reason"] for loss in result.of("loss")} <= {"missed"}
    for record in result.of("summary"):
        buckets = record["latency_ns"]
        assert sum(bucket["count"] for bucket in buckets) == record["requests"]
        if record["disk"] == device.name:
            counts[record["operation"]] = record["requests"]


@pytest.mark.smoke
@pytest.mark.lab
@pytest.mark.parametrize("alternative", ["raw-tracepoint", "tracepoint"])
def test_requests_are_counted_to_the_last_one(tmp_path, alternative):
    with loop(tmp_path) as device, record_requests(device, "--hook", f"block_io={alternative}") as counts:
        result = work(device, **WORK)
    assert counts == result
    assert (result["read"], result["write"], result["flush"]) == (101, 23, 7)


@pytest.mark.lab
def test_with_the_time_in_the_queue_the_kernel_counts_the_same(tmp_path):
    with loop(tmp_path) as device:
        for _ in schedulers(device):
            with record_requests(device, "--queued") as counts:
                before = completed_requests(device)
                with device.open("r+b", buffering=0) as file:
                    # Written back in requests that are put together from many pages.
                    for number in range(1009):
                        file.seek(number * 7 % 1009 * BLOCK)
                        file.write(bytes(BLOCK))
                    os.fsync(file.fileno())
                result = work(device, **WORK)
                after = completed_requests(device)
            flushes = counts.pop("flush")
            counts["write"] += flushes  # each was asked for by a write of nothing, which no disk gets
            grown = {name: after[name] - before[name] for name in after if after[name] > before[name]}
            assert counts == grown
            assert (counts["read"], counts.get("discard"), flushes) == (101, result.get("discard"), 8)
            assert counts["write"] > 23 + 8


@pytest.mark.parametrize(("key", "keys"), [("disk", {"disk"}), ("operation", {"operation"})])
def test_keys_of_histograms(tmp_path, key, keys):
    with loop(tmp_path) as device:
        tracer = start("biolatency", "-f", "json", "--by", key, 60)
        completed_requests = work(device, **WORK)
        result = stop(tracer)
    assert {frozenset(r) for r in result.of("summary")} == {
        frozenset({"kind", "requests", "latency_ns"} | MEASURES | keys)
    }
    totals = {record[key]: record["requests"] for record in result.of("summary")}
    if key == "disk":
        assert totals[device.name] == sum(completed_requests.values())
    else:
        assert all(totals[name] >= count for name, count in completed_requests.items())


def test_a_removed_disk_keeps_its_shown_name(tmp_path):
    with loop(tmp_path) as device:
        tracer = start("biolatency", "--by", "disk", 0.1)
        work(device, reads=23)
        assert tracer.stdout is not None
        for line in tracer.stdout:
            if line.startswith(device.name):
                break
    out = stop(tracer).out
    assert f"{device.name}: 23 requests, latency" in out.partition("whole run")[2]


def test_rows_that_do_not_fit_are_counted(tmp_path):
    with loop(tmp_path) as device:
        tracer = start("biolatency", "-f", "json", "--by", "disk,operation", "--max-rows", 1, "--strict", 60)
        completed_requests = work(device, **WORK)
        result = stop(tracer)
    assert result.status == 3
    shown_requests = sum(record["requests"] for record in result.of("summary"))
    lost = sum(loss["lost"] for loss in result.of("loss") if loss["reason"] == "map_full")
    assert len(result.of("summary")) == 1
    assert lost >= 2  # three operations or four, one row
    assert shown_requests + lost >= sum(completed_requests.values())


@pytest.mark.parametrize("words", [["--", "true"], ["-p", 1], ["--comm", "dd"]])
def test_filters_by_process_are_refused(words):
    result = run("biolatency", *words)
    assert result.status == 2


@pytest.mark.lab
def test_the_number_of_arguments_of_a_raw_tracepoint_is_reported():
    facts = RunningKernel()
    try:
        assert facts.probe(RawTracepoint("", event="block_rq_complete", arguments=3)).is_supported
        answer = facts.probe(RawTracepoint("", event="block_rq_complete", arguments=4))
        assert not answer.is_supported
        assert answer.reason == "the raw tracepoint block_rq_complete has fewer arguments"
        assert not facts.probe(RawTracepoint("", event="block_rq_compleat", arguments=1)).is_supported
    finally:
        facts.close()
