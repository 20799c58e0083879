"""Test programs on interfaces that disappear: messages, and qdiscs and filters that must stay."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pytracer.bpf.attach import clsact, interface, tcx, xdp, xdp_netlink
from pytracer.bpf.attach.interface import InterfaceLink
from pytracer.bpf.attach.owner import encode_short_name, name_owner
from pytracer.errors import AttachError, UnsupportedError

HERE = Path("/proc/self/ns/pid").stat().st_ino
DEAD = f"pytracer_{HERE}_1_1"  # process 1 was not born so early


class OneLink(InterfaceLink):
    """A link that is attached until the test detaches it."""

    attached = True

    def is_attached(self) -> bool:
        return self.attached


@pytest.mark.parametrize(
    ("index", "attached", "message"),
    [(1, True, ""), (1, False, "somebody took the program off"), (0x7FFFFFFF, False, "it is gone")],
)
def test_a_detached_program_is_reported_once(index, attached, message):
    link = OneLink(-1, index, "eth0", description="")
    link.attached = attached
    assert (link.poll_detached, link.is_over) == (message, bool(message))
    assert link.poll_detached == ""


def refusing(*errors: int):
    """Return an attach function that fails with one error after the other and then succeeds, and the list of
    modes requested of it."""
    remaining, requests = list(errors), []

    def attach(mode: int) -> int:
        requests.append(mode)
        if remaining:
            raise OSError(remaining.pop(0), "")
        return 7

    return attach, requests


def test_the_driver_is_tried_before_generic_mode():
    attach, requests = refusing(errno.EOPNOTSUPP)
    link, mode, note = xdp.try_mode("best", 2, "eth0", attach)
    assert (link, mode, requests) == (7, xdp.GENERIC, [xdp.NATIVE, xdp.GENERIC])
    assert "eth0: generic XDP" in note
    attach, requests = refusing()
    assert xdp.try_mode("best", 2, "eth0", attach) == (7, xdp.NATIVE, "")


def test_a_requested_mode_is_the_only_one_tried():
    attach, requests = refusing(errno.EOPNOTSUPP)
    with pytest.raises(UnsupportedError, match="eth0 by native XDP"):
        xdp.try_mode("native", 2, "eth0", attach)
    assert requests == [xdp.NATIVE]


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EEXIST])
def test_a_program_of_others_is_not_bypassed(number, monkeypatch):
    monkeypatch.setattr(xdp, "list_xdp_programs", lambda: {2: (42,)})
    monkeypatch.setattr(xdp, "describe_program", lambda number: f"somebody's, {number}")
    attach, requests = refusing(number)
    with pytest.raises(AttachError, match="another XDP program is on eth0, and stays: somebody's, 42"):
        xdp.try_mode("best", 2, "eth0", attach)
    assert requests == [xdp.NATIVE]


def test_a_program_without_a_holder_is_reported_so(monkeypatch):
    monkeypatch.setattr(interface, "program_by_id", lambda _: (_ for _ in ()).throw(OSError()))
    assert interface.describe_program(0x7FFFFFFF) == f"id {0x7FFFFFFF}, which no process holds"


class Traffic:
    """The filters and qdiscs of interfaces, as the kernel keeps them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.qdiscs: dict[int, str] = {}
        self.there: list[clsact.TrafficControlFilter] = []
        monkeypatch.setattr(clsact, "list_qdiscs", lambda: dict(self.qdiscs))
        monkeypatch.setattr(clsact, "_request_qdisc", self.qdisc)
        monkeypatch.setattr(clsact, "_request_filter", self.filter)
        monkeypatch.setattr(clsact, "list_filters", self.filters)

    def qdisc(self, index: int, kind: int, _flags: int) -> None:
        if kind == clsact._DELQDISC:
            del self.qdiscs[index]
        elif index in self.qdiscs:
            raise FileExistsError(errno.EEXIST, "")
        else:
            self.qdiscs[index] = "clsact"

    def filter(
        self, tc_filter: clsact.TrafficControlFilter, kind: int, _flags: int, _program: int = -1
    ) -> None:
        if kind == clsact._DELFILTER:
            self.there.remove(tc_filter)
        else:
            self.there.append(tc_filter)

    def filters(self, index: int, *directions: int) -> list[clsact.TrafficControlFilter]:
        return [
            f
            for f in self.there
            if f.index == index and f.direction in (directions or (tcx.INGRESS, tcx.EGRESS))
        ]


@pytest.fixture
def traffic(monkeypatch):
    return Traffic(monkeypatch)


def foreign_filter(index: int, priority: int, name: str = "somebody's") -> clsact.TrafficControlFilter:
    return clsact.TrafficControlFilter(index, tcx.INGRESS, priority, 1, name)


def test_a_created_qdisc_is_removed_with_its_last_filter(traffic):
    first, _ = clsact._attach(2, "eth0", tcx.INGRESS, 3)
    second, _ = clsact._attach(2, "eth0", tcx.EGRESS, 3)
    assert [tc_filter.name for tc_filter in (first, second)] == [
        f"pytracer_{name_owner(os.getpid())}_made"
    ] * 2
    clsact.remove(first)
    assert traffic.qdiscs == {2: "clsact"}
    clsact.remove(second)
    assert (traffic.qdiscs, traffic.there) == ({}, [])


def test_a_created_qdisc_stays_while_others_use_it(traffic):
    qdisc, _ = clsact._attach(2, "eth0", tcx.INGRESS, 3)
    traffic.there.append(foreign_filter(2, 9))
    clsact.remove(qdisc)
    assert (traffic.qdiscs, traffic.there) == ({2: "clsact"}, [foreign_filter(2, 9)])


def test_the_qdisc_of_another_stays_and_its_priorities_are_left_alone(traffic):
    traffic.qdiscs[2] = "clsact"
    traffic.there += [foreign_filter(2, 1), foreign_filter(2, 2), foreign_filter(2, 4)]
    qdisc, note = clsact._attach(2, "eth0", tcx.INGRESS, 3)
    assert (qdisc.priority, qdisc.owner_match[2]) == (3, None)
    assert note == "what filters before it take away is not seen"
    clsact.remove(qdisc)
    assert traffic.qdiscs == {2: "clsact"}
    assert len(traffic.there) == 3


def test_an_ingress_qdisc_has_no_egress(traffic):
    traffic.qdiscs[2] = "ingress"
    clsact._attach(2, "eth0", tcx.INGRESS, 3)
    with pytest.raises(AttachError, match="eth0 has an ingress qdisc"):
        clsact._attach(2, "eth0", tcx.EGRESS, 3)


def test_only_leftovers_of_dead_processes_are_swept(traffic):
    alive = f"pytracer_{name_owner(os.getpid())}"
    elsewhere = f"pytracer_{HERE + 1}_1_1_made"
    traffic.qdiscs = dict.fromkeys((2, 3, 4, 5), "clsact")
    traffic.there = [
        foreign_filter(2, 1, f"{DEAD}_made"),
        foreign_filter(3, 1, f"{DEAD}_made"),
        foreign_filter(3, 2, alive),
        foreign_filter(4, 1, DEAD),
        foreign_filter(5, 1, elsewhere),
        foreign_filter(5, 2, f"not_{DEAD}"),
    ]
    clsact.sweep()
    assert traffic.there == [
        foreign_filter(3, 2, alive),
        foreign_filter(5, 1, elsewhere),
        foreign_filter(5, 2, f"not_{DEAD}"),
    ]
    assert set(traffic.qdiscs) == {3, 4, 5}


def test_only_programs_of_dead_processes_are_detached(monkeypatch):
    names = {
        11: encode_short_name(DEAD.removeprefix("pytracer_")),
        12: encode_short_name(name_owner(os.getpid())),
        13: "xdp_dispatcher",
    }
    detached = []
    descriptors: dict[int, int] = {}

    def by_id(number: int) -> int:
        descriptor = os.open(os.devnull, os.O_RDONLY)
        descriptors[descriptor] = number
        return descriptor

    monkeypatch.setattr(xdp_netlink, "list_xdp_programs", lambda: {2: (11,), 3: (12,), 4: (13,)})
    monkeypatch.setattr(xdp_netlink, "program_by_id", by_id)
    monkeypatch.setattr(xdp_netlink, "program_info", lambda fd: (descriptors[fd], names[descriptors[fd]]))
    monkeypatch.setattr(
        xdp_netlink, "_set_program", lambda index, program, _flags: detached.append((index, program))
    )
    xdp_netlink.sweep()
    assert detached == [(2, -1)]
