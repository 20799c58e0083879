"""Attach a BPF program to a perf event: shared by tracepoints, kprobes and uprobes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import resource
import struct
from pathlib import Path

from pytracer import inherited
from pytracer.bpf.attach.link import Link
from pytracer.bpf.sys import link_create, object_info, perf_event_open

SET_BPF = 0x40042408  # PERF_EVENT_IOC_SET_BPF
ENABLE = 0x2400  # PERF_EVENT_IOC_ENABLE
DISABLE = 0x2401  # PERF_EVENT_IOC_DISABLE
_QUERY_BPF = 0xC008240A  # PERF_EVENT_IOC_QUERY_BPF
PERF_EVENT = 41  # BPF_PERF_EVENT, which a link is made for (Linux 5.15, b89fbfbb854c)
_INFO = struct.Struct(
    "=IIIxxxxIxxxxQIIQQ"
)  # struct bpf_link_info: type, id, prog_id; type, name, its length,
# offset, address, missed
_PERF_LINK = 7  # BPF_LINK_TYPE_PERF_EVENT
_KPROBES = (3, 4)  # BPF_PERF_EVENT_KPROBE, BPF_PERF_EVENT_KRETPROBE
_SPARE = 64  # descriptors for everything else
ATTR_SIZE = 112  # PERF_ATTR_SIZE_VER5
_UNTOUCHED = (1 << 64) - 1


class TraceEventLink(Link):
    """A perf event on a trace event, or a link on one.

    perf drops a trace event that a task raises while it handles another one, such as a page fault of a
    program there. Before Linux 6.7 (dd8657894c11) the kernel does not count the programs either that it skips
    because one is already running on that CPU.
    """

    uncounted = "an event within the handling of another is not seen, and not counted"


class SampleLink(Link):
    """A perf event on samples of which a program runs."""

    uncounted = "samples within the run of a program are not taken, and not counted"


class PerfLink(Link):
    """A perf event, or a link on one, which counts missed runs of a kprobe (Linux 6.7, 3acf8ace6823)."""

    _missed = 0

    @property
    def missed(self) -> int:
        """See :class:`Link`."""
        self._missed = self._count() or self._missed
        return self._missed

    @property
    def uncounted(self) -> str:  # type: ignore[override]
        """See :class:`Link`."""
        return "runs that the kernel skips are not counted" if self._count() is None else ""

    def _count(self) -> int | None:
        """Return how many runs the link missed; None if the kernel does not report it."""
        if self.fd < 0:
            return None
        info = bytearray(_INFO.size)
        _INFO.pack_into(info, 0, *[0] * 8, _UNTOUCHED)
        with contextlib.suppress(OSError):  # a plain event, or a kernel that does not say
            object_info(self.fd, info)
            kind, _, _, info_kind, _, _, _, _, count = _INFO.unpack(info)
            if kind == _PERF_LINK and info_kind in _KPROBES and count != _UNTOUCHED:
                return int(count)
        return None

    def detach(self) -> None:
        """See :class:`Link`."""
        self._missed = self.missed
        super().detach()


def raise_fd_limit(count: int) -> None:
    """Raise this process's limit of open files for ``count`` more, as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    required = count + len(list(Path("/proc/self/fd").iterdir())) + _SPARE
    if required > soft:
        with contextlib.suppress(ValueError, OSError):
            inherited.raise_limit(resource.RLIMIT_NOFILE, min(required, hard), hard)


def pack_event_attr(kind: int, config: int, config1: int = 0, config2: int = 0) -> bytes:
    """Pack a struct perf_event_attr that takes no samples: only the program runs."""
    head = struct.pack("IIQQQQQIIQQ", kind, ATTR_SIZE, config, 1, 0, 0, 0, 1, 0, config1, config2)
    return head.ljust(ATTR_SIZE, b"\0")


@functools.cache
def pmu_type(pmu: Path) -> int:
    """Return the ``type`` that selects this PMU in a struct perf_event_attr."""
    return int((pmu / "type").read_text())


@functools.cache
def retprobe_bit(pmu: Path) -> int:
    """Return the bit of ``config`` with which the kprobe or uprobe PMU probes the return."""
    return int((pmu / "format/retprobe").read_text().strip().rpartition(":")[2])


def takes_several(event: int) -> bool:
    """Return whether several programs may be attached to the trace event of this descriptor (Linux 4.15,
    e87c6bc3852b): whether the kernel can list them (4.16, f371b304f12e)."""
    try:
        fcntl.ioctl(event, _QUERY_BPF, 0)
    except OSError as error:
        return error.errno != errno.ENOTTY
    return True


def attach_linked(attr: bytes, program: int, cookies: tuple[int, ...] = ()) -> int:
    """Attach by a link if the kernel has perf links, even without a cookie; otherwise as ``attach_program``.

    A link is listed with its target, and it can outlive the process (``prog pin``).
    """
    if not cookies:
        with contextlib.suppress(OSError):
            return attach_program(attr, program, (0,))
    return attach_program(attr, program, cookies)


def attach_program(attr: bytes, program: int, cookies: tuple[int, ...] = (), *, process: int = 0) -> int:
    """Open the event and attach ``program``, for all processes or one, on every CPU. Raises OSError.

    Returns the event's descriptor; with a cookie that of a link, which keeps the event open.
    """
    # One CPU is enough: the program is attached to the trace event itself, which all CPUs share.
    event = perf_event_open(attr, process or -1, -1 if process else 0)
    try:
        if not cookies:
            fcntl.ioctl(event, SET_BPF, program)
            fcntl.ioctl(event, ENABLE, 0)
            return event
        link = link_create(program, PERF_EVENT, struct.pack("Q", *cookies), target=event)
    except OSError:
        os.close(event)
        raise
    try:
        fcntl.ioctl(event, ENABLE, 0)
    except OSError:
        os.close(link)
        raise
    finally:
        os.close(event)
    return link
