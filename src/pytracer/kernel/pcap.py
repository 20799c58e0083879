"""Filters in tcpdump's language: compiled to classic BPF by libpcap, which has the language to itself.

Nothing is captured. Where the kernel's own view of packets is filtered, the interface is opened for a moment,
as tcpdump would: only then does libpcap know that the kernel takes VLAN tags off, and asks it for them.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from pytracer.errors import PytracerError, UsageError
from pytracer.kernel.interfaces import ETHERNET_HEADER, link_header_length, list_interfaces
from pytracer.record import record

_NAMES = ("libpcap.so.0.8", "libpcap.so.1")  # Debian's and everybody else's
_PACKAGES = "libpcap0.8 on Debian and Ubuntu, libpcap elsewhere"
_SNAPLEN = 262144  # bytes, tcpdump's own: what a filter lets through, it returns as so many
_NO_NETMASK = 0xFFFFFFFF  # PCAP_NETMASK_UNKNOWN
_ERROR_SIZE = 256  # PCAP_ERRBUF_SIZE
_RING = 1 << 16  # bytes
_IS_DOWN = -9  # PCAP_ERROR_IFACE_NOT_UP
LOOPBACK = "lo"
"""An interface of the same kind, for feature probes if the named one is down."""


class LinkType(Enum):
    """The header with which a filter expects packets to begin; the value is libpcap's DLT_* number."""

    ETHERNET = 1
    RAW = 12
    """The network header: a link has none of its own."""
    COOKED = 113
    """LINKTYPE_LINUX_SLL: 16 bytes that no packet has; of them, the kernel knows some."""


class ClassicInstruction(NamedTuple):
    """A ``struct sock_filter``: ``jt`` and ``jf`` are how many instructions to skip if true, if false."""

    code: int
    jt: int
    jf: int
    k: int


@record
class CompiledFilter:
    """``text`` as classic BPF, for packets that begin with ``link``."""

    text: str
    link: LinkType
    code: tuple[ClassicInstruction, ...]


def compile_for(text: str, named: Mapping[int, str], *, frames: bool) -> CompiledFilter:
    """Compile a filter for these interfaces (index -> name, 0: all).

    ``frames``: for frames as they are on the wire, else for the kernel's packets. If the interfaces have
    different link headers, the latter are matched from the network header on. Raises UsageError with
    libpcap's message, PytracerError if libpcap is missing.
    """
    available = list_interfaces()
    lengths = {
        link_header_length(available[index].type) if index in available else None  # 0: any
        for index in named
    }
    link = LinkType.COOKED
    if lengths == {ETHERNET_HEADER}:
        link = LinkType.ETHERNET
    elif lengths == {0}:
        link = LinkType.RAW
    if frames and link is LinkType.COOKED:
        raise UsageError(
            f"no filter fits {', '.join(named.values())} alike: they begin their frames differently",
            hint="one run for each takes it",
        )
    live = (*named.values(), LOOPBACK) if link is LinkType.ETHERNET and not frames else ()
    return CompiledFilter(text, link, compile_filter(text, link, live=live))


def compile_raw(text: str) -> CompiledFilter:
    """Compile a filter for packets that begin with their network header. Raises the errors of
    ``compile_for``."""
    return CompiledFilter(text, LinkType.RAW, compile_filter(text, LinkType.RAW))


def compile_filter(text: str, link: LinkType, *, live: Sequence[str] = ()) -> tuple[ClassicInstruction, ...]:
    """Compile ``text`` to instructions. ``live`` are interfaces of which to open one, for the kernel's
    packets.

    Raises what ``compile_for`` does.
    """
    if "\0" in text:
        raise UsageError("a filter has no NUL in it")
    library = _load_library()
    program = _Program()
    with _open_handle(library, link, live) as (handle, is_down):
        if is_down and "vlan" in text:
            raise UsageError(
                f"--filter {text!r}: libpcap knows where VLAN tags are only while an interface is up",
                hint=f"ip link set dev {live[0]} up",
            )
        if library.pcap_compile(handle, ctypes.byref(program), os.fsencode(text), 1, _NO_NETMASK) != 0:
            message = library.pcap_geterr(handle).decode(errors="replace")
            raise UsageError(f"--filter {text!r}: {message}", hint="man pcap-filter describes the language")
        try:
            instructions = [program.instructions[index] for index in range(program.length)]
            return tuple(
                ClassicInstruction(instruction.code, instruction.jt, instruction.jf, instruction.k)
                for instruction in instructions
            )
        finally:
            library.pcap_freecode(ctypes.byref(program))


class _SockFilter(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    ]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint), ("instructions", ctypes.POINTER(_SockFilter))]


@contextlib.contextmanager
def _open_handle(
    library: ctypes.CDLL, link: LinkType, live: Sequence[str]
) -> Iterator[tuple[ctypes.c_void_p, bool]]:
    """Return a pcap_t, and whether it is of no interface because all are down.

    Interfaces that may not be opened are done without: attaching will say why.
    """
    handle, down_count = None, 0
    for name in live:
        handle = library.pcap_create(os.fsencode(name), ctypes.create_string_buffer(_ERROR_SIZE))
        if not handle:
            continue
        library.pcap_set_snaplen(handle, _SNAPLEN)
        library.pcap_set_buffer_size(handle, _RING)
        status = library.pcap_activate(handle)  # less than 0 is an error, more a warning
        if status >= 0 and library.pcap_datalink(handle) == link.value:
            break
        down_count += status == _IS_DOWN
        library.pcap_close(handle)
        handle = None
    is_down = handle is None and down_count > 0
    handle = handle or library.pcap_open_dead(link.value, _SNAPLEN)
    try:
        yield handle, is_down
    finally:
        library.pcap_close(handle)


@functools.cache
def _load_library() -> ctypes.CDLL:
    """Load libpcap. Raises PytracerError if it is not installed."""
    for name in _NAMES:
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(name)
            break
    else:
        raise PytracerError("--filter needs libpcap, which is not installed", hint=f"install {_PACKAGES}")
    for function, result, *takes in (
        ("pcap_create", ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p),
        ("pcap_open_dead", ctypes.c_void_p, ctypes.c_int, ctypes.c_int),
        ("pcap_set_snaplen", ctypes.c_int, ctypes.c_void_p, ctypes.c_int),
        ("pcap_set_buffer_size", ctypes.c_int, ctypes.c_void_p, ctypes.c_int),
        ("pcap_activate", ctypes.c_int, ctypes.c_void_p),
        ("pcap_datalink", ctypes.c_int, ctypes.c_void_p),
        ("pcap_geterr", ctypes.c_char_p, ctypes.c_void_p),
        ("pcap_freecode", None, ctypes.POINTER(_Program)),
        ("pcap_close", None, ctypes.c_void_p),
        (
            "pcap_compile",
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.POINTER(_Program),
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_uint32,
        ),
    ):
        getattr(library, function).restype = result
        getattr(library, function).argtypes = takes
    return library
