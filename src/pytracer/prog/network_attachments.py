"""List programs on network interfaces in all network namespaces, by rtnetlink and BPF_PROG_QUERY."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from pytracer.bpf.attach.clsact import HANDLE, PARENTS, read_filter_messages, read_qdisc_messages
from pytracer.bpf.attach.interface import list_xdp_programs
from pytracer.bpf.attach.tcx import NAMES as DIRECTIONS
from pytracer.bpf.sys import Command, address, bpf_inout
from pytracer.kernel import interfaces, rtnetlink
from pytracer.procfs import living
from pytracer.prog.link_targets import attach_type
from pytracer.record import record, replace

_CLONE_NEWNET = 0x40000000
_BPF_ID = 11  # TCA_BPF_ID (Linux 4.13, e86283071112)
_NAMED = Path("/run/netns")  # where iproute2 keeps names
_MOST = 64  # programs of one kind on one interface, at the most (BPF_MPROG_MAX)
_CHAINS = {46: "tcx", 47: "tcx", 54: "netkit", 55: "netkit"}
_OF_NAMESPACE = (17, 36)  # BPF_FLOW_DISSECTOR, BPF_SK_LOOKUP
_libc = ctypes.CDLL(None, use_errno=True)


@record
class NetworkAttachment:
    """A program on an interface (its index; 0: on the whole namespace). ``kind`` is xdp, tc, tcx, netkit or
    netns, ``link`` the id of the link that holds it, 0 if there is none or it is unknown."""

    program: int
    kind: str
    where: str
    interface: int
    link: int = 0


def list_network_attachments(namespaces: Mapping[int, int]) -> list[NetworkAttachment]:
    """List the programs of this network namespace, and of those that processes are in (namespace's inode ->
    process id)."""
    own_namespace = Path("/proc/thread-self/ns/net").stat().st_ino
    attached = list(_iter_attachments())
    for number, process in namespaces.items():
        if number != own_namespace:
            attachments = _list_in_namespace(process, number)
            attached += [
                replace(attachment, where=f"{attachment.where} in netns {_name(number)}")
                for attachment in attachments
            ]
    return attached


def query(target: int, kind: int) -> list[tuple[int, int]]:
    """Return (program, link or 0) of an interface's index, or of a cgroup's or namespace's descriptor; none
    if the kernel cannot list them."""
    programs, links = bytearray(4 * _MOST), bytearray(4 * _MOST)
    attributes = struct.pack("IIIIQIIQQ", target, kind, 0, 0, address(programs), _MOST, 0, 0, address(links))
    try:
        _, attr = bpf_inout(Command.PROG_QUERY, attributes)
    except OSError:
        try:  # before Linux 6.6 (053c8e1f235d) links are not reported
            _, attr = bpf_inout(Command.PROG_QUERY, attributes[:32])
        except OSError:
            return []
    (count,) = struct.unpack_from("I", attr, 24)
    words = (struct.unpack(f"{_MOST}I", data)[:count] for data in (programs, links))
    return list(zip(*words, strict=True))


def _iter_attachments() -> Iterator[NetworkAttachment]:
    """Yield the attachments in the calling thread's namespace. Kinds that cannot be queried are left out."""
    with contextlib.suppress(OSError):
        names = {number: interface.name for number, interface in interfaces.list_interfaces().items()}
        for index, programs in list_xdp_programs().items():
            for program in programs:
                yield NetworkAttachment(program, "xdp", f"xdp:{names.get(index, f'#{index}')}", index)
        yield from _iter_tc_attachments(names)
        for index, name in names.items():
            for kind, family in _CHAINS.items():
                for program, link in query(index, kind):
                    yield NetworkAttachment(
                        program, family, f"{family}/{attach_type(kind)}:{name}", index, link
                    )
    with contextlib.suppress(OSError), open("/proc/thread-self/ns/net", "rb") as namespace:
        for kind in _OF_NAMESPACE:
            for program, _ in query(namespace.fileno(), kind):
                yield NetworkAttachment(
                    program, "netns", f"{attach_type(kind)}:netns {os.fstat(namespace.fileno()).st_ino}", 0
                )


def _iter_tc_attachments(names: Mapping[int, str]) -> Iterator[NetworkAttachment]:
    for qdisc in read_qdisc_messages():
        index, kind = qdisc["index"], qdisc.get_attr("TCA_KIND")
        if not qdisc["handle"]:
            continue
        parents = {qdisc["handle"]: ""}
        if qdisc["handle"] == HANDLE:
            directions = PARENTS if kind == "clsact" else dict(list(PARENTS.items())[:1])
            parents = {parent: f"/{DIRECTIONS[direction]}" for direction, parent in directions.items()}
        for parent, direction in parents.items():
            with contextlib.suppress(OSError):  # an interface that has gone
                for _, options in read_filter_messages(index, parent):
                    raw = rtnetlink.find_attribute(options, _BPF_ID) if options is not None else b""
                    if raw:
                        program = int.from_bytes(raw, sys.byteorder)
                        yield NetworkAttachment(
                            program, "tc", f"tc{direction}:{names.get(index, f'#{index}')}", index
                        )


def _list_in_namespace(process: int, number: int) -> list[NetworkAttachment]:
    """List the attachments in a process's namespace; none if it has ended, or may not be entered."""
    attached: list[NetworkAttachment] = []

    def enter() -> None:  # a thread's namespace is its own, and ends with it
        with contextlib.suppress(OSError), open(f"/proc/{living(process)}/ns/net", "rb") as namespace:
            is_same = os.fstat(namespace.fileno()).st_ino == number  # and no process that came later
            if is_same and _libc.setns(namespace.fileno(), _CLONE_NEWNET) == 0:
                attached.extend(_iter_attachments())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return attached


def _name(number: int) -> str:
    """Return the name of a network namespace if it has one, else its number."""
    with contextlib.suppress(OSError):
        for path in _NAMED.iterdir():
            with contextlib.suppress(OSError):
                if path.stat().st_ino == number:
                    return path.name
    return str(number)
