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


def attachments(
    programs: Mapping[int, KernelProgram], holders: Holders, names: TargetNames
) -> list[Attachment]:
    """Return all visible attachments. Raises OSError if the kernel does not list links.

    The kernel does not report programs on sockets, nor those that take samples without a link.
    """
    needs_network = any(item.type in _OF_NETWORKS for item in programs.values())
    network = list_network_attachments(holders.networks) if needs_network else []
    all_links = links(programs, names)
    by_link = {item.link for item in network if item.link}
    attached = [Attachment(item.program, item.where, item.link) for item in network if item.link]
    without_link = [item for item in network if not item.link]
    for link in all_links:
        if link.id in by_link:
            continue
        place = link.where
        if link.interface:
            place = _take_attachment(link, without_link)
        attached.append(Attachment(link.program, place, link.id))
    attached += [Attachment(item.program, item.where) for item in without_link]
    attached += [Attachment(event.program, _name_place(event.where, names)) for event in holders.events]
    linked = {(item.program, item.where) for item in attached if item.link}
    attached += [
        item for item in _iter_cgroup_attachments(programs) if (item.program, item.where) not in linked
    ]
    return list(dict.fromkeys(attached))


def _take_attachment(link: LinkInfo, without_link: list[NetworkAttachment]) -> str:
    """Return the place of a link on an interface, and remove it from ``without_link``: the kernel reports the
    interface's index without its namespace, so the attachment found there is the link's."""
    for item in without_link:
        if (item.program, item.kind, item.interface) == (link.program, link.type, link.interface):
            without_link.remove(item)
            return item.where
    return f"{link.where.partition(':')[0]}:#{link.interface} in another netns"


def _name_place(place: str, names: TargetNames) -> str:
    kind, _, name = place.partition(":")
    return f"t:{names.event(name)}" if kind == "t" else place


def _iter_cgroup_attachments(programs: Mapping[int, KernelProgram]) -> Iterator[Attachment]:
    """Yield the attachments on cgroups, with or without a link; queries only the types of loaded programs."""
    kinds = sorted({kind for item in programs.values() for kind in _OF_CGROUPS.get(item.type, ())})
    for path, _, folder in cgroups() if kinds else ():
        with contextlib.suppress(OSError), _open_folder(folder) as descriptor:
            for kind in kinds:
                for program, _ in query(descriptor, kind):
                    yield Attachment(program, f"cgroup/{attach_type(kind)}:{path}")


@contextlib.contextmanager
def _open_folder(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def group_by_program(found: Iterable[Attachment]) -> dict[int, list[Attachment]]:
    """Group attachments by program."""
    groups: dict[int, list[Attachment]] = {}
    for attachment in found:
        groups.setdefault(attachment.program, []).append(attachment)
    return groups
