"""Attach programs to hooks of security modules, found in BTF as ``bpf_lsm_NAME``.

If BPF is built in but not in the list of active modules (as in Debian's 5.10), programs load and attach,
and never run. So that list is checked first, and the hook is unsupported without ``bpf`` in it.
"""

from __future__ import annotations

import os

from pytracer.bpf.attach.fentry import count_words, find_function_id
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import FeatureProber, report_unsupported, report_untried
from pytracer.bpf.sys import ProgType, raw_tracepoint_open
from pytracer.bpf.trial import load, return_code
from pytracer.features.table.hook_features import LSM
from pytracer.kernel import policy
from pytracer.kernel.facts import Support
from pytracer.spec import Lsm

_LSM_MAC = 27  # enum bpf_attach_type
_ABSENT = f"this kernel runs no programs as a security module ({LSM.requirements})"


def check_support(probe: Lsm, prober: FeatureProber) -> Support:
    """Test whether a program would run there. It is only loaded: attached, it would run on everybody's
    operations."""
    if prober.missing_capabilities:
        return report_untried(probe.function)
    attributes = load_attributes(probe)
    if not attributes.btf_id:
        return Support(False, reason=f"security modules have no hook {probe.function} here")
    try:
        os.close(
            load(
                attributes.type, return_code(0), attach_type=attributes.attach_type, btf_id=attributes.btf_id
            )
        )
    except OSError as error:
        return report_unsupported(error, _ABSENT)
    modules = policy.read_lsms()
    if modules is None:
        return Support(True, probe.function, caveat="which security modules are in force cannot be seen")
    if unused_module := policy.unused_lsm_hook(policy.LSM_PREFIX + probe.function):
        return Support(False, reason=unused_module)
    return Support(True, probe.function)


def load_attributes(probe: Lsm) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`. ``btf_id`` is 0 if there is no such hook."""
    number = find_function_id(policy.LSM_PREFIX + probe.function)
    # After a result of 0 the other modules are asked as without the program.
    return LoadAttributes(ProgType.LSM, _LSM_MAC, number, result=0, arguments=count_words(number))


def attach(_: Lsm, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    try:
        return [Link(raw_tracepoint_open("", program))]
    except OSError as error:
        raise make_attach_error(error, f"the hook {target.name} of security modules") from error
