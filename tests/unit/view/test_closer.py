"""Test which tracers look closer at a row."""

from __future__ import annotations

import struct

import pytest

from pytracer.kernel.filter_values import comm, mount_namespace, network_namespace, user, word_of
from pytracer.record import replace
from pytracer.spec import Filter, registry
from pytracer.view.closer import find_closer, narrow

SYSCALLS = registry.get("syscalls")
HOSTILE = "a'; rm -rf \\x1b[2J"  # a name with an escape, as rows have it


def number(value):
    return struct.pack("I", value)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"pid": 7, "tid": 8, "comm": "a"}, {Filter.TID: ["8"]}),
        ({"pid": 7, "comm": "a"}, {Filter.PID: ["7"]}),
        ({"comm": HOSTILE}, {Filter.COMM: ["a'; rm -rf \x1b[2J"]}),
        ({"pid": 0, "comm": None}, {}),
        ({"disk": "sda"}, {}),
    ],
)
def test_rows_name_tasks(row, expected):
    assert narrow(row, SYSCALLS) == expected


RUN = {
    Filter.PID: (number(7), number(9)),
    Filter.COMM: (b"worker".ljust(16, b"\0"),),
    Filter.UID: (number(33),),
    Filter.CGROUP: (b"/sys/fs/cgroup/a b",),
    Filter.NETNS: (number(4026531840),),
    Filter.MNTNS: (number(4026531841),),
}


def test_filters_of_the_run_hold_closer_by_too():
    others = {
        Filter.UID: ["33"],
        Filter.CGROUP: ["/sys/fs/cgroup/a b"],
        Filter.NETNS: ["net:[4026531840]"],
        Filter.MNTNS: ["mnt:[4026531841]"],
    }
    assert narrow({"pid": 7}, SYSCALLS, RUN) == {Filter.PID: ["7"], Filter.COMM: ["worker"], **others}
    assert narrow({"comm": "b"}, SYSCALLS, RUN) == {Filter.COMM: ["b"], Filter.PID: ["7", "9"], **others}
    # What a tracer cannot select says nothing of one process; of a name it would show others, too.
    plain = replace(SYSCALLS, filters=(Filter.PID, Filter.COMM))
    assert narrow({"pid": 7}, plain, RUN) == {Filter.PID: ["7"], Filter.COMM: ["worker"]}
    assert narrow({"comm": "b"}, plain, RUN) == {}
    tracers = registry.all_tracers(pytest.fail)
    [first, *_] = find_closer("process", SYSCALLS, {"pid": 7}, tracers, {Filter.UID: RUN[Filter.UID]})
    assert first.words == ("top", "-p", "7", "--uid", "33", "--by", "tid,comm")


@pytest.mark.parametrize(
    ("words", "resolve"),
    [
        (Filter.COMM, comm),
        (Filter.UID, user),
        (Filter.NETNS, network_namespace),
        (Filter.MNTNS, mount_namespace),
    ],
)
def test_words_of_filters_select_the_same(words, resolve):
    [key] = RUN[words]
    assert resolve(word_of(words, key)) == key


def test_drill_downs_follow_the_declarations_of_tracers():
    tracers = registry.all_tracers(pytest.fail)
    stacks = list(find_closer("stacks", SYSCALLS, {"pid": 7, "comm": "a"}, tracers))
    assert ("profile", "-p", "7") in [choice.words for choice in stacks[:6]]
    assert ("futexstat", "--stacks", "-p", "7") in [choice.words for choice in stacks]
    events = list(find_closer("events", SYSCALLS, {"pid": 7}, tracers))
    assert ("opensnoop", "-p", "7") in [choice.words for choice in events]
    assert not [choice for choice in events if choice.words[0] in ("inject", "trace", "tasks")]
    assert list(find_closer("stacks", SYSCALLS, {"disk": "sda"}, tracers)) == []
