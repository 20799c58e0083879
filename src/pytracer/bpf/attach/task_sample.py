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
from pytracer.bpf.attach.perf_sample import (
    explain_missing_event,
    explain_refusal,
    open_events,
    pack_sampling_attr,
)
from pytracer.bpf.prober import FeatureProber, report_unsupported, report_untried
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import EMPTY
from pytracer.kernel.facts import Support
from pytracer.spec import Rate, TaskSample

_ATTEMPTS = 16


def check_support(probe: TaskSample, prober: FeatureProber) -> Support:
    """Test whether a program can run on samples of this event in tasks, by trying it on the current task."""
    if not (probe.processes or probe.threads or probe.command):
        return Support(False, reason="no process is named")
    if prober.missing_capabilities:
        return report_untried(probe.event)
    try:
        program = prober.program(ProgType.PERF_EVENT, EMPTY)
        attr = pack_sampling_attr(probe.event, Rate(period=1 << 40), inherited=True)
        for descriptor in open_events([(attr, 0, -1)], program):
            os.close(descriptor)
    except OSError as error:
        return report_unsupported(error, explain_missing_event(probe.event))
    # An inherited event begins to count at 0: tasks that live for less than a period are never sampled.
    inherits = not probe.threads and not probe.each
    return Support(True, probe.event, caveat="tasks that end before their first sample" if inherits else "")


def load_attributes(probe: TaskSample) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return perf_sample.load_attributes(probe)


def attach(probe: TaskSample, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: one link for each thread; none for threads that have
    ended.

    Falls back to every CPU if a process creates threads faster than they can be listed.
    """
    attr = pack_sampling_attr(target.name, target.rate, inherited=not probe.threads)
    processes = [target.command] if probe.command else list(probe.processes)
    for _ in range(_ATTEMPTS):
        tasks = list_tasks(processes) | set(probe.threads)
        try:
            descriptors = open_events([(attr, task, -1) for task in sorted(tasks)], program)
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise explain_refusal(error, target) from error
            if probe.threads:
                probe = TaskSample(probe.program, threads=tuple(filter(_is_alive, probe.threads)))
            continue  # a thread has ended
        if list_tasks(processes) <= tasks:
            return [SampleLink(event) for event in descriptors]
        while descriptors:
            os.close(descriptors.pop())
    return perf_sample.attach(probe, target, program)


def list_tasks(processes: list[int]) -> set[int]:
    """Return the threads of those processes that are alive."""
    tasks = set[int]()
    for process in processes:
        with contextlib.suppress(OSError):
            tasks |= {int(task.name) for task in Path(f"/proc/{process}/task").iterdir()}
    return tasks


def _is_alive(thread: int) -> bool:
    return Path(f"/proc/{thread}").is_dir()
