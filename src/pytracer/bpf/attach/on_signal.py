"""Run a program when pytracer itself gets a signal."""

from __future__ import annotations

import contextlib
import os
from types import FrameType

from pytracer import inherited
from pytracer.bpf.attach import run_once
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.prober import FeatureProber
from pytracer.bpf.sys import test_run
from pytracer.errors import AttachError
from pytracer.kernel.facts import Support
from pytracer.spec import OnSignal, RunOnce


class _SignalLink(Link):
    """Runs the program at each signal until it is detached, after those that were attached before it."""

    def __init__(self, program: int, number: int) -> None:
        super().__init__(program)
        self._number = number
        self._before = inherited.handle(number, self._run)

    def _run(self, number: int, frame: FrameType | None) -> None:
        before = self._before
        if isinstance(getattr(before, "__self__", None), _SignalLink) and callable(before):
            before(number, frame)
        with contextlib.suppress(OSError):  # it ran as the trace was set up, or not at all
            test_run(self.fd)

    def detach(self) -> None:
        """See Link."""
        if self.fd >= 0:
            inherited.handle(self._number, self._before)
        super().detach()


def check_support(probe: OnSignal, _kernel: FeatureProber, /) -> Support:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return Support(True, probe.target)


def load_attributes(probe: OnSignal) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return run_once.load_attributes(RunOnce(probe.program))


def attach(probe: OnSignal, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`. Only the main thread of Python can do it."""
    duplicate = os.dup(program)
    try:
        return [_SignalLink(duplicate, probe.number)]
    except (ValueError, OSError) as error:  # not the main thread, or a signal that cannot be handled
        os.close(duplicate)
        raise AttachError(f"{target.name} cannot be handled: {error}") from error
