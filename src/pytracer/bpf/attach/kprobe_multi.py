"""Attach to many kernel functions by one link: kprobe.multi (fprobe)."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence

from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import FeatureProber, report_error, report_unsupported, report_untried
from pytracer.bpf.sys import ProgType, address, link_create, object_info
from pytracer.bpf.trial import EMPTY
from pytracer.errors import PytracerError
from pytracer.features.table.hook_features import KPROBE_MULTI, KRETPROBE_MULTI
from pytracer.kernel import functions, policy
from pytracer.kernel.facts import Support, TargetIdSource
from pytracer.spec import Kprobes, KretprobeMulti

ATTACH_TYPE = 42  # BPF_TRACE_KPROBE_MULTI: also the program's expected_attach_type
_RETURN = 1  # BPF_F_KPROBE_MULTI_RETURN
_INFO = struct.Struct("<IIIIQIIQ")  # struct bpf_link_info: type, id, prog_id; addrs, count, flags, missed
_UNTOUCHED = (1 << 64) - 1
_NOWHERE = 1  # an address at which there is no function
NOT_COUNTED = f"this kernel does not count the returns that it misses (Linux {KRETPROBE_MULTI.since})"


class MultiLink(Link):
    """A link that counts missed runs, if the kernel reports them."""

    _missed = 0

    @property
    def missed(self) -> int:
        """See :class:`Link`."""
        if self.fd >= 0:
            self._missed = read_missed(self.fd) or 0
        return self._missed

    def detach(self) -> None:
        """See :class:`Link`."""
        self._missed = self.missed
        super().detach()


def check_support(probe: Kprobes, prober: FeatureProber) -> Support:
    """Test whether the functions can be probed by one link, by attaching to one of them."""
    if prober.missing_capabilities:
        return report_untried(probe.target)
    at_return = isinstance(probe, KretprobeMulti)
    try:
        program = prober.program(ProgType.KPROBE, EMPTY, attach_type=ATTACH_TYPE)
    except OSError as error:
        return report_unsupported(error, KPROBE_MULTI.absence)
    try:  # a missing feature is reported rather than a missing function: so it is tested first
        os.close(create_link([_NOWHERE], program, at_return=at_return))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, policy.ENOTSUPP):
            return Support(False, reason=KPROBE_MULTI.absence)
    try:
        matches = functions.functions_named(probe.patterns, probe.addresses)
    except PytracerError as reason:
        return report_error(reason)
    try:
        trial_link = create_link([next(iter(matches.names))], program, at_return=at_return)
    except OSError as error:
        return report_unsupported(error, KPROBE_MULTI.absence)
    try:
        if at_return and read_missed(trial_link) is None:
            return Support(False, reason=NOT_COUNTED)
    finally:
        os.close(trial_link)
    return Support(True, matches.describe, reason=matches.note, target_id_source=TargetIdSource.COOKIE)


def load_attributes(_: Kprobes) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.KPROBE, ATTACH_TYPE)


def attach(probe: Kprobes, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    matches = functions.functions_named(probe.patterns, probe.addresses)
    at_return = isinstance(probe, KretprobeMulti)
    addresses = probe.addresses if target.cookies else tuple(matches.names)
    try:
        descriptor = create_link(addresses, program, target.cookies, at_return=at_return)
    except OSError as error:
        raise make_attach_error(error, f"kprobe.multi on {matches.describe}") from error
    return [MultiLink(descriptor, matches.note)]


def create_link(
    addresses: Sequence[int], program: int, cookies: Sequence[int] = (), *, at_return: bool
) -> int:
    """Make a link on functions by address, with a cookie for each if any. Returns its descriptor. Raises
    OSError."""
    packed_addresses = bytearray(struct.pack(f"{len(addresses)}Q", *addresses))
    packed_cookies = bytearray(struct.pack(f"{len(cookies)}Q", *cookies))
    flags = _RETURN if at_return else 0
    # kprobe_multi: flags, cnt, syms, addrs, cookies
    cookies_at = address(packed_cookies) if cookies else 0
    link_attrs = struct.pack("IIQQQ", flags, len(addresses), 0, address(packed_addresses), cookies_at)
    return link_create(program, ATTACH_TYPE, link_attrs)


def read_missed(fd: int) -> int | None:
    """Return how many runs the link missed; None if the kernel does not report it."""
    info = bytearray(_INFO.pack(0, 0, 0, 0, 0, 0, 0, _UNTOUCHED))
    try:
        object_info(fd, info)
    except OSError as error:
        if error.errno in (errno.E2BIG, errno.EINVAL):  # fewer members, or none for such links
            return None
        raise
    count = int(_INFO.unpack(info)[-1])
    return None if count == _UNTOUCHED else count
