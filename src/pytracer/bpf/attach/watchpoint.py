"""Run a program when memory is read, written or executed: perf events on the debug registers of the CPUs."""

from __future__ import annotations

import errno
import struct

from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.perf import ATTR_SIZE, SampleLink
from pytracer.bpf.attach.perf_sample import open_events
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.attach.task_sample import list_tasks
from pytracer.bpf.prober import FeatureProber, report_untried
from pytracer.bpf.sys import ProgType
from pytracer.errors import UnsupportedError
from pytracer.kernel.cpus import online_cpus
from pytracer.kernel.facts import Support
from pytracer.spec import Watchpoint

_BREAKPOINT = 5  # PERF_TYPE_BREAKPOINT
_MODES = {"r": 1, "w": 2, "x": 4}  # HW_BREAKPOINT_R, _W, _X
_DISABLED, _INHERIT = 1 << 0, 1 << 1  # bits of struct perf_event_attr


def check_support(probe: Watchpoint, prober: FeatureProber) -> Support:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`. A free debug register is found only by attaching."""
    return report_untried(probe.target) if prober.missing_capabilities else Support(True, probe.target)


def load_attributes(_: Watchpoint) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.PERF_EVENT)


def attach(probe: Watchpoint, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: a link for each thread, or for each online CPU."""
    processes = [*probe.processes, *([target.command] if probe.command else [])]
    attr = _pack_attr(probe, inherited=bool(processes))
    if processes:
        events = [(attr, task, -1) for task in sorted(list_tasks(processes))]
    else:
        events = [(attr, -1, cpu) for cpu in online_cpus()]
    try:
        return [SampleLink(event) for event in open_events(events, program)]
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise UnsupportedError(
                f"this processor cannot watch {probe.target}",
                hint="an address is a multiple of the length: 1, 2, 4 or 8; x takes length "
                f"{struct.calcsize('l')}; r alone may be impossible",
            ) from error
        if error.errno == errno.ENOSPC:
            raise UnsupportedError("all debug registers of the processor are in use") from error
        raise make_attach_error(error, f"the watchpoint at {probe.target}") from error


def _pack_attr(probe: Watchpoint, *, inherited: bool) -> bytes:
    mode = sum(_MODES[letter] for letter in probe.mode)
    length = struct.calcsize("l") if probe.mode == "x" else probe.length
    flags = _DISABLED | (_INHERIT if inherited else 0)
    head = (_BREAKPOINT, ATTR_SIZE, 0, 1, 0, 0, flags, 1, mode, probe.address, length)
    return struct.pack("IIQQQQQIIQQ", *head).ljust(ATTR_SIZE, b"\0")
