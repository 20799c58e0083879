"""Attach to many places of one file by one link: uprobe.multi."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence

from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.attach.uprobe import ProbedFile, attach_with, describe
from pytracer.bpf.prober import FeatureProber, report_unsupported, report_untried
from pytracer.bpf.sys import ProgType, address, link_create
from pytracer.bpf.trial import EMPTY
from pytracer.features.table.changes import ALL_THREADS
from pytracer.features.table.hook_features import UPROBE_MULTI
from pytracer.kernel.facts import Support, TargetIdSource
from pytracer.record import replace
from pytracer.spec import ProbeSite, UprobeMulti

ATTACH_TYPE = 48  # BPF_TRACE_UPROBE_MULTI: also the program's expected_attach_type
ONE_THREAD = f"this kernel's uprobe.multi sees only one thread of a process (Linux {ALL_THREADS.since})"
_RETURN = 1  # BPF_F_UPROBE_MULTI_RETURN
NOBODY = 0xFFFFFFFF  # a process id of -1


def check_support(probe: UprobeMulti, prober: FeatureProber) -> Support:
    """Test whether the places exist and one link can be attached to them."""
    if prober.missing_capabilities:
        return report_untried(probe.target)
    return _try_out(prober, one_process=bool(probe.process)) or replace(
        describe(probe), target_id_source=TargetIdSource.COOKIE
    )


def load_attributes(_: UprobeMulti) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.KPROBE, ATTACH_TYPE, preempted=True)


def attach(probe: UprobeMulti, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: one link for each file."""
    return attach_with(attach_sites, probe, target, program)


def attach_sites(
    file: ProbedFile,
    sites: Sequence[ProbeSite],
    program: int,
    *,
    at_return: bool = False,
    process: int = 0,
    cookies: Sequence[int] = (),
    note: str = "",
) -> list[Link]:
    """Attach to all sites by one link; else as :func:`pytracer.bpf.attach.uprobe.attach_sites`. ``program``
    was loaded for ATTACH_TYPE."""
    numbers = f"{len(sites)}Q"
    path = bytearray(file.path.encode() + b"\0")
    offsets = bytearray(struct.pack(numbers, *(site.offset for site in sites)))
    semaphores = bytearray(struct.pack(numbers, *(site.semaphore for site in sites)))
    packed_cookies = bytearray(struct.pack(numbers, *cookies)) if cookies else None
    try:
        # struct uprobe_multi of union bpf_attr
        link_attrs = struct.pack(
            "QQQQIII",
            address(path),
            address(offsets),
            address(semaphores) if any(semaphores) else 0,
            address(packed_cookies) if packed_cookies else 0,
            len(sites),
            _RETURN if at_return else 0,
            process,
        )
        return [Link(link_create(program, ATTACH_TYPE, link_attrs), note)]
    except OSError as error:
        names = sites[0].name if len(sites) == 1 else f"{len(sites)} places"
        raise make_attach_error(error, f"{file.name}:{names}") from error


def explain_refusal(program: int, process: int = 0) -> int:
    """Return the errno with which the kernel refuses a link on a directory; 0 if it accepts it.

    Kernels that have the link answer EBADF. Those that see all threads of a process (Linux 6.10,
    46ba0e49b642) check the process id before the file.
    """
    path, offsets = bytearray(b"/\0"), bytearray(8)
    try:
        link_attrs = struct.pack("QQQQIII", address(path), address(offsets), 0, 0, 1, 0, process)
        os.close(link_create(program, ATTACH_TYPE, link_attrs))
    except OSError as error:
        return error.errno or 0
    return 0


def _try_out(prober: FeatureProber, *, one_process: bool) -> Support | None:
    """Test whether such a link can be made, in a way that makes none. None if it can, otherwise the
    reason."""
    try:
        program = prober.program(ProgType.KPROBE, EMPTY, attach_type=ATTACH_TYPE)
    except OSError as error:
        return report_unsupported(error, UPROBE_MULTI.absence)
    refusal_errno = explain_refusal(program)
    if refusal_errno != errno.EBADF:
        return report_unsupported(OSError(refusal_errno, os.strerror(refusal_errno)), UPROBE_MULTI.absence)
    if one_process and explain_refusal(program, NOBODY) != errno.EINVAL:
        return Support(False, reason=ONE_THREAD)
    return None
