"""Make system calls of a command fail by a filter (seccomp): no program of ours is attached.

The command installs the filter on itself before it executes (:mod:`pytracer.trace.launch`).
"""

from __future__ import annotations

from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.prober import FeatureProber
from pytracer.features.table.hook_features import SECCOMP
from pytracer.kernel import syscall_filter
from pytracer.kernel.facts import Support
from pytracer.spec import SyscallFilter


def check_support(probe: SyscallFilter, prober: FeatureProber) -> Support:  # noqa: ARG001 - asks no program
    """Test whether the kernel takes filters that do what the probe declares."""
    if not syscall_filter.has_flags(0):
        return Support(False, reason=SECCOMP.absence)
    if probe.notifies and not (
        syscall_filter.has_flags(syscall_filter.NEW_LISTENER) and syscall_filter.can_take_descriptors()
    ):
        return Support(False, reason="filters that ask a process need Linux 5.6 (pidfd_getfd)")
    return Support(True, probe.target)


def load_attributes(probe: SyscallFilter) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    raise TypeError(f"no program is loaded for {probe.target}")


def attach(probe: SyscallFilter, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    raise TypeError(f"program {program} is not attached for {target.name} ({probe.kind})")
