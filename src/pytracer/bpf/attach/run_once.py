"""Run a program once: when it is attached, or when it is detached."""

from __future__ import annotations

import contextlib
import os

from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import FeatureProber
from pytracer.bpf.sys import ProgType, test_run
from pytracer.kernel.facts import Support
from pytracer.spec import RunOnce


class _RunAtDetach(Link):
    """Runs the program when it is detached."""

    def detach(self) -> None:
        """See Link."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):  # it ran as the trace was set up, or not at all
                test_run(self.fd)
        super().detach()


def check_support(probe: RunOnce, _kernel: FeatureProber, /) -> Support:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return Support(True, probe.target)


def load_attributes(_: RunOnce) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: as for raw tracepoints."""
    return LoadAttributes(ProgType.RAW_TRACEPOINT)


def attach(probe: RunOnce, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    if probe.at_end:
        return [_RunAtDetach(os.dup(program))]
    try:
        test_run(program)
    except OSError as error:
        raise make_attach_error(error, target.name) from error
    return []
