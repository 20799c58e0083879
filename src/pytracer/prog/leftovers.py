"""Find objects that killed tracers left attached, and the commands that remove them.

Links and perf events end with the process. Attachments by name or number alone stay: filters of traffic
control, XDP by rtnetlink, programs on cgroups before Linux 5.7, and kprobe events (disarmed). Each has a name
that identifies its owner; the next tracer that attaches in this way removes leftovers of ended processes.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
from collections.abc import Callable, Iterator

from pytracer.bpf.attach import cgroup, clsact, probe_events
from pytracer.bpf.attach.interface import list_xdp_programs
from pytracer.bpf.attach.owner import is_dead
from pytracer.bpf.attach.tcx import NAMES
from pytracer.bpf.objects import ObjectKind, iter_ids
from pytracer.errors import PytracerError
from pytracer.kernel import tracefs
from pytracer.kernel.filter_values import cgroups
from pytracer.prog.link_targets import attach_type
from pytracer.record import record

_ATTACH_TYPES = range(64)  # enum bpf_attach_type; those that are not for cgroups are refused


@record
class Leftover:
    """Something that is still attached: ``what`` it is and where, and the ``command`` that removes it."""

    what: str
    command: str


def find_leftovers() -> list[Leftover]:
    """Find all leftovers visible in this network namespace, mount namespace and PID namespace.

    Raises OSError or PytracerError if none of the searches works.
    """
    leftovers, problems = list[Leftover](), list[OSError | PytracerError]()
    finders: tuple[Callable[[], Iterator[Leftover]], ...] = (
        _iter_filters,
        _iter_xdp,
        _iter_cgroups,
        _iter_trace_events,
    )
    for find in finders:
        try:
            leftovers += find()
        except (OSError, PytracerError) as error:  # lockdown withholds tracefs alone
            problems.append(error)
    if len(problems) == len(finders):
        raise problems[0]
    return leftovers


def _iter_filters() -> Iterator[Leftover]:
    for index in clsact.list_qdiscs():
        name = _interface_name(index)
        present = clsact.list_filters(index)
        dead = [leftover for leftover in present if leftover.owner_match and is_dead(leftover.owner_match[1])]
        for leftover in dead:
            direction = NAMES[leftover.direction]
            place = f"dev {name} {direction} pref {leftover.priority} handle {leftover.handle:#x}"
            yield Leftover(f"a filter on {name} {direction}", f"tc filter del {place} bpf")
        if (
            dead
            and len(dead) == len(present)
            and any(leftover.owner_match and leftover.owner_match[2] for leftover in dead)
        ):
            yield Leftover(f"the qdisc clsact on {name}", f"tc qdisc del dev {name} clsact")


def _iter_xdp() -> Iterator[Leftover]:
    for index, numbers in list_xdp_programs().items():
        for number in numbers:
            if cgroup.is_leftover(number):
                name = _interface_name(index)
                yield Leftover(f"XDP program {number} on {name}", f"ip link set dev {name} xdp off")


def _iter_cgroups() -> Iterator[Leftover]:
    dead = {number for number in iter_ids(ObjectKind.PROGRAM) if cgroup.is_leftover(number)}
    for _, _, path in cgroups() if dead else ():
        with contextlib.suppress(OSError):  # it was removed meanwhile
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for kind in _ATTACH_TYPES:
                    with contextlib.suppress(OSError):
                        for number in dead.intersection(cgroup.query_attached(folder, kind)):
                            attach_name = attach_type(kind)
                            command = (
                                f"bpftool cgroup detach {shlex.quote(str(path))} {attach_name} id {number}"
                            )
                            yield Leftover(f"program {number} on cgroup {path} ({attach_name})", command)
            finally:
                os.close(folder)


def _iter_trace_events() -> Iterator[Leftover]:
    for listing in (probe_events.KPROBES, probe_events.UPROBES):
        with contextlib.suppress(FileNotFoundError):  # a kernel without such probes
            for event in probe_events.list_leftovers(listing):
                command = f"echo '-:{event}' >> {tracefs.TRACING}/{listing}"
                yield Leftover(f"the trace event {event}, disarmed", command)


def _interface_name(index: int) -> str:
    with contextlib.suppress(OSError):
        return shlex.quote(socket.if_indextoname(index))
    return f"#{index}"
