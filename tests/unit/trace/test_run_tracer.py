"""Test the end of a run of the command line: events that are still shown, and those that are counted
instead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from pytracer import progress
from pytracer.errors import LossError
from pytracer.model import Batch, Loss
from pytracer.request import Request
from pytracer.sinks.json import JsonSink
from pytracer.trace import loop, run_tracer
from support.fake_kernel import FakeKernel
from support.fake_session import FakeSession, batch
from support.serials import tracer

EVENTS = 10_000  # of a batch: several times as many as are shown between two looks at the clock


class Shown:
    """A sink, and its output, that sends a signal at the first event and then behaves as requested."""

    def __init__(self, *numbers: int, then=lambda: None, full: bool = False) -> None:
        self.numbers, self.then, self.full = list(numbers), then, full
        self.lines = self.dropped = 0
        self.is_terminal = False
        self.items: list = []
        self.is_closed = False

    def open(self, schema) -> None:
        pass

    def emit(self, item) -> None:
        if self.numbers:
            os.kill(os.getpid(), self.numbers.pop(0))
        if isinstance(item, Batch):
            self.then()
        self.items.append(item)

    def close(self) -> None:
        self.is_closed = True

    def is_full(self) -> bool:
        return self.full

    def drop(self) -> None:
        self.dropped += 1
        self.then = lambda: None

    @property
    def events(self) -> int:
        return sum(len(item) for item in self.items if isinstance(item, Batch))

    @property
    def losses(self) -> dict[str, int]:
        return {item.reason: item.lost for item in self.items if isinstance(item, Loss)}


@pytest.fixture
def session_class(monkeypatch):
    """Return a session with a batch, and three more in the ring once everything is detached."""
    monkeypatch.setattr(
        loop, "Session", type("Of", (FakeSession,), {"awake": True, "rest": 3, "size": EVENTS})
    )
    monkeypatch.setattr(loop, "check_request", lambda _: None)
    batches = iter([batch(EVENTS)])
    loop.Session.source = staticmethod(lambda: batches)
    return loop.Session


@pytest.fixture(autouse=True)
def _nothing_is_shown_in_any_case(monkeypatch):
    monkeypatch.setattr(run_tracer, "LEAST", 0)


def run_to_end(sink, *, strict: bool = False, **request) -> tuple[int, list[str]]:
    """Return the exit status, and the warnings."""
    warnings = []
    status = run_tracer.run(
        Request(tracer(), **request),
        FakeKernel,
        sink,
        log=lambda _: None,
        warn=warnings.append,
        is_strict=strict,
        output=sink,
    )
    return status, warnings


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_a_signal_events_are_shown_for_a_moment_and_the_rest_is_counted(
    monkeypatch, session_class, number
):
    monkeypatch.setattr(run_tracer, "TEXT_LIMIT", 0.0)
    sink = Shown(number)
    assert run_to_end(sink)[0] == 0
    assert 0 < sink.events <= run_tracer._ROWS
    assert sink.losses == {"unshown": 4 * EVENTS - sink.events}
    assert sink.is_closed


def test_events_shown_in_time_are_not_lost(monkeypatch, session_class):
    monkeypatch.setattr(run_tracer, "TEXT_LIMIT", 60.0)
    sink = Shown(signal.SIGINT)
    run_to_end(sink)
    assert (sink.events, sink.losses) == (4 * EVENTS, {})
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_the_events_of_a_short_trace_are_all_shown_on_a_slow_machine(monkeypatch, session_class):
    monkeypatch.setattr(run_tracer, "TEXT_LIMIT", 0.0)
    monkeypatch.setattr(run_tracer, "LEAST", 4 * EVENTS)
    sink = Shown(signal.SIGINT)
    run_to_end(sink)
    assert (sink.events, sink.losses) == (4 * EVENTS, {})


def test_everything_is_shown_after_the_duration(monkeypatch, session_class):
    monkeypatch.setattr(run_tracer, "TEXT_LIMIT", 0.0)
    session_class.source, session_class.rest = (
        staticmethod(lambda: iter(())),
        4,
    )  # time may be up before anything is read
    sink = Shown()
    run_to_end(sink, duration=0.01)
    assert (sink.events, sink.losses) == (4 * EVENTS, {})


@pytest.mark.parametrize(("status", "everything"), [("exit 3", True), ("kill -INT $$", False)])
def test_everything_is_shown_after_the_command_ended(monkeypatch, session_class, status, everything):
    """Ctrl-C that ended the command was meant for pytracer, too."""
    monkeypatch.setattr(run_tracer, "TEXT_LIMIT", 0.0)
    plan = loop.make_plan(Request(tracer()), FakeKernel())
    monkeypatch.setattr(loop, "make_plan", lambda request, facts: plan)
    session_class.source, session_class.rest = staticmethod(lambda: iter(())), 4
    sink = Shown()
    sink.open = lambda _: os.kill(os.getpid(), signal.SIGINT)  # which a shell's command gets, too
    run_to_end(sink, command=("sh", "-c", status))
    assert (sink.events == 4 * EVENTS) == everything
    assert sink.events + sum(sink.losses.values()) == 4 * EVENTS


def test_unshown_events_are_a_loss_under_strict(monkeypatch, session_class):
    monkeypatch.setattr(run_tracer, "TEXT_LIMIT", 0.0)
    sink = Shown(signal.SIGINT)
    with pytest.raises(LossError, match=r"\d+ lost"):
        run_to_end(sink, strict=True)


def test_other_losses_are_reported_though_the_output_was_ended(monkeypatch, session_class):
    monkeypatch.setattr(run_tracer, "TEXT_LIMIT", 0.0)
    session_class.losing = ((Loss("ring_full", 3, "", 0),),)
    sink = Shown(signal.SIGINT)
    run_to_end(sink)
    assert sink.losses["ring_full"] == 3


def test_a_write_that_waits_for_its_reader_does_not_keep_anything_attached(monkeypatch, session_class):
    monkeypatch.setattr(run_tracer, "STUCK_LIMIT", 0.05)
    blocked = threading.Event()
    sink = Shown(signal.SIGTERM, then=blocked.wait, full=True)
    status, warnings = run_to_end(sink)
    assert (status, sink.dropped, sink.events) == (0, 1, 0)
    assert warnings == [f"lost: {4 * EVENTS} {loop.UNSHOWN_MEANING}"]


def test_a_signal_before_the_output_was_opened_limits_it_too(monkeypatch, session_class):
    monkeypatch.setattr(run_tracer, "STUCK_LIMIT", 0.05)
    original, blocked = session_class.__init__, threading.Event()
    session_class.__init__ = lambda self, *a, **k: (
        original(self, *a, **k),
        os.kill(os.getpid(), signal.SIGTERM),
    )[0]
    sink = Shown(then=blocked.wait, full=True)
    status, warnings = run_to_end(sink)
    assert (status, sink.dropped, sink.events) == (0, 1, 0)
    assert warnings == [f"lost: {3 * EVENTS} {loop.UNSHOWN_MEANING}"]


def test_a_write_that_waits_is_given_up_within_a_second():
    """The rest of the second is for the start and end of Python."""
    assert run_tracer.TEXT_LIMIT <= run_tracer.STUCK_LIMIT <= 0.7


def test_lines_that_the_reader_can_still_have_are_not_lost(monkeypatch, session_class):
    monkeypatch.setattr(run_tracer, "STUCK_LIMIT", 0.05)
    blocked = threading.Event()
    sink = Shown(signal.SIGTERM, full=True)

    def write() -> None:
        sink.lines = 23
        blocked.wait()

    sink.then = write
    assert run_to_end(sink) == (0, [f"lost: {4 * EVENTS - 23} {loop.UNSHOWN_MEANING}"])


def test_slow_formatting_without_waiting_is_shown(monkeypatch, session_class):
    """Formatting events takes seconds on a slow machine."""
    monkeypatch.setattr(run_tracer, "STUCK_LIMIT", 0.01)
    monkeypatch.setattr(run_tracer, "TEXT_LIMIT", 60.0)
    alarms = []
    sink = Shown(signal.SIGTERM)
    is_full = sink.is_full
    sink.is_full = lambda: (alarms.append(1), is_full())[1]

    def work() -> None:
        while len(alarms) < 3:
            pass

    sink.then = work
    assert run_to_end(sink) == (0, [])
    assert (sink.events, sink.losses, sink.dropped) == (4 * EVENTS, {}, 0)


@pytest.mark.parametrize("when", ["emit", "close"])
def test_neither_a_loss_nor_the_last_flush_waits_for_a_reader(monkeypatch, session_class, when):
    """Text that is not written then goes to standard error."""
    monkeypatch.setattr(run_tracer, "STUCK_LIMIT", 0.05)
    blocked = threading.Event()
    sink = Shown(signal.SIGINT, full=True)
    session_class.losing = ((Loss("ring_full", 3, "of the ring", 0),),)
    plain = getattr(sink, when)

    def waits(*items) -> None:
        if not sink.dropped and not any(isinstance(item, Batch) for item in items):
            blocked.wait()
        plain(*items)

    setattr(sink, when, waits)
    monkeypatch.setattr(run_tracer, "TEXT_LIMIT", 60.0)
    status, warnings = run_to_end(sink)
    assert (status, sink.dropped, sink.events, sink.is_closed) == (0, 1, 4 * EVENTS, True)
    assert warnings == (["lost: 3 of the ring"] if when == "emit" else [])


def test_a_second_interrupt_skips_the_output_and_removes_everything(monkeypatch, session_class):
    monkeypatch.setattr(run_tracer, "TEXT_LIMIT", 60.0)
    monkeypatch.setattr(run_tracer, "STUCK_LIMIT", 60.0)
    blocked = threading.Event()

    def wait() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        blocked.wait()

    closed = []
    monkeypatch.setattr(
        session_class, "close", lambda self: (closed.append(self.detached), FakeSession.close(self))
    )
    sink = Shown(signal.SIGINT, then=wait)
    status, warnings = run_to_end(sink)
    assert (status, sink.dropped, sink.events) == (0, 1, 0)
    assert warnings == [f"lost: {4 * EVENTS} {loop.UNSHOWN_MEANING}"]
    assert len(closed) == 1
    assert closed[0] > 0


def test_lines_of_json_are_whole_where_events_end(monkeypatch, session_class, tmp_path):
    monkeypatch.setattr(run_tracer, "TEXT_LIMIT", 0.0)
    with (tmp_path / "out").open("w") as file:
        sink = Shown(signal.SIGINT)
        real = JsonSink(file, timestamps=False)
        sink.open, sink.close = real.open, real.close
        emit = sink.emit
        sink.emit = lambda item: (emit(item), real.emit(item))
        run_to_end(sink)
    lines = (tmp_path / "out").read_text().splitlines()
    assert len(lines) == sink.events + 1
    assert lines[-1].startswith('{"kind": "loss", "time_ns": ')
    assert '"reason": "unshown"' in lines[-1]


def test_a_batch_is_shown_in_its_order(monkeypatch, session_class):
    records = np.zeros(EVENTS, dtype=batch().records.dtype)
    records["serial"] = range(EVENTS)
    complete = Batch(("serial",), records, records["ns"].astype("i8"), lambda name, rows: rows[name])
    batches = iter([complete])
    session_class.source, session_class.rest = staticmethod(lambda: batches), 0
    sink = Shown()
    run_to_end(sink, duration=0.01)
    assert np.concatenate([item.column("serial") for item in sink.items]).tolist() == list(range(EVENTS))


def test_a_slow_end_is_reported(monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS", 0.001)
    messages, enough = [], threading.Event()

    def say(line: str) -> None:
        messages.append(line)
        if len(messages) == 3:
            enough.set()

    with progress.announce_if_slow(say, lambda: f"line {len(messages)}"):
        enough.wait()
    assert messages[:3] == ["line 0", "line 1", "line 2"]
    messages.clear()
    monkeypatch.setattr(progress, "_SECONDS", 1000.0)
    with progress.announce_if_slow(messages.append, lambda: "never"):
        pass
    assert messages == []


@pytest.mark.parametrize("is_terminal", [False, True])
def test_the_last_results_are_reported_unless_they_are_on_the_same_terminal(
    monkeypatch, session_class, is_terminal
):
    monkeypatch.setattr(progress, "_SECONDS", 0.001)
    monkeypatch.setattr(session_class, "unread_bytes", 3 << 20)
    session_class.source, session_class.rest = staticmethod(lambda: iter(())), 1
    lines, shown = list[str](), threading.Event()

    def report(line: str) -> None:
        if "last results" in line:
            lines.append(line)
            shown.set()

    def write() -> None:
        if is_terminal:
            lines.clear()  # of the moment before it wrote
        shown.wait(0.02 if is_terminal else None)

    sink = Shown(then=write)
    sink.is_terminal = is_terminal
    previous = progress.report_to(report)
    try:
        run_to_end(sink, duration=0.01)
    finally:
        progress.report_to(previous)
    expected = [] if is_terminal else [f"pytracer: writing the last results [{'.' * 30}] 0 of 3 MiB"]
    assert lines[:1] == expected


MASKS = """
from pathlib import Path
from pytracer import arrays, progress
arrays.load()
with progress.announce_if_slow(print, str):
    for task in Path("/proc/self/task").iterdir():
        print(task.name, *(line for line in (task / "status").read_text().splitlines() if "SigBlk" in line))
"""


def test_signals_interrupt_the_main_thread_and_no_other():
    """Of two signals at once, the second may go to another thread, and leave a write waiting."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    running = subprocess.Popen(
        [sys.executable, "-c", MASKS], stdout=subprocess.PIPE, text=True, env=environment
    )
    lines = running.communicate()[0].splitlines()
    masks = {int(thread): int(mask, 16) for thread, _, mask in map(str.split, lines)}
    assert masks.pop(running.pid) == 0
    assert len(masks) >= 1
    for mask in masks.values():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD):
            assert mask >> number - 1 & 1
