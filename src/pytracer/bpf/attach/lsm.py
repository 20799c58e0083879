"""Hooks of the security modules, of which BPF is one where it is on the kernel's list of those in force.

Where it is built in but not on the list (as it comes with Debian's 5.10) programs load and attach, and are
never run: that is refused here.
"""

from __future__ import annotations

import os

from pytracer.bpf.attach.fentry import function_id
from pytracer.bpf.attach.kind import LoadAs, Place
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.refusal import attach_error
from pytracer.bpf.prober import Asking, no, untried
from pytracer.bpf.sys import ProgType, raw_tracepoint_open
from pytracer.bpf.trial import load, returning
from pytracer.kernel import policy
from pytracer.kernel.facts import Answer
from pytracer.spec import Lsm

_LSM_MAC = 27  # enum bpf_attach_type
_ABSENT = "this kernel runs no programs as a security module (Linux 5.7, CONFIG_BPF_LSM, with BTF)"


def ask(probe: Lsm, kernel: Asking) -> Answer:
    """Whether a program would be run there. Loaded only: attached, it would stand in everybody's way."""
    if kernel.missing:
        return untried(probe.function)
    wanted = load_as(probe)
    if not wanted.btf_id:
        return Answer(False, reason=f"security modules have no hook {probe.function} here")
    try:
        os.close(load(wanted.type, returning(0), attach_type=wanted.attach_type, btf_id=wanted.btf_id))
    except OSError as error:
        return no(error, _ABSENT)
    modules = policy.lsms()
    if modules is None:
        return Answer(True, probe.function, doubt="which security modules are in force cannot be seen")
    if unused := policy.unused_lsm_hook(policy.LSM_PREFIX + probe.function):
        return Answer(False, reason=unused)
    return Answer(True, probe.function)


def load_as(probe: Lsm) -> LoadAs:
    """See :class:`~pytracer.bpf.attach.kind.Kind`. ``btf_id`` is 0 where there is no such hook."""
    return LoadAs(ProgType.LSM, _LSM_MAC, function_id(f"bpf_lsm_{probe.function}"), result=0)


def put(_: Lsm, place: Place, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    try:
        return [Link(raw_tracepoint_open("", program))]
    except OSError as error:
        raise attach_error(error, f"the hook {place.name} of security modules") from error
