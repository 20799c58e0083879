"""Many kernel functions by one link: kprobe.multi (fprobe; Linux 5.18, 0dcac2725406)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence

from pytracer.bpf.attach.link import Link
from pytracer.bpf.refusal import attach_error
from pytracer.bpf.sys import address, link_create, object_info
from pytracer.kernel.functions import Functions

ATTACH_TYPE = 42  # BPF_TRACE_KPROBE_MULTI, which the program has to be loaded for
_RETURN = 1  # BPF_F_KPROBE_MULTI_RETURN
_INFO = struct.Struct("<IIIIQIIQ")  # struct bpf_link_info: type, id, prog_id; addrs, count, flags, missed
_UNTOUCHED = (1 << 64) - 1


class MultiLink(Link):
    """A link that counts what it misses, where the kernel tells (Linux 6.7)."""

    _missed = 0

    @property
    def missed(self) -> int:
        """See :class:`Link`."""
        if self.fd >= 0:
            self._missed = missed(self.fd) or 0
        return self._missed

    def detach(self) -> None:
        """See :class:`Link`."""
        self._missed = self.missed
        super().detach()


def attach(functions: Functions, program: int, *, at_return: bool) -> MultiLink:
    """Put ``program`` on the entries, or the returns, of all ``functions``."""
    try:
        return MultiLink(link(list(functions.names), program, at_return=at_return), functions.note)
    except OSError as error:
        raise attach_error(error, f"kprobe.multi on {functions.describe}") from error


def link(addresses: Sequence[int], program: int, *, at_return: bool) -> int:
    """The descriptor of a link on functions by address. Raises OSError."""
    listed = bytearray(struct.pack(f"{len(addresses)}Q", *addresses))
    flags = _RETURN if at_return else 0
    # kprobe_multi: flags, cnt, syms, addrs, cookies
    return link_create(
        program, ATTACH_TYPE, struct.pack("IIQQQ", flags, len(addresses), 0, address(listed), 0)
    )


def missed(fd: int) -> int | None:
    """How often the kernel had no place for a return; None where it does not say (before Linux 6.7)."""
    info = bytearray(_INFO.pack(0, 0, 0, 0, 0, 0, 0, _UNTOUCHED))
    try:
        object_info(fd, info)
    except OSError as error:
        if error.errno in (errno.E2BIG, errno.EINVAL):  # fewer members, or none for such links
            return None
        raise
    count = int(_INFO.unpack(info)[-1])
    return None if count == _UNTOUCHED else count
