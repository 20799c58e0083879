"""Trampolines on kernel functions, and tracepoints with BTF types.

The kernel checks a program against the arguments of its target while it loads it: so each target needs a
program of its own.
"""

from __future__ import annotations

import errno
import os

from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import SKIPPED, FeatureProber, report_unsupported, report_untried
from pytracer.bpf.sys import ProgType, raw_tracepoint_open
from pytracer.bpf.trial import load, return_code
from pytracer.errors import HeadersError
from pytracer.features.table.hook_features import FENTRY, FEXIT, MODIFY_RETURN, TYPED_TRACEPOINT
from pytracer.kernel.btf import BtfKind
from pytracer.kernel.facts import Support
from pytracer.kernel.running_types import RunningTypes, running_types
from pytracer.spec import Fentry

# BPF_TRACE_RAW_TP, BPF_TRACE_FENTRY, BPF_TRACE_FEXIT, BPF_MODIFY_RETURN
_ATTACH_TYPES = {"typed_tracepoint": 23, "fentry": 24, "fexit": 25, "modify_return": 26}
_FEATURES = {
    "typed_tracepoint": TYPED_TRACEPOINT,
    "fentry": FENTRY,
    "fexit": FEXIT,
    "modify_return": MODIFY_RETURN,
}


def check_support(probe: Fentry, prober: FeatureProber) -> Support:
    """Test whether a program can be attached to the function, by attaching one for a moment."""
    if prober.missing_capabilities:
        return report_untried(probe.function)
    attributes = load_attributes(probe)
    if not attributes.btf_id:
        return Support(False, reason=f"the kernel's BTF does not know {probe.function}")
    code = return_code(attributes.result)
    try:
        program = load(attributes.type, code, attach_type=attributes.attach_type, btf_id=attributes.btf_id)
    except OSError as error:
        return report_unsupported(error, _FEATURES[probe.kind].absence)
    try:
        os.close(raw_tracepoint_open("", program))
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.E2BIG):
            return Support(False, reason=f"{probe.function} takes no more programs")
        return report_unsupported(error, _FEATURES[probe.kind].absence)
    finally:
        os.close(program)
    is_affected = (probe.preempted or probe.kind == "typed_tracepoint") and prober.may_preempt
    return Support(True, probe.function, caveat=SKIPPED if is_affected else "")


def load_attributes(probe: Fentry) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`. ``btf_id`` is 0 if BTF does not have the function."""
    number = _find_btf_id(probe.kind == "typed_tracepoint", probe.function)
    words = 0 if probe.kind == "typed_tracepoint" else count_words(number)
    # A trampoline's program must return 0 (check_return_code).
    return LoadAttributes(ProgType.TRACING, _ATTACH_TYPES[probe.kind], number, result=0, arguments=words)


def attach(probe: Fentry, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    try:
        return [Link(raw_tracepoint_open("", program))]
    except OSError as error:
        raise make_attach_error(error, f"{probe.kind} {target.name}") from error


def find_function_id(name: str) -> int:
    """Return the BTF id of a kernel function; 0 if there is none."""
    return _find_btf_id(False, name)


def has_member(path: str) -> bool:
    """Return whether a struct of the kernel has a member, such as ``task_struct.state``."""
    types = _load_types()
    struct_name, _, member = path.partition(".")
    return types is not None and types.member(struct_name, member) is not None


def _find_btf_id(tracepoint: bool, name: str) -> int:
    """Return the BTF id of a function, or of a tracepoint's type; 0 if there is none."""
    types = _load_types()
    if types is None:
        return 0
    kind, name = (BtfKind.TYPEDEF, f"btf_trace_{name}") if tracepoint else (BtfKind.FUNC, name)
    return types.find(kind, name) or 0


def count_words(number: int) -> int:
    """Return the number of 8-byte words that a function's arguments take in a trampoline's context."""
    types = _load_types()
    if types is None or not number:
        return 0
    known = types
    return known.remember(
        f"argument words {number}",
        lambda: sum(-(-known.size_of(param) // 8) for _, param in known.func_proto(number).params),
    )


def _load_types() -> RunningTypes | None:
    try:
        return running_types()
    except HeadersError:
        return None
