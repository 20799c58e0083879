"""Attach to trace events of tracefs by perf_event_open and PERF_EVENT_IOC_SET_BPF, or a link."""

from __future__ import annotations

import errno
import os

from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.perf import (
    TraceEventLink,
    attach_linked,
    attach_program,
    pack_event_attr,
    takes_several,
)
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import (
    FeatureProber,
    report_error,
    report_unsupported,
    report_untried,
)
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import EMPTY
from pytracer.errors import PytracerError, UnsupportedError
from pytracer.kernel import tracefs
from pytracer.kernel.facts import Support
from pytracer.spec import Tracepoint

PERF_TYPE_TRACEPOINT = 2

_TAKEN = "the trace event {} has a program, and takes no second one (Linux 4.15)"
_OTHERS = "pytracer prog lists programs and who holds them"


def check_support(probe: Tracepoint, prober: FeatureProber) -> Support:
    """Test whether the event exists and its category accepts programs."""
    if prober.missing_capabilities:
        return report_untried(probe.target)
    try:
        if not tracefs.has_event(probe.category, probe.event):
            return Support(False, reason=f"no trace event {probe.target}")
        _try_category(probe, prober)
    except PytracerError as reason:
        return report_error(reason)
    except OSError as error:
        if error.errno == errno.EEXIST:
            return Support(False, reason=_TAKEN.format(probe.target))
        return report_unsupported(error, f"the trace event {probe.target} takes no program")
    return Support(True, probe.target, target_id_source=prober.target_id_source(probe, ProgType.TRACEPOINT))


def _try_category(probe: Tracepoint, prober: FeatureProber) -> None:
    """Attach a program to one event of a category; the others of the category behave alike.

    Categories differ: Linux 4.9 accepts none on ``syscalls``. Raises OSError.
    """
    results = prober.categories
    if probe.category not in results:
        results[probe.category] = None
        number = tracefs.event_id(probe.category, probe.event)
        try:
            program = prober.program(ProgType.TRACEPOINT, EMPTY)
            event = attach_program(pack_event_attr(PERF_TYPE_TRACEPOINT, number), program)
        except OSError as error:
            results[probe.category] = error
        else:
            if takes_several(event):
                prober.keep_event(event)
            else:  # the trial would keep out what it is made for
                os.close(event)
    refusal = results[probe.category]
    if refusal is not None:
        raise refusal


def load_attributes(_: Tracepoint) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.TRACEPOINT)


def attach(_: Tracepoint, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    category, _colon, event = target.name.partition(":")
    number = tracefs.event_id(category, event)
    try:
        return [
            TraceEventLink(
                attach_linked(pack_event_attr(PERF_TYPE_TRACEPOINT, number), program, target.cookies)
            )
        ]
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise UnsupportedError(_TAKEN.format(target.name), hint=_OTHERS) from error
        raise make_attach_error(error, f"tracepoint {target.name}") from error
