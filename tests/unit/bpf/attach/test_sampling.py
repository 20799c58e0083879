"""Test attaching to samples: all or nothing, and each thread once."""

from __future__ import annotations

import errno
import os

import pytest

from pytracer.bpf.attach import perf_sample, task_sample
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.errors import AttachError, UsageError
from pytracer.spec import PerfSample, Rate, TaskSample

PLACE = AttachTarget("page-faults", rate=Rate(period=1))


@pytest.fixture
def opened_events(monkeypatch):
    """Record the tasks and CPUs that events were opened for, and the open descriptors."""
    requests = []

    def perf_event_open(_attr, task, cpu):
        requests.append((task, cpu))
        return os.open("/dev/null", os.O_RDONLY)

    monkeypatch.setattr(perf_sample, "perf_event_open", perf_event_open)
    monkeypatch.setattr(perf_sample.fcntl, "ioctl", lambda *_: 0)
    return requests


def descriptors():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def closed(links):
    for link in links:
        link.close()


def test_one_event_is_opened_for_each_cpu(monkeypatch, opened_events):
    monkeypatch.setattr(perf_sample, "online_cpus", lambda: [0, 3])
    closed(perf_sample.attach(PerfSample(""), PLACE, 7))
    assert opened_events == [(-1, 0), (-1, 3)]


def test_an_error_while_opening_leaves_nothing_open(monkeypatch, opened_events):
    monkeypatch.setattr(perf_sample, "online_cpus", lambda: [0, 1, 2])
    calls = iter([0, 0, 0, 0, OSError(errno.EEXIST, "there is one")])

    def ioctl(*_words):
        answer = next(calls)
        if isinstance(answer, OSError):
            raise answer

    monkeypatch.setattr(perf_sample.fcntl, "ioctl", ioctl)
    before = descriptors()
    with pytest.raises(AttachError):
        perf_sample.attach(PerfSample(""), PLACE, 7)
    assert len(opened_events) == 3
    assert descriptors() == before


def test_a_rate_above_the_kernels_limit_is_refused(monkeypatch, opened_events):
    def refuse(*_words):
        raise OSError(errno.EINVAL, "no")

    monkeypatch.setattr(perf_sample, "perf_event_open", refuse)
    monkeypatch.setattr(perf_sample, "read_sysctl", lambda _name: 1000)
    with pytest.raises(UsageError, match="at most 1000 samples"):
        task_sample.attach(
            TaskSample("", threads=(1,)), AttachTarget("cpu-clock", rate=Rate(frequency=1001)), 7
        )


def test_one_event_is_opened_for_each_thread_of_each_process(monkeypatch, opened_events):
    monkeypatch.setattr(
        task_sample, "list_tasks", lambda processes: {p * 10 + n for p in processes for n in (0, 1)}
    )
    closed(task_sample.attach(TaskSample("", processes=(1, 2)), PLACE, 7))
    assert opened_events == [(10, -1), (11, -1), (20, -1), (21, -1)]


def test_threads_created_meanwhile_make_it_attach_again(monkeypatch, opened_events):
    task_sets = iter([{1}, {1, 2}, {1, 2}, {1, 2, 3}, {2, 3}, {2, 3}])
    monkeypatch.setattr(task_sample, "list_tasks", lambda _processes: next(task_sets))
    before = descriptors()
    links = task_sample.attach(TaskSample("", processes=(1,)), PLACE, 7)
    assert opened_events == [(1, -1), (1, -1), (2, -1), (2, -1), (3, -1)]
    assert len(links) == 2
    closed(links)
    assert descriptors() == before


def test_a_process_that_creates_threads_too_fast_is_sampled_by_cpus(monkeypatch, opened_events):
    monkeypatch.setattr(perf_sample, "online_cpus", lambda: [0])
    threads = set()

    def tasks(_processes):
        threads.add(len(threads))
        return set(threads)

    monkeypatch.setattr(task_sample, "list_tasks", tasks)
    before = descriptors()
    links = task_sample.attach(TaskSample("", processes=(1,)), PLACE, 7)
    assert opened_events[-1] == (-1, 0)
    closed(links)
    assert descriptors() == before


def test_a_thread_that_has_ended_is_left_out(monkeypatch, opened_events):
    really = perf_sample.perf_event_open

    def perf_event_open(attr, task, cpu):
        if task == 2:
            raise OSError(errno.ESRCH, "it has ended")
        return really(attr, task, cpu)

    monkeypatch.setattr(perf_sample, "perf_event_open", perf_event_open)
    monkeypatch.setattr(task_sample, "_is_alive", lambda thread: thread != 2)
    closed(task_sample.attach(TaskSample("", threads=(1, 2)), PLACE, 7))
    assert opened_events[-1] == (1, -1)
