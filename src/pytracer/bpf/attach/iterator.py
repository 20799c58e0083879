"""Iterators: a program that is run for each thing of a kind that there is, as somebody reads (Linux 5.8)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from pytracer.bpf.attach.fentry import function_id, has_member
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.refusal import attach_error
from pytracer.bpf.prober import FeatureProber, assumed, unsupported
from pytracer.bpf.sys import Command, ProgType, bpf, link_create
from pytracer.bpf.trial import load, returning
from pytracer.kernel.facts import Support
from pytracer.spec import Iterator

_TRACE_ITER = 28  # enum bpf_attach_type
_ABSENT = "this kernel has no iterators (Linux 5.8, with BTF)"


def check_support(probe: Iterator, kernel: FeatureProber) -> Support:
    """Whether a program can be run for each; it is made ready, and for nothing."""
    if kernel.missing_capabilities:
        return assumed(probe.of)
    wanted = load_attributes(probe)
    if not wanted.btf_id:
        return Support(False, reason=f"this kernel has no iterator over {probe.of} (Linux 5.8, with BTF)")
    if probe.having and not has_member(probe.having):
        return Support(False, reason=f"this kernel has no {probe.having}")
    try:
        program = load(wanted.type, returning(0), attach_type=wanted.attach_type, btf_id=wanted.btf_id)
    except OSError as error:
        return unsupported(error, _ABSENT)
    try:
        os.close(link_create(program, _TRACE_ITER))
    except OSError as error:
        return unsupported(error, _ABSENT)
    finally:
        os.close(program)
    return Support(True, probe.of)


def load_attributes(probe: Iterator) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Kind`. ``btf_id`` is 0 where there is no such iterator."""
    return LoadAttributes(ProgType.TRACING, _TRACE_ITER, function_id(f"bpf_iter_{probe.of}"), result=0)


def attach(_: Iterator, place: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Kind`. Nothing runs before it is read (:func:`begin`)."""
    try:
        return [Link(link_create(program, _TRACE_ITER))]
    except OSError as error:
        raise attach_error(error, f"the iterator over {place.name}") from error


def run(links: Iterable[Link]) -> None:
    """Run each program for every thing that there is now; what it writes is dropped. Raises AttachError."""
    for link in links:
        try:
            descriptor = open_iterator(link)
            try:
                while os.read(descriptor, 1 << 16):
                    pass
            finally:
                os.close(descriptor)
        except OSError as error:
            raise attach_error(error, "the iterator over what there is") from error


def open_iterator(link: Link) -> int:
    """A descriptor that gives what the program writes, from the first thing to the last. Raises OSError."""
    return bpf(Command.ITER_CREATE, struct.pack("II", link.fd, 0))
