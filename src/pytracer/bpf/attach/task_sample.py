"""Run a program on samples of the perf events of certain tasks, on whichever CPU they run.

An event is for one thread, and inherited by threads that it creates. So each thread of a process gets one.
A thread born meanwhile may or may not have inherited one; then all events are removed and attached again.

Events that the kernel counts (faults, switches) are sampled each time unless a rate is given; such samples
are not throttled. With a rate, an inherited event starts counting at 0, so many short tasks would never
reach a sample: CPUs are sampled then, unless a single thread is named.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from pytracer.bpf.attach import perf_sample
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.perf import SampleLink
from pytracer.bpf.attach.perf_sample import explain_refusal, missing_event, open_events, sampling
from pytracer.bpf.prober import FeatureProber, assumed, unsupported
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import EMPTY
from pytracer.kernel.facts import Support
from pytracer.spec import Rate, TaskSample

_ATTEMPTS = 16


def check_support(probe: TaskSample, kernel: FeatureProber) -> Support:
    """Test whether a program can run on samples of this event in tasks, by trying it on the current task."""
    if not (probe.processes or probe.threads or probe.command):
        return Support(False, reason="no process is named")
    if kernel.missing_capabilities:
        return assumed(probe.event)
    try:
        program = kernel.program(ProgType.PERF_EVENT, EMPTY)
        attr = sampling(probe.event, Rate(period=1 << 40), inherited=True)
        for descriptor in open_events([(attr, 0, -1)], program):
            os.close(descriptor)
    except OSError as error:
        return unsupported(error, missing_event(probe.event))
    # An inherited event begins to count at 0: tasks that live for less than a period are never sampled.
    inherits = not probe.threads and not probe.each
    return Support(True, probe.event, caveat="tasks that end before their first sample" if inherits else "")


def load_attributes(probe: TaskSample) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return perf_sample.load_attributes(probe)


def attach(probe: TaskSample, place: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: one link for each thread; none for what has ended.

    Falls back to every CPU if a process creates threads faster than they can be listed.
    """
    attr = sampling(place.name, place.rate, inherited=not probe.threads)
    processes = [place.command] if probe.command else list(probe.processes)
    for _ in range(_ATTEMPTS):
        tasks = tasks_of(processes) | set(probe.threads)
        try:
            opened = open_events([(attr, task, -1) for task in sorted(tasks)], program)
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise explain_refusal(error, place) from error
            if probe.threads:
                probe = TaskSample(probe.program, threads=tuple(filter(_lives, probe.threads)))
            continue  # a thread has ended
        if tasks_of(processes) <= tasks:
            return [SampleLink(event) for event in opened]
        while opened:
            os.close(opened.pop())
    return perf_sample.attach(probe, place, program)


def tasks_of(processes: list[int]) -> set[int]:
    """Return the threads of those processes that are alive."""
    tasks = set[int]()
    for process in processes:
        with contextlib.suppress(OSError):
            tasks |= {int(task.name) for task in Path(f"/proc/{process}/task").iterdir()}
    return tasks


def _lives(thread: int) -> bool:
    return Path(f"/proc/{thread}").is_dir()
