"""Find where programs are attached: by links, perf events, interfaces and cgroups."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pytracer.bpf.holders import Holders
from pytracer.kernel.filter_values import cgroups
from pytracer.prog.link_targets import TargetNames, attach_type
from pytracer.prog.links import LinkInfo, links
from pytracer.prog.network_attachments import NetworkAttachment, list_network_attachments, query
from pytracer.prog.program_list import KernelProgram
from pytracer.record import record

_OF_CGROUPS = {  # what programs of a type can be attached to in a cgroup (enum bpf_attach_type)
    "cgroup_skb": (0, 1),
    "cgroup_sock": (2, 12, 13, 34),
    "sock_ops": (3,),
    "cgroup_device": (6,),
    "cgroup_sock_addr": (8, 9, 10, 11, 14, 15, 19, 20, 29, 30, 31, 32, 49, 50, 51, 52, 53),
    "cgroup_sysctl": (18,),
    "cgroup_sockopt": (21, 22),
    "lsm": (43,),
}
_OF_NETWORKS = frozenset({"xdp", "sched_cls", "sched_act", "flow_dissector", "sk_lookup"})


@record
class Attachment:
    """A program at a place, named as users name it if possible (``k:vfs_read``, ``xdp:eth0``); ``link`` is
    the id of the link that keeps it there, 0 if there is none or it is unknown."""

    program: int
    where: str
    link: int = 0


def attachments(programs: Mapping[int, KernelProgram], held: Holders, names: TargetNames) -> list[Attachment]:
    """Return all visible attachments. Raises OSError if the kernel does not list links.

    The kernel does not report programs on sockets, nor those that take samples without a link.
    """
    wanted = any(one.type in _OF_NETWORKS for one in programs.values())
    network = list_network_attachments(held.networks) if wanted else []
    all_links = links(programs, names)
    by_link = {one.link for one in network if one.link}
    attached = [Attachment(one.program, one.where, one.link) for one in network if one.link]
    loose = [one for one in network if not one.link]
    for link in all_links:
        if link.id in by_link:
            continue
        where = link.where
        if link.interface:
            where = _take_attachment(link, loose)
        attached.append(Attachment(link.program, where, link.id))
    attached += [Attachment(one.program, one.where) for one in loose]
    attached += [Attachment(event.program, _named(event.where, names)) for event in held.events]
    linked = {(one.program, one.where) for one in attached if one.link}
    attached += [one for one in _on_cgroups(programs) if (one.program, one.where) not in linked]
    return list(dict.fromkeys(attached))


def _take_attachment(link: LinkInfo, loose: list[NetworkAttachment]) -> str:
    """Return the place of a link on an interface, and remove it from ``loose``: the kernel reports the
    interface's index without its namespace, so the attachment found there is the link's."""
    for one in loose:
        if (one.program, one.kind, one.interface) == (link.program, link.type, link.interface):
            loose.remove(one)
            return one.where
    return f"{link.where.partition(':')[0]}:#{link.interface} in another netns"


def _named(where: str, names: TargetNames) -> str:
    kind, _, name = where.partition(":")
    return f"t:{names.event(name)}" if kind == "t" else where


def _on_cgroups(programs: Mapping[int, KernelProgram]) -> Iterator[Attachment]:
    """Yield the attachments on cgroups, with or without a link; queries only the types of loaded programs."""
    kinds = sorted({kind for one in programs.values() for kind in _OF_CGROUPS.get(one.type, ())})
    for path, _, folder in cgroups() if kinds else ():
        with contextlib.suppress(OSError), _folder(folder) as descriptor:
            for kind in kinds:
                for program, _ in query(descriptor, kind):
                    yield Attachment(program, f"cgroup/{attach_type(kind)}:{path}")


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def group_by_program(attached: Iterable[Attachment]) -> dict[int, list[Attachment]]:
    """Group attachments by program."""
    sorted_out: dict[int, list[Attachment]] = {}
    for one in attached:
        sorted_out.setdefault(one.program, []).append(one)
    return sorted_out
