"""Iterators: a read runs the program once for each object of a kind, such as a task."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from pytracer.bpf.attach.fentry import find_function_id, has_member
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import FeatureProber, report_unsupported, report_untried
from pytracer.bpf.sys import Command, ProgType, bpf, link_create
from pytracer.bpf.trial import load, return_code
from pytracer.features.table.hook_features import ITERATOR
from pytracer.kernel.facts import Support
from pytracer.spec import Iterator

_TRACE_ITER = 28  # enum bpf_attach_type


def check_support(probe: Iterator, prober: FeatureProber) -> Support:
    """Test whether the kernel has this iterator, by making a link that is never read."""
    if prober.missing_capabilities:
        return report_untried(probe.of)
    attributes = load_attributes(probe)
    if not attributes.btf_id:
        return Support(False, reason=f"this kernel has no iterator over {probe.of} ({ITERATOR.requirements})")
    if probe.having and not has_member(probe.having):
        return Support(False, reason=f"this kernel has no {probe.having}")
    try:
        program = load(
            attributes.type, return_code(0), attach_type=attributes.attach_type, btf_id=attributes.btf_id
        )
    except OSError as error:
        return report_unsupported(error, ITERATOR.absence)
    try:
        os.close(link_create(program, _TRACE_ITER))
    except OSError as error:
        return report_unsupported(error, ITERATOR.absence)
    finally:
        os.close(program)
    return Support(True, probe.of)


def load_attributes(probe: Iterator) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`. ``btf_id`` is 0 if there is no such iterator."""
    return LoadAttributes(ProgType.TRACING, _TRACE_ITER, find_function_id(f"bpf_iter_{probe.of}"), result=0)


def attach(_: Iterator, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`. The program runs only when it is read
    (:func:`run`)."""
    try:
        return [Link(link_create(program, _TRACE_ITER))]
    except OSError as error:
        raise make_attach_error(error, f"the iterator over {target.name}") from error


def run(links: Iterable[Link]) -> None:
    """Run each program for every object that exists now, and discard its output. Raises AttachError."""
    for link in links:
        try:
            descriptor = open_iterator(link)
            try:
                while os.read(descriptor, 1 << 16):
                    pass
            finally:
                os.close(descriptor)
        except OSError as error:
            raise make_attach_error(error, "the iterator over what there is") from error


def open_iterator(link: Link) -> int:
    """Open a descriptor that reads the program's output, from the first object to the last. Raises
    OSError."""
    return bpf(Command.ITER_CREATE, struct.pack("II", link.fd, 0))
