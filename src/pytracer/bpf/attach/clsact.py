"""Traffic control by a filter of a clsact qdisc (Linux 4.5, 1f211a1b929c), for kernels without tcx.

The qdisc is shared with whoever has one there. The filter takes the first priority that nobody uses, and its
verdict leaves the packet to those that come after. Both stay when the process that made them ends. So the
filter's name says whose it is (owner.py), and whether pytracer made the qdisc: what a killed process left on
any interface is taken away before the next one is made.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from collections.abc import Iterator
from typing import Any

from pytracer.bpf.attach import tcx
from pytracer.bpf.attach.interface import NEEDED, InterfaceLink
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link, attach_each
from pytracer.bpf.attach.owner import is_dead, owner
from pytracer.bpf.attach.refusal import attach_error
from pytracer.bpf.attach.tcx import EGRESS, INGRESS, NAMES, WAYS
from pytracer.bpf.prober import FeatureProber
from pytracer.bpf.sys import ProgType
from pytracer.errors import AttachError
from pytracer.kernel import rtnetlink
from pytracer.kernel.facts import Support
from pytracer.record import record
from pytracer.spec import Clsact

_NEWQDISC, _DELQDISC, _GETQDISC = 36, 37, 38  # RTM_*
_NEWFILTER, _DELFILTER, _GETFILTER = 44, 45, 46
_CLSACT, HANDLE = 0xFFFFFFF1, 0xFFFF0000  # TC_H_CLSACT; ffff:, which ingress qdiscs have
PARENTS = {INGRESS: 0xFFFFFFF2, EGRESS: 0xFFFFFFF3}  # TC_H_MIN_INGRESS, TC_H_MIN_EGRESS
_DIRECT = 1  # TCA_BPF_FLAG_ACT_DIRECT: what the program returns is the verdict
_OURS = re.compile(r"pytracer_(\d+_\d+_\d+)(_made)?")  # with _made, the qdisc is pytracer's, too
_OUR_HANDLE = 1
_PRIORITIES = range(1, 0xC000)  # from there on the kernel gives them out by itself
_ALL = socket.htons(3)  # ETH_P_ALL
_TRIES = 16


@record
class TcFilter:
    """A filter on an interface. ``name`` is that of a BPF one."""

    index: int
    way: int
    priority: int
    handle: int
    name: str

    @property
    def is_own(self) -> re.Match[str] | None:
        """Whether it is a pytracer's: (its owner, "_made")."""
        return _OURS.fullmatch(self.name)


class FilterLink(InterfaceLink):
    """A filter that is ours, until it is taken away."""

    def __init__(self, made: TcFilter, interface: str, note: str) -> None:
        """Own the filter."""
        how = f"clsact {NAMES[made.way]}, priority {made.priority}"
        super().__init__(-1, made.index, interface, how=how, note=note)
        self._filter, self._is_on = made, True

    def is_attached(self) -> bool:
        """See :class:`InterfaceLink`."""
        return self._filter in filters(self.index, self._filter.way)

    def detach(self) -> None:
        """See :class:`Link`. What others put in its place meanwhile stays."""
        if self._is_on:
            self._is_on = False
            try:
                remove(self._filter)
            except OSError as error:
                raise attach_error(error, f"{self.place}, to take a filter away", needed=NEEDED) from error


def check_support(_: Clsact, kernel: FeatureProber) -> Support:
    """Whether there are programs for traffic control; the qdisc is a module that comes when it is named."""
    return tcx.can_load(kernel)


def load_attributes(_: Clsact) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Kind`."""
    return LoadAttributes(ProgType.SCHED_CLS, result=tcx.NEXT)


def attach(_: Clsact, place: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Kind`: one or two for each interface."""

    def attach(index: int, name: str) -> Iterator[Link]:
        for way in WAYS[place.choice]:
            try:
                made, note = _attach(index, name, way, program)
            except OSError as error:
                raise attach_error(error, f"{name} {NAMES[way]} by clsact", needed=NEEDED) from error
            yield FilterLink(made, name, f"interface {name}: {note}" if note else "")

    try:
        sweep()
    except OSError as error:
        raise attach_error(error, "traffic control", needed=NEEDED) from error
    return attach_each(place.interfaces, attach)


def _attach(index: int, name: str, way: int, program: int) -> tuple[TcFilter, str]:
    """The filter that was made, and what the user should know of it. Raises OSError, or AttachError."""
    made = _make_qdisc(index)
    # The qdisc "ingress" would take a filter for egress, and show it what comes in.
    if way == EGRESS and not made and qdiscs().get(index) != "clsact":
        raise AttachError(
            f"{name} has an ingress qdisc of somebody's, where nothing that goes out is seen",
            hint="--direction in goes with it",
        )
    try:
        for _ in range(_TRIES):
            there = filters(index, way)
            # What a pytracer made and another still uses goes with the last of them.
            kept = made or any(one.is_own and one.is_own[2] for one in filters(index))
            used = {one.priority for one in there}
            priority = next(number for number in _PRIORITIES if number not in used)
            label = f"pytracer_{owner(os.getpid())}{'_made' if kept else ''}"
            filter_ = TcFilter(index, way, priority, _OUR_HANDLE, label)
            try:
                _request(filter_, _NEWFILTER, rtnetlink.CREATE | rtnetlink.EXCL, program)
            except FileExistsError:
                continue  # somebody else was quicker
            before = [one for one in there if one.priority < priority and not one.is_own]
            return filter_, "what filters before it take away is not seen" if before else ""
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                _remove_qdisc(index)
        raise
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def filters(index: int, *ways: int) -> list[TcFilter]:
    """The filters on an interface, both ways unless said otherwise. Raises OSError."""
    found = []
    for way in ways or tuple(PARENTS):
        for message, options in filter_messages(index, PARENTS[way]):
            name = options.get_attr("TCA_BPF_NAME") if options is not None else ""
            found.append(TcFilter(index, way, message["info"] >> 16, message["handle"], name or ""))
    return found


def filter_messages(index: int, parent: int) -> list[tuple[Any, Any]]:
    """The kernel's messages about the filters of an interface below ``parent``, each with its options where
    it is a BPF one, else None. Raises OSError."""

    def fill(message: Any) -> None:
        message["index"] = index
        message["parent"] = parent

    # Of each priority there is a message without a handle, too.
    messages = [message for message in rtnetlink.dump("tcmsg", _GETFILTER, fill) if message["handle"]]
    return [(m, m.get_attr("TCA_OPTIONS") if m.get_attr("TCA_KIND") == "bpf" else None) for m in messages]


def remove(filter_: TcFilter) -> None:
    """Take a pytracer's filter away if it is there, and the qdisc if a pytracer made it and nobody uses it.

    Raises OSError. An interface that is gone has neither.
    """
    try:
        if filter_ in filters(filter_.index, filter_.way):
            _request(filter_, _DELFILTER, 0)
        if filter_.is_own and filter_.is_own[2] and not filters(filter_.index):
            _remove_qdisc(filter_.index)
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):
            raise


def sweep() -> None:
    """Take away what processes left that ended without doing it. Raises OSError."""
    for index in qdiscs():
        for one in filters(index):
            if one.is_own and is_dead(one.is_own[1]):
                remove(one)


def qdiscs() -> dict[int, str]:
    """The kind of qdisc that has ingress, by interface. Raises OSError."""
    return {m["index"]: m.get_attr("TCA_KIND") for m in qdisc_messages() if m["handle"] == HANDLE}


def qdisc_messages() -> list[Any]:
    """The kernel's messages about all qdiscs. Raises OSError."""
    return rtnetlink.dump("tcmsg", _GETQDISC, lambda _: None)


def _make_qdisc(index: int) -> bool:
    """Make one, unless there is one: whether it was made. Raises OSError."""
    try:
        _request_qdisc(index, _NEWQDISC, rtnetlink.CREATE | rtnetlink.EXCL)
    except FileExistsError:
        return False
    return True


def _remove_qdisc(index: int) -> None:
    _request_qdisc(index, _DELQDISC, 0)


def _request_qdisc(index: int, kind: int, flags: int) -> None:
    def fill(message: Any) -> None:
        message["index"] = index
        message["handle"] = HANDLE
        message["parent"] = _CLSACT
        message["attrs"] = [("TCA_KIND", "clsact")]

    rtnetlink.tell("tcmsg", kind, flags, fill)


def _request(filter_: TcFilter, kind: int, flags: int, program: int = -1) -> None:
    def fill(message: Any) -> None:
        message["index"] = filter_.index
        message["handle"] = filter_.handle
        message["parent"] = PARENTS[filter_.way]
        message["info"] = filter_.priority << 16 | _ALL
        message["attrs"] = [("TCA_KIND", "bpf")]
        if program >= 0:
            options = [
                ("TCA_BPF_FD", program),
                ("TCA_BPF_NAME", filter_.name),
                ("TCA_BPF_FLAGS", _DIRECT),
            ]
            message["attrs"].append(("TCA_OPTIONS", {"attrs": options}))

    rtnetlink.tell("tcmsg", kind, flags, fill)
