"""XDP: run a program on incoming frames, by a link that ends with the process.

``native`` runs in the driver, where it is cheapest, but not every driver supports it; ``generic`` runs after
the kernel has allocated an sk_buff. An interface has one program; a program of others is never replaced.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

from pytracer.bpf.attach.interface import NEEDED, InterfaceLink, describe_program, list_xdp_programs
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link, attach_each
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import FeatureProber, report_unsupported, report_untried
from pytracer.bpf.sys import ProgType, link_create
from pytracer.bpf.trial import return_code
from pytracer.errors import AttachError, PytracerError
from pytracer.features.table.hook_features import XDP, XDP_LINK
from pytracer.kernel import policy
from pytracer.kernel.facts import Support
from pytracer.spec import Xdp

PASS = 2  # XDP_PASS
_XDP = 37  # BPF_XDP, of enum bpf_attach_type
GENERIC, NATIVE = 1 << 1, 1 << 2  # XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE
_MODES = {"native": (NATIVE,), "generic": (GENERIC,), "best": (NATIVE, GENERIC)}
_NAMES = {NATIVE: "native XDP", GENERIC: "generic XDP"}
# Errors that do not come from the driver: another mode would fail too, or disturb somebody.
_FINAL = (errno.EBUSY, errno.EEXIST, errno.EPERM, errno.EACCES, errno.ENODEV)


def check_support(_: Xdp, prober: FeatureProber) -> Support:
    """Test whether the kernel has XDP links, with an invalid descriptor: with links, it answers EBADF."""
    answer = can_load(prober)
    if answer.is_supported and answer.was_tried:
        try:
            os.close(link_create(-1, _XDP))
        except OSError as error:
            if error.errno != errno.EBADF:
                return report_unsupported(error, XDP_LINK.absence)
    return answer


def can_load(prober: FeatureProber) -> Support:
    """Test whether the kernel loads XDP programs."""
    if prober.missing_capabilities or policy.missing_capabilities(NEEDED):
        return report_untried("XDP")
    try:
        prober.program(ProgType.XDP, return_code(PASS))
    except OSError as error:
        return report_unsupported(error, XDP.absence)
    return Support(True, "XDP")


def load_attributes(_: Xdp) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.XDP, result=PASS)


def attach(_: Xdp, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: one for each interface."""

    def attach(index: int, name: str) -> Iterator[Link]:
        def attach_by_link(mode: int) -> int:
            return link_create(program, _XDP, target=index, flags=mode)

        link, mode, note = try_mode(target.choice, index, name, attach_by_link)
        yield InterfaceLink(link, index, name, description=_NAMES[mode], note=note)

    return attach_each(target.interfaces, attach)


def try_mode(choice: str, index: int, name: str, attach: Callable[[int], int]) -> tuple[int, int, str]:
    """Call ``attach`` with the flags of the best mode that the interface supports.

    Returns what ``attach`` returned, the mode, and a note for the user. Raises AttachError if another program
    is attached, or the error that explains the refusal.
    """
    reason = ""
    modes = _MODES[choice]
    for mode in modes:
        try:
            note = f"interface {name}: {_NAMES[mode]}, for its driver has none ({reason})" if reason else ""
            return attach(mode), mode, note
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.EEXIST):
                raise _describe_conflict(index, name) from error
            if error.errno in _FINAL or mode == modes[-1]:
                raise make_attach_error(error, f"{name} by {_NAMES[mode]}", capabilities=NEEDED) from error
            reason = policy.describe_errno(error.errno or 0).lower()
    raise AssertionError("there is always a mode")


def _describe_conflict(index: int, name: str) -> PytracerError:
    programs = "; ".join(map(describe_program, list_xdp_programs().get(index, ()))) or "it has just gone"
    return AttachError(
        f"another XDP program is on {name}, and stays: {programs}",
        hint="tccount and sockcount need no XDP; ip link shows the program as prog/xdp",
    )
