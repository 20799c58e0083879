"""Attach programs to hooks of security modules, found in BTF as ``bpf_lsm_NAME``.

If BPF is built in but not in the list of active modules (as in Debian's 5.10), programs load and attach,
and never run. So that list is checked first, and the hook is unsupported without ``bpf`` in it.
"""

from __future__ import annotations

import os

from pytracer.bpf.attach.fentry import function_id
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.refusal import attach_error
from pytracer.bpf.prober import FeatureProber, assumed, unsupported
from pytracer.bpf.sys import ProgType, raw_tracepoint_open
from pytracer.bpf.trial import load, returning
from pytracer.features.table.hook_features import LSM
from pytracer.kernel import policy
from pytracer.kernel.facts import Support
from pytracer.spec import Lsm

_LSM_MAC = 27  # enum bpf_attach_type
_ABSENT = f"this kernel runs no programs as a security module ({LSM.requirements})"


def check_support(probe: Lsm, kernel: FeatureProber) -> Support:
    """Test whether a program would run there. It is only loaded: attached, it would run on everybody's
    operations."""
    if kernel.missing_capabilities:
        return assumed(probe.function)
    wanted = load_attributes(probe)
    if not wanted.btf_id:
        return Support(False, reason=f"security modules have no hook {probe.function} here")
    try:
        os.close(load(wanted.type, returning(0), attach_type=wanted.attach_type, btf_id=wanted.btf_id))
    except OSError as error:
        return unsupported(error, _ABSENT)
    modules = policy.lsms()
    if modules is None:
        return Support(True, probe.function, caveat="which security modules are in force cannot be seen")
    if unused := policy.unused_lsm_hook(policy.LSM_PREFIX + probe.function):
        return Support(False, reason=unused)
    return Support(True, probe.function)


def load_attributes(probe: Lsm) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`. ``btf_id`` is 0 if there is no such hook."""
    return LoadAttributes(ProgType.LSM, _LSM_MAC, function_id(f"bpf_lsm_{probe.function}"), result=0)


def attach(_: Lsm, place: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    try:
        return [Link(raw_tracepoint_open("", program))]
    except OSError as error:
        raise attach_error(error, f"the hook {place.name} of security modules") from error
