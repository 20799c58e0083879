"""Test pytracer.open on a real kernel."""

from __future__ import annotations

import asyncio

import pandas
import pyarrow
import pytest

import pytracer
from pytracer.model import Batch, Snapshot
from support.workloads import workload

pytestmark = pytest.mark.kernel


def getppids(items) -> int:
    """Return how many calls of that name the last of the items, the whole run, has."""
    assert isinstance(items[-1], Snapshot)
    assert items[-1].kind == "summary"
    return sum(row["calls"] for row in items[-1].rows() if row["syscall"] == "getppid")


def test_a_command_is_traced_to_its_end():
    with pytracer.open("syscalls", command=[workload("calls"), "getppid", "23"]) as trace:
        assert [column.name for column in trace.schema.columns][:2] == ["syscall", "calls"]
        items = list(trace)
    assert getppids(items) == 23
    assert (trace.status, trace.lost) == (0, 0)


def test_intervals_and_async_iteration():
    async def run():
        with pytracer.open("syscalls", command=[workload("calls"), "getppid", "23"], interval=0.05) as trace:
            return [item async for item in trace]

    items = asyncio.run(run())
    assert getppids(items) == 23
    rows = [item for item in items[:-1] if isinstance(item, Snapshot)]
    assert {item.kind for item in rows} == {"row"}
    assert sum(row["calls"] for item in rows for row in item.rows() if row["syscall"] == "getppid") == 23


@pytest.fixture
def trace_batches():
    """Trace 23 opens that fail and 7 that succeed."""
    script = f"{workload('opens')} openat 0 23 /pt/not/there; {workload('opens')} open 0 7 /dev/null"
    with pytracer.open("opensnoop", comm="opens", command=["sh", "-c", script]) as trace:
        yield (item for item in trace if isinstance(item, Batch))
    assert trace.lost == 0


def test_events_as_arrow_tables(trace_batches):
    table = pyarrow.concat_tables(batch.to_arrow() for batch in trace_batches)
    assert table["fd"].to_pylist() == [None] * 23 + list(range(3, 10))
    assert table["err"].to_pylist() == ["ENOENT"] * 23 + [None] * 7
    assert table["path"].to_pylist() == ["/pt/not/there"] * 23 + ["/dev/null"] * 7
    assert table["time"].to_pylist() == sorted(table["time"].to_pylist())


def test_events_as_data_frames(trace_batches):
    frame = pandas.concat([batch.to_pandas() for batch in trace_batches])
    assert frame["fd"].isna().sum() == 23
    assert frame["fd"].dropna().tolist() == list(range(3, 10))
    assert frame["path"].value_counts().to_dict() == {"/pt/not/there": 23, "/dev/null": 7}
    assert sorted(frame.groupby("pid").size()) == [7, 23]


def test_the_output_of_a_command_can_be_captured(tmp_path):
    with (
        (tmp_path / "both").open("w+b") as output,
        pytracer.open(
            "syscalls", command=["sh", "-c", "echo out; echo err >&2"], stdout=output, stderr=output.fileno()
        ) as trace,
    ):
        items = list(trace)
    assert (tmp_path / "both").read_text() == "out\nerr\n"
    assert isinstance(items[-1], Snapshot)
    assert trace.status == 0
