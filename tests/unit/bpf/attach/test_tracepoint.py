"""Test what is said of trace events that take one program, as before Linux 4.15."""

import errno
import os
from types import SimpleNamespace

import pytest

from pytracer.bpf.attach import tracepoint
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.errors import UnsupportedError
from pytracer.kernel.facts import TargetIdSource
from pytracer.spec import Tracepoint

PROBE = Tracepoint("forked", category="sched", event="sched_process_fork")
REASON = "the trace event sched:sched_process_fork has a program, and takes no second one (Linux 4.15)"


@pytest.fixture
def prober(monkeypatch):
    monkeypatch.setattr(tracepoint.tracefs, "has_event", lambda category, event: True)
    monkeypatch.setattr(tracepoint.tracefs, "event_id", lambda category, event: 7)
    kept = []
    return SimpleNamespace(
        missing_capabilities=[],
        categories={},
        kept=kept,
        keep_event=kept.append,
        program=lambda kind, code: 5,
        target_id_source=lambda probe, kind: TargetIdSource.PROGRAM,
    )


def refuse(*_):
    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))


def test_an_event_that_has_a_program(prober, monkeypatch):
    monkeypatch.setattr(tracepoint, "attach_program", refuse)
    monkeypatch.setattr(tracepoint, "attach_linked", refuse)
    answer = tracepoint.check_support(PROBE, prober)
    assert (answer.is_supported, answer.reason) == (False, REASON)
    with pytest.raises(UnsupportedError) as problem:
        tracepoint.attach(PROBE, AttachTarget(PROBE.target), 5)
    assert (problem.value.message, "pytracer prog" in problem.value.hint) == (REASON, True)


@pytest.mark.parametrize("several", [False, True])
def test_a_trial_is_kept_where_it_keeps_nobody_out(several, prober, monkeypatch):
    first, second = os.pipe()
    monkeypatch.setattr(tracepoint, "attach_program", lambda attr, program: first)
    if several:  # else the kernel's own answer about a descriptor that takes no such request: a pipe
        monkeypatch.setattr(tracepoint, "takes_several", lambda event: True)
    assert tracepoint.check_support(PROBE, prober).is_supported
    assert prober.kept == ([first] if several else [])
    os.close(second)
    if several:
        os.close(first)
    else:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(first)
