"""Traffic control by a filter of a clsact qdisc, for kernels without tcx.

The qdisc may be shared with other users. The filter takes the first free priority, and its verdict passes the
packet on to the filters after it. Filter and qdisc outlive the process that made them. So the filter's name
identifies its owner (owner.py) and says whether pytracer made the qdisc: leftovers of killed processes are
removed from all interfaces before the next filter is made.
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
from pytracer.bpf.attach.owner import is_dead, name_owner
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.attach.tcx import DIRECTIONS, EGRESS, INGRESS, NAMES
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
class TrafficControlFilter:
    """A filter on an interface. ``name`` is empty unless it is a BPF filter."""

    index: int
    direction: int
    priority: int
    handle: int
    name: str

    @property
    def owner_match(self) -> re.Match[str] | None:
        """The match of a name that pytracer gave: (owner, "_made" or None); None for filters of others."""
        return _OURS.fullmatch(self.name)


class FilterLink(InterfaceLink):
    """A filter that this process made, until it is removed."""

    def __init__(self, traffic_filter: TrafficControlFilter, interface: str, note: str) -> None:
        """Own the filter."""
        description = f"clsact {NAMES[traffic_filter.direction]}, priority {traffic_filter.priority}"
        super().__init__(-1, traffic_filter.index, interface, description=description, note=note)
        self._filter, self._is_on = traffic_filter, True

    def is_attached(self) -> bool:
        """See :class:`InterfaceLink`."""
        return self._filter in list_filters(self.index, self._filter.direction)

    def detach(self) -> None:
        """See :class:`Link`. A filter by which others have replaced it remains."""
        if self._is_on:
            self._is_on = False
            try:
                remove(self._filter)
            except OSError as error:
                raise make_attach_error(
                    error, f"{self.place}, to take a filter away", capabilities=NEEDED
                ) from error


def check_support(_: Clsact, prober: FeatureProber) -> Support:
    """Test whether the kernel loads programs for traffic control; it loads the module of the qdisc on
    demand."""
    return tcx.can_load(prober)


def load_attributes(_: Clsact) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.SCHED_CLS, result=tcx.NEXT)


def attach(_: Clsact, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`: one or two for each interface."""

    def attach(index: int, name: str) -> Iterator[Link]:
        for direction in DIRECTIONS[target.choice]:
            try:
                traffic_filter, note = _attach(index, name, direction, program)
            except OSError as error:
                raise make_attach_error(
                    error, f"{name} {NAMES[direction]} by clsact", capabilities=NEEDED
                ) from error
            yield FilterLink(traffic_filter, name, f"interface {name}: {note}" if note else "")

    try:
        sweep()
    except OSError as error:
        raise make_attach_error(error, "traffic control", capabilities=NEEDED) from error
    return attach_each(target.interfaces, attach)


def _attach(index: int, name: str, direction: int, program: int) -> tuple[TrafficControlFilter, str]:
    """Make a filter. Returns it, and a note for the user. Raises OSError, or AttachError."""
    is_qdisc_ours = _create_qdisc(index)
    # The qdisc "ingress" would accept a filter for egress, and run it on incoming packets.
    if direction == EGRESS and not is_qdisc_ours and list_qdiscs().get(index) != "clsact":
        raise AttachError(
            f"{name} has an ingress qdisc of another program, which does not see outgoing packets",
            hint="use --direction in",
        )
    try:
        for _ in range(_TRIES):
            existing = list_filters(index, direction)
            # A qdisc that one pytracer made and another still uses is removed by the last of them.
            creates_qdisc = is_qdisc_ours or any(
                existing_filter.owner_match and existing_filter.owner_match[2]
                for existing_filter in list_filters(index)
            )
            used_priorities = {existing_filter.priority for existing_filter in existing}
            priority = next(number for number in _PRIORITIES if number not in used_priorities)
            label = f"pytracer_{name_owner(os.getpid())}{'_made' if creates_qdisc else ''}"
            filter_ = TrafficControlFilter(index, direction, priority, _OUR_HANDLE, label)
            try:
                _request_filter(filter_, _NEWFILTER, rtnetlink.CREATE | rtnetlink.EXCL, program)
            except FileExistsError:
                continue  # somebody else was quicker
            earlier = [
                existing_filter
                for existing_filter in existing
                if existing_filter.priority < priority and not existing_filter.owner_match
            ]
            return filter_, "what filters before it take away is not seen" if earlier else ""
    except BaseException:
        if is_qdisc_ours:
            with contextlib.suppress(OSError):
                _remove_qdisc(index)
        raise
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def list_filters(index: int, *directions: int) -> list[TrafficControlFilter]:
    """List the filters on an interface, of both directions unless given. Raises OSError."""
    present = []
    for direction in directions or tuple(PARENTS):
        for message, options in read_filter_messages(index, PARENTS[direction]):
            name = options.get_attr("TCA_BPF_NAME") if options is not None else ""
            present.append(
                TrafficControlFilter(index, direction, message["info"] >> 16, message["handle"], name or "")
            )
    return present


def read_filter_messages(index: int, parent: int) -> list[tuple[Any, Any]]:
    """Return the kernel's messages about the filters of an interface below ``parent``, each with its options
    if it is a BPF filter, else with None. Raises OSError."""

    def fill(message: Any) -> None:
        message["index"] = index
        message["parent"] = parent

    # Of each priority there is a message without a handle, too.
    messages = [message for message in rtnetlink.dump("tcmsg", _GETFILTER, fill) if message["handle"]]
    return [(m, m.get_attr("TCA_OPTIONS") if m.get_attr("TCA_KIND") == "bpf" else None) for m in messages]


def remove(filter_: TrafficControlFilter) -> None:
    """Remove a filter of pytracer if it is there, and the qdisc if pytracer made it and it is unused.

    An interface that is removed has neither. Raises OSError.
    """
    try:
        if filter_ in list_filters(filter_.index, filter_.direction):
            _request_filter(filter_, _DELFILTER, 0)
        if filter_.owner_match and filter_.owner_match[2] and not list_filters(filter_.index):
            _remove_qdisc(filter_.index)
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):
            raise


def sweep() -> None:
    """Remove the filters that ended processes left. Raises OSError."""
    for index in list_qdiscs():
        for leftover in list_filters(index):
            if leftover.owner_match and is_dead(leftover.owner_match[1]):
                remove(leftover)


def list_qdiscs() -> dict[int, str]:
    """Return the kind of the ingress or clsact qdisc of each interface, by its index. Raises OSError."""
    return {m["index"]: m.get_attr("TCA_KIND") for m in read_qdisc_messages() if m["handle"] == HANDLE}


def read_qdisc_messages() -> list[Any]:
    """Return the kernel's messages about all qdiscs. Raises OSError."""
    return rtnetlink.dump("tcmsg", _GETQDISC, lambda _: None)


def _create_qdisc(index: int) -> bool:
    """Make the clsact qdisc. Returns False if there is one already. Raises OSError."""
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

    rtnetlink.send_request("tcmsg", kind, flags, fill)


def _request_filter(filter_: TrafficControlFilter, kind: int, flags: int, program: int = -1) -> None:
    def fill(message: Any) -> None:
        message["index"] = filter_.index
        message["handle"] = filter_.handle
        message["parent"] = PARENTS[filter_.direction]
        message["info"] = filter_.priority << 16 | _ALL
        message["attrs"] = [("TCA_KIND", "bpf")]
        if program >= 0:
            options = [
                ("TCA_BPF_FD", program),
                ("TCA_BPF_NAME", filter_.name),
                ("TCA_BPF_FLAGS", _DIRECT),
            ]
            message["attrs"].append(("TCA_OPTIONS", {"attrs": options}))

    rtnetlink.send_request("tcmsg", kind, flags, fill)
