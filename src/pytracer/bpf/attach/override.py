"""Make kernel functions fail: a kprobe whose program returns in their place (bpf_override_return).

The kernel's list (``error_injection/list`` in debugfs) must allow it: there callers are known to take an
error. One counter for all CPUs decides which calls fail, so ``--every`` and ``--times`` are exact; what
cannot be counted does not fail. Three things end it: pytracer at the time limit, which always exists; the
program itself, by the clock, in case pytracer is stopped; and the kernel, when the process ends.
pytracer's own process is spared: otherwise ``inject __x64_sys_poll EIO --everyone`` could not be ended.
"""

from __future__ import annotations

from pytracer.bpf.attach import kprobe
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.prober import FeatureProber, report_untried
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import helper_refusal
from pytracer.features.table.helpers import OVERRIDE_RETURN
from pytracer.features.table.hook_features import OVERRIDE
from pytracer.kernel.facts import Support
from pytracer.spec import Override


def check_support(probe: Override, prober: FeatureProber) -> Support:
    """Test whether the kernel lists the function, and a program may override a return value."""
    if prober.missing_capabilities:
        return report_untried(probe.target)
    allowed = prober.injectable
    if allowed is None:
        return Support(False, reason=f"{OVERRIDE.absence}: it lists no functions that may fail")
    if probe.target not in allowed:
        return Support(False, reason=f"{probe.target} is not in the kernel's list of functions that may fail")
    if helper_refusal(ProgType.KPROBE, OVERRIDE_RETURN.number):
        return Support(False, reason=OVERRIDE.absence)
    return kprobe.check_support(probe, prober)


def load_attributes(probe: Override) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return kprobe.load_attributes(probe)


def attach(probe: Override, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return kprobe.attach(probe, target, program)
