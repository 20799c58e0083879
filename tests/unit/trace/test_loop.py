"""Test a trace's loop: waiting, stopping, counting. The session is simulated, processes and threads are
real."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
import tempfile
import threading

import pytest

from pytracer import api
from pytracer.errors import PytracerError
from pytracer.model import Loss
from pytracer.request import Request
from pytracer.spec import Filter
from pytracer.trace import loop, result_loop
from pytracer.trace.clock import Clock
from pytracer.trace.event_loop import EventLoop
from pytracer.trace.loop import TraceLoop
from support.fake_kernel import FakeKernel
from support.fake_session import FakeSession, batch
from support.hostile_names import hostile_process
from support.serials import tracer


@pytest.fixture
def session_class(monkeypatch):
    monkeypatch.setattr(loop, "Session", type("Of", (FakeSession,), {}))
    monkeypatch.setattr(loop, "check_request", lambda _: None)
    return loop.Session


def open_loop(kind=TraceLoop, *, follow=False, **request) -> TraceLoop:
    return kind(Request(tracer(), **request), FakeKernel)


def flood():
    while True:
        yield batch(100_000)


def pouring_session(session_class) -> None:
    session_class.awake = True
    session_class.source = staticmethod(flood)


@pytest.fixture(autouse=True)
def _no_descriptor_is_left():
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names, to be compared
    yield
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_stop_from_another_thread_wakes_it_up(session_class):
    with open_loop() as open_trace:
        thread = threading.Timer(0.05, open_trace.stop)
        thread.start()
        assert list(open_trace) == []
        thread.join()


def test_the_rest_of_the_ring_is_shown_after_detaching(session_class):
    session_class.rest = 3
    with open_loop() as open_trace:
        open_trace.stop()
        assert [len(item) for item in open_trace] == [1, 1, 1]
        assert open_trace._session.detached == 1


def test_a_flood_does_not_keep_from_stopping(session_class):
    pouring_session(session_class)
    session_class.rest = 1
    with open_loop() as open_trace:
        sizes = []
        for item in open_trace:
            sizes.append(len(item))
            if len(sizes) == 5:
                open_trace.stop()
    assert sizes == [100_000] * 5 + [1]


def test_a_flood_does_not_keep_from_ending_in_time_nor_from_telling_of_losses(session_class):
    pouring_session(session_class)
    session_class.losing = ((Loss("ring_full", 2, "", 0),), (Loss("ring_full", 3, "", 0),), ())
    with open_loop(duration=1.2) as open_trace:  # losses are told every second, and at the end
        losses = [item.lost for item in open_trace if isinstance(item, Loss)]
        assert losses == [2, 3]
        assert open_trace.lost == 5


def test_a_flood_does_not_outlive_the_traced_process(session_class):
    pouring_session(session_class)
    work = subprocess.Popen(["sleep", "0.05"])
    with open_loop(filters={Filter.PID: (work.pid.to_bytes(4, sys.byteorder),)}) as open_trace:
        assert sum(1 for _ in open_trace) > 0
    assert work.wait() == 0


def test_small_batches_are_fetched_now_and_then(session_class):
    """A stream with few events is left alone for a while after each read."""
    read_count = 0

    def trickle():
        nonlocal read_count
        read_count += 1
        while True:
            yield batch()

    session_class.awake = True
    session_class.source = staticmethod(trickle)
    with open_loop(duration=0.2) as open_trace:
        assert sum(1 for _ in open_trace) == read_count


def test_small_batches_that_one_look_gave_are_not_waited_for(session_class):
    read_count = []

    def events():
        read_count.append(len(read_count))
        for remaining in reversed(range(50 if read_count == [0] else 0)):
            open_trace._session.has_pending = remaining > 0
            yield batch()

    session_class.awake = True
    session_class.source = staticmethod(events)
    with open_loop(duration=0.2) as open_trace:
        look_counts = [len(read_count) for _ in open_trace]
    assert look_counts == [1] * 50


def test_a_readable_stream_without_records_is_not_read_again_at_once(session_class):
    """The first record is still being written, by a CPU that is busy with something else."""
    read_count = 0

    def busy():
        nonlocal read_count
        read_count += 1
        return iter(())

    session_class.awake = True
    session_class.source = staticmethod(busy)
    with open_loop(duration=0.2) as open_trace:
        assert list(open_trace) == []
    assert (
        1 < read_count <= 2 * 0.2 / result_loop.NAP + 2
    )  # a nap after each; it may last longer, never shorter


@pytest.fixture(params=["pidfd", "no pidfd"])
def pidfd(request, monkeypatch):
    """With pidfd_open(2), and without (before Linux 5.3)."""

    def absent(*_):
        raise OSError(38, "no")

    if request.param != "pidfd":
        monkeypatch.setattr(os, "pidfd_open", absent)


@pytest.mark.usefixtures("pidfd")
@pytest.mark.parametrize("status", [0, 7])
def test_the_commands_end_is_seen_without_a_signal_handler(monkeypatch, session_class, status):
    monkeypatch.setattr(loop, "make_plan", lambda request, facts: PLAN)
    with open_loop(command=("sh", "-c", f"exit {status}")) as open_trace:
        assert list(open_trace) == []
    assert open_trace.status == status


PLAN = loop.make_plan(Request(tracer()), FakeKernel())


def test_a_trace_that_is_over_before_its_command_ends_it(monkeypatch, session_class):
    monkeypatch.setattr(loop, "make_plan", lambda request, facts: PLAN)
    with open_loop(command=("sleep", "60")) as open_trace:
        items = iter(open_trace)
        open_trace.stop()
        assert list(items) == []
        pid = open_trace._command.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_trace_is_iterated_once_and_while_it_is_open(session_class):
    with open_loop() as open_trace:
        open_trace.stop()
        list(open_trace)
        with pytest.raises(RuntimeError, match="once"):
            iter(open_trace)
    other = open_loop()
    other.close()
    with pytest.raises(RuntimeError, match="closed"):
        iter(other)


def test_leaving_early_and_errors_of_the_caller_close_it_once(session_class):
    pouring_session(session_class)
    with open_loop() as early:
        for _ in early:
            break
    assert early._session.closed == 1
    early.close()
    assert early._session.closed == 1
    broken = open_loop()
    with pytest.raises(ZeroDivisionError), broken:
        next(iter(broken)).records[0] = 1 // 0
    assert broken._session.closed == 1


def test_a_failed_start_leaves_nothing(monkeypatch, session_class):
    def no_facts():
        raise PytracerError("no kernel today")

    with pytest.raises(PytracerError, match="today"):
        TraceLoop(Request(tracer(), command=("sleep", "60")), no_facts)


def test_stopping_a_closed_trace_writes_to_no_other_file(session_class):
    with tempfile.TemporaryFile() as file:
        open_trace = open_loop()
        numbers = [open_trace._events._read, open_trace._events._write]
        open_trace.close()
        for number in numbers:
            os.dup2(file.fileno(), number)
        open_trace.stop()
        for number in numbers:
            os.close(number)
        assert file.seek(0, os.SEEK_END) == 0


def test_async_iteration(session_class):
    session_class.rest = 2

    async def run():
        with open_loop(api.Trace) as open_trace:
            asyncio.get_running_loop().call_later(0.05, open_trace.stop)
            return [len(item) async for item in open_trace]

    assert asyncio.run(run()) == [1, 1]


def test_async_iteration_that_is_cancelled_waits_for_its_thread(session_class):
    async def run():
        with open_loop(api.Trace) as open_trace:

            async def consume():
                async for _ in open_trace:
                    pass

            task = asyncio.create_task(consume())
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert open_trace._session.detached == 1  # the thread has come to the end of its trace
        return True

    assert asyncio.run(run())


@pytest.mark.usefixtures("pidfd")
def test_waiting_for_a_stream_and_for_processes():
    waiting = EventLoop()
    read_fd, write_fd = os.pipe()
    try:
        os.write(write_fd, b"x")
        waiting.wait(None, read_fd)
        waiting.wait(0)
        work = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        waiting.watch_exit([work.pid])
        assert not waiting.all_exited
        work.stdin.close()
        while not waiting.all_exited:
            waiting.wait(None)
        work.wait()
        waiting.watch_exit([work.pid])  # there is none of that number any more
        assert waiting.all_exited
        for _ in range(100_000):  # more than a pipe holds
            waiting.stop()
        waiting.wait(None)
        assert waiting.stop_requested(command=False)
        assert select.select([read_fd], [], [], 0)[0]
    finally:
        waiting.close()
        os.close(read_fd)
        os.close(write_fd)


def clock(**request) -> Clock:
    return Clock(Request(tracer(), **request), 1.0, 100.0)


def test_a_clock_ticks_every_interval():
    ticker = clock(interval=0.5)
    assert ticker.next == 100.5
    assert not ticker.is_due(100.4)
    assert not ticker.tick(100.4)
    assert ticker.is_due(100.5)
    assert ticker.tick(100.5)
    assert ticker.next == 101.0
    assert ticker.tick(107.25)  # a pause: one tick for all that it missed
    assert ticker.next == 107.5
    assert not ticker.tick(107.4)


def test_a_clock_counts_its_intervals_and_ends():
    ticker = clock(interval=10.0, count=2, duration=15.0)
    assert ticker.tick(110.0)
    assert not ticker.is_complete
    assert ticker.next == 115.0
    assert not ticker.is_over(114.9)
    assert ticker.is_over(115.0)
    assert ticker.tick(120.0)
    assert ticker.is_complete


def test_a_clock_without_an_interval():
    ticker = Clock(Request(tracer()), None, 100.0)
    assert ticker.next is None
    assert not ticker.is_due(1e9)
    assert not ticker.tick(1e9)
    assert not ticker.is_over(1e9)


def test_a_process_is_recognized_with_any_name():
    with hostile_process() as pid:
        assert loop._is_process(pid)
    assert not loop._is_process(pid)
