"""BPF links, by the kernel's own list (Linux 5.8)."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping

from pytracer.bpf.holders import format_target
from pytracer.bpf.objects import ObjectKind, iter_ids, open_object
from pytracer.bpf.sys import address, object_info
from pytracer.prog.link_targets import TargetNames, attach_type, interface
from pytracer.prog.program_list import KernelProgram, ignore_vanished
from pytracer.record import record

_SIZE = 128  # bytes: struct bpf_link_info with room to grow
_TEXT = 4096  # bytes of a name that a link tells
_MANY = 1  # functions of a link on many that are named


@record
class LinkInfo:
    """A link: its type (``enum bpf_link_type``), and ``where`` it keeps its program (``rt:sys_enter``).
    ``interface`` is the index of its interface, in whatever network namespace; 0 for none."""

    id: int
    type: str
    program: int
    where: str
    interface: int = 0


def links(programs: Mapping[int, KernelProgram], names: TargetNames) -> list[LinkInfo]:
    """Return all links. Raises OSError."""
    return list(_iter_links(programs, names))


def holding(program: int) -> list[int]:
    """Return the ids of the links that hold a program. Raises OSError."""
    links = []
    for number in iter_ids(ObjectKind.LINK):
        with ignore_vanished(), open_object(ObjectKind.LINK, number) as descriptor:
            info = bytearray(_SIZE)
            object_info(descriptor, info)
            if struct.unpack_from("I", info, 8)[0] == program:
                links.append(number)
    return links


def _iter_links(programs: Mapping[int, KernelProgram], names: TargetNames) -> Iterator[LinkInfo]:
    for number in iter_ids(ObjectKind.LINK):
        with ignore_vanished(), open_object(ObjectKind.LINK, number) as descriptor:
            link = _Raw(descriptor, programs, names)
            kind, describe = _KINDS.get(link.type, (f"type {link.type}", lambda _: ""))
            index = link.word(16) if kind in _ON_INTERFACES else 0
            yield LinkInfo(number, kind, link.program, describe(link), index)


class _Raw:
    """A ``struct bpf_link_info`` as bytes."""

    def __init__(self, descriptor: int, programs: Mapping[int, KernelProgram], names: TargetNames) -> None:
        self._descriptor, self.programs, self.names = descriptor, programs, names
        self._data = bytearray(_SIZE)
        object_info(descriptor, self._data)
        self.type, _, self.program = struct.unpack_from("III", self._data)

    def word(self, offset: int) -> int:
        """Return an unsigned 32-bit number."""
        return int(struct.unpack_from("I", self._data, offset)[0])

    def long(self, offset: int) -> int:
        """Return an unsigned 64-bit number."""
        return int(struct.unpack_from("Q", self._data, offset)[0])

    def array(self, pointer_at: int, count_at: int, size: int) -> bytes:
        """Return ``size`` bytes that the kernel writes to a pointer, which takes a second call. The number of
        elements is at ``count_at``."""
        buffer, request = bytearray(size), bytearray(_SIZE)
        struct.pack_into("Q", request, pointer_at, address(buffer))
        struct.pack_into("I", request, count_at, self.word(count_at) or size)
        object_info(self._descriptor, request)
        return bytes(buffer)

    def text(self, pointer_at: int, length_at: int) -> str:
        """Return a string that the kernel writes to a pointer."""
        struct.pack_into("I", self._data, length_at, 0)
        return os.fsdecode(self.array(pointer_at, length_at, _TEXT).partition(b"\0")[0])


def _name_tracing_target(link: _Raw) -> str:
    kind = attach_type(link.word(16))
    return f"{kind}:{_name_trampoline_target(link, link.word(20), link.word(24)) or '?'}"


def _name_trampoline_target(link: _Raw, object_id: int, number: int) -> str:
    """Name a trampoline's target: a kernel function or a program (since Linux 5.13, 441e8c66b23e)."""
    if not number:
        return ""
    if name := link.names.function(object_id, number):
        return name.removeprefix("bpf_lsm_").removeprefix("btf_trace_")
    target = link.programs.get(object_id)
    return f"program {object_id}{f' ({target.name})' if target else ''}"


def _name_perf_target(link: _Raw) -> str:
    """Name the target of a perf link, which the kernel reports since Linux 6.6 (1b715e1b0ec5)."""
    kind = link.word(16)
    if kind in (1, 2):  # a uprobe, a return
        return format_target("u" if kind == 1 else "ur", link.text(24, 32), link.word(36))
    if kind in (3, 4):
        return format_target("k" if kind == 3 else "kr", link.text(24, 32), link.word(36), link.long(40))
    if kind == 5:
        return f"t:{link.names.event(link.text(24, 32))}"
    return f"perf:{link.word(32)}/{link.long(24)}" if kind == 6 else "perf:?"


def _name_kprobe_multi(link: _Raw) -> str:
    """Name the functions, which the kernel reports since Linux 6.6 (7ac8d0d26191)."""
    kind, count = "kr" if link.word(28) & 1 else "k", link.word(24)
    if not count:
        return f"{kind}:?"
    (first,) = struct.unpack_from("Q", link.array(16, 24, 8 * count))
    return f"{kind}:{link.names.function_at(first) if first else '?'}{_format_more(count)}"


def _name_uprobe_multi(link: _Raw) -> str:
    """Name the places, which the kernel reports since Linux 6.8 (e56fdbfb06e2)."""
    kind, count = "ur" if link.word(56) & 1 else "u", link.word(52)
    if not count:
        return f"{kind}:?"
    (first,) = struct.unpack_from("Q", link.array(24, 52, 8 * count))
    return f"{format_target(kind, link.text(16, 48), first)}{_format_more(count)}"


def _format_more(count: int) -> str:
    return f" and {count - _MANY} more" if count > _MANY else ""


def _name_cgroup(link: _Raw) -> str:
    return f"cgroup/{attach_type(link.word(24))}:{link.names.cgroup(link.long(16))}"


def _name_on_interface(kind: str) -> Callable[[_Raw], str]:
    def where(link: _Raw) -> str:
        direction = "" if kind == "xdp" else f"/{attach_type(link.word(20))}"
        return f"{kind}{direction}:{interface(link.word(16)) if link.word(16) else '(gone)'}"

    return where


_ON_INTERFACES = ("xdp", "tcx", "netkit")
_FAMILIES = {2: "ip", 10: "ip6", 7: "bridge", 0: "any"}
_KINDS: dict[int, tuple[str, Callable[[_Raw], str]]] = {
    1: ("raw_tracepoint", lambda link: f"rt:{link.text(16, 24)}"),
    2: ("tracing", _name_tracing_target),
    3: ("cgroup", _name_cgroup),
    4: ("iter", lambda link: f"iter:{link.text(16, 24)}"),
    5: ("netns", lambda link: f"{attach_type(link.word(20))}:netns {link.word(16)}"),
    6: ("xdp", _name_on_interface("xdp")),
    7: ("perf_event", _name_perf_target),
    8: ("kprobe_multi", _name_kprobe_multi),
    9: ("struct_ops", lambda link: f"struct_ops:map {link.word(16)}"),
    10: (
        "netfilter",
        lambda link: f"netfilter:{_FAMILIES.get(link.word(16), link.word(16))}/{link.word(20)}",
    ),
    11: ("tcx", _name_on_interface("tcx")),
    12: ("uprobe_multi", _name_uprobe_multi),
    13: ("netkit", _name_on_interface("netkit")),
    14: ("sockmap", lambda link: f"{attach_type(link.word(20))}:map {link.word(16)}"),
}
"""By ``enum bpf_link_type``: the name, and a function that names the place."""
