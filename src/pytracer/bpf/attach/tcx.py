"""Traffic control by tcx: a link before all other programs of an interface."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from pytracer.bpf.attach.interface import NEEDED, InterfaceLink
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link, attach_each
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import FeatureProber, report_unsupported, report_untried
from pytracer.bpf.sys import ProgType, link_create
from pytracer.bpf.trial import return_code
from pytracer.features.table.changes import TRAFFIC_CONTROL
from pytracer.features.table.hook_features import TCX
from pytracer.kernel import policy
from pytracer.kernel.facts import Support
from pytracer.spec import Tcx

# TC_ACT_UNSPEC and TCX_NEXT: the next program decides, as if this one were not there. TC_ACT_OK would end
# the chain.
NEXT = -1
INGRESS, EGRESS = 46, 47  # BPF_TCX_INGRESS, BPF_TCX_EGRESS, of enum bpf_attach_type
DIRECTIONS = {"in": (INGRESS,), "out": (EGRESS,), "both": (INGRESS, EGRESS)}
NAMES = {INGRESS: "ingress", EGRESS: "egress"}
_FIRST = 1 << 3  # BPF_F_BEFORE, relative to nothing: before all
_NOWHERE = 0x7FFFFFFF  # an interface that does not exist


def check_support(_: Tcx, prober: FeatureProber) -> Support:
    """Test whether the kernel has tcx, on an interface that does not exist: with tcx, it answers ENODEV."""
    answer = can_load(prober)
    if answer.is_supported and answer.was_tried:
        program = prober.program(ProgType.SCHED_CLS, return_code(NEXT))
        try:
            os.close(link_create(program, INGRESS, target=_NOWHERE, flags=_FIRST))
        except OSError as error:
            if error.errno != errno.ENODEV:
                return report_unsupported(error, TCX.absence)
    return answer


def can_load(prober: FeatureProber) -> Support:
    """Test whether the kernel loads programs for traffic control."""
    if prober.missing_capabilities or policy.missing_capabilities(NEEDED):
        return report_untried("traffic control")
    try:
        prober.program(ProgType.SCHED_CLS, return_code(NEXT))
    except OSError as error:
        return report_unsupported(error, TRAFFIC_CONTROL.absence)
    return Support(True, "traffic control")


def load_attributes(_: Tcx) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.SCHED_CLS, result=NEXT)


def attach(_: Tcx, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: one or two for each interface."""

    def attach(index: int, name: str) -> Iterator[Link]:
        for direction in DIRECTIONS[target.choice]:
            try:
                link = link_create(program, direction, target=index, flags=_FIRST)
            except OSError as error:
                raise make_attach_error(
                    error, f"{name} {NAMES[direction]} by tcx", capabilities=NEEDED
                ) from error
            yield InterfaceLink(link, index, name, description=f"tcx {NAMES[direction]}")

    return attach_each(target.interfaces, attach)
