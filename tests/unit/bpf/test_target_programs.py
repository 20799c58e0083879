"""Test programs at targets that users name: how each is loaded, what is left out, and link counts."""

from __future__ import annotations

import errno
import os
import struct
from types import SimpleNamespace

import pytest

from pytracer.bpf import target_programs
from pytracer.bpf.attach import attacher_of, fentry, perf
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.image import ARGUMENTS, G_OFFSET, POINT, RESULT, TARGET
from pytracer.bpf.prober import FeatureProber
from pytracer.bpf.sys import ProgType
from pytracer.bpf.target_programs import TargetAttacher, make_program_load
from pytracer.errors import AttachError, UnsupportedError
from pytracer.kernel.facts import TargetIdSource
from pytracer.record import replace
from pytracer.spec import (
    Fentry,
    Fexit,
    Kprobe,
    KprobeEvents,
    KprobeMulti,
    Point,
    RawTracepoint,
    TypedTracepoint,
)

NAMED = RawTracepoint("hit", event="sys_enter", targets=(3,))
PATTERN = replace(NAMED, optional=True)
EVENTS = KprobeEvents("hit", targets=(5, 9), patterns=("k:vfs_*",), addresses=(0x1000, 0x2000))


@pytest.mark.parametrize(
    ("probe", "id_source", "target", "as_"),
    [
        (NAMED, TargetIdSource.PROGRAM, 3, LoadAttributes(ProgType.RAW_TRACEPOINT)),
        (Kprobe("hit", targets=(3,)), TargetIdSource.COOKIE, 0x7FFFFFFE, LoadAttributes(ProgType.KPROBE)),
        (
            KprobeMulti("hit", targets=(3, 4)),
            TargetIdSource.COOKIE,
            0x7FFFFFFE,
            LoadAttributes(ProgType.KPROBE, 42),
        ),
        (EVENTS, TargetIdSource.ADDRESS, 0x7FFFFFFF, LoadAttributes(ProgType.KPROBE)),
    ],
)
def test_a_program_is_loaded_with_a_number_or_with_where_to_get_it(probe, id_source, target, as_):
    load = make_program_load(replace(probe, at=Point.ENTRY), id_source)
    assert (load.program, load.as_, load.optional) == ("hit", as_, False)
    assert dict(load.constants) == {TARGET: target, RESULT: 1, POINT: 1, ARGUMENTS: 64, G_OFFSET: 0}


def test_programs_without_user_targets_are_loaded_unchanged():
    load = make_program_load(RawTracepoint("enter", event="sys_enter", optional=True), TargetIdSource.PROGRAM)
    assert (load.constants, load.optional) == ((), False)


@pytest.mark.parametrize(("kind", "number"), [(TypedTracepoint, 23), (Fentry, 24), (Fexit, 25)])
def test_a_trampolines_program_is_for_one_function_and_returns_0(monkeypatch, kind, number):
    monkeypatch.setattr(fentry, "_find_btf_id", lambda tracepoint, name: 70 if tracepoint else 7)
    monkeypatch.setattr(fentry, "count_words", lambda number: 3)
    load = make_program_load(kind("hit", function="vfs_read", targets=(3,)), TargetIdSource.PROGRAM)
    words = 0 if kind is TypedTracepoint else 3
    address = 70 if kind is TypedTracepoint else 7
    assert load.as_ == LoadAttributes(ProgType.TRACING, number, address, result=0, arguments=words)
    assert dict(load.constants) == {TARGET: 3, RESULT: 0, POINT: 0, ARGUMENTS: words, G_OFFSET: 0}


def test_a_trampolines_program_without_targets_gets_the_number_of_arguments_as_well(monkeypatch):
    monkeypatch.setattr(fentry, "_find_btf_id", lambda tracepoint, name: 7)
    monkeypatch.setattr(fentry, "count_words", lambda number: 3)
    load = make_program_load(Fexit("hit", function="vfs_read"), TargetIdSource.PROGRAM)
    assert load.constants == ((RESULT, 0), (ARGUMENTS, 3))


@pytest.mark.parametrize(("kind", "has_caveat"), [(TypedTracepoint, True), (Fentry, False)])
def test_typed_tracepoints_have_a_caveat_where_raw_ones_have(monkeypatch, kind, has_caveat):
    """How tracepoints are raised does not affect whether programs on functions can be skipped."""
    monkeypatch.setattr(
        fentry, "load_attributes", lambda probe: LoadAttributes(ProgType.TRACING, 23, 7, result=0)
    )
    for name in ("load", "raw_tracepoint_open"):
        monkeypatch.setattr(fentry, name, lambda *words, **options: os.open("/dev/null", os.O_RDONLY))
    monkeypatch.setattr(FeatureProber, "missing_capabilities", [])
    for preempts in (False, True):
        monkeypatch.setattr(FeatureProber, "may_preempt", preempts)
        answer = fentry.check_support(kind("hit", function="sched_process_fork"), FeatureProber())
        assert answer.is_supported
        assert bool(answer.caveat) is (has_caveat and preempts)


class Kernel:
    """The results of attaching, by the name of the target."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails: dict[str, Exception] = {}
        self.places: list[AttachTarget] = []
        self.warned: list[str] = []
        self.attaching = TargetAttacher(self.warned.append)
        monkeypatch.setattr(target_programs, "attacher_of", lambda _: SimpleNamespace(attach=self.put))

    def put(self, _probe: object, target: AttachTarget, _program: int) -> list[Link]:
        self.places.append(target)
        if target.name in self.fails:
            raise self.fails[target.name]
        return [Link(-1)]


@pytest.fixture
def kernel(monkeypatch):
    return Kernel(monkeypatch)


def test_cookies_are_given_where_programs_are_identified_by_them(kernel):
    kernel.attaching.attach(NAMED, TargetIdSource.PROGRAM, AttachTarget("a"), 7)
    kernel.attaching.attach(NAMED, TargetIdSource.COOKIE, AttachTarget("b"), 7)
    assert [target.cookies for target in kernel.places] == [(), (3,)]
    kernel.attaching.report_failures()
    assert kernel.warned == []


@pytest.mark.parametrize("problem", [AttachError("no"), UnsupportedError("no")])
def test_failed_targets_of_a_pattern_are_left_out_and_reported(kernel, problem):
    kernel.fails = dict.fromkeys("bcde", problem)
    for name in "abcde":
        assert bool(kernel.attaching.attach(PATTERN, TargetIdSource.PROGRAM, AttachTarget(name), 7)) is (
            name == "a"
        )
    assert kernel.attaching.attach(PATTERN, TargetIdSource.PROGRAM, AttachTarget("f"), None) == []
    kernel.attaching.report_failures()
    [warning] = kernel.warned
    assert warning.startswith("5 could not be attached to and 1 were: b, c, d, ... (")
    assert "refused by the verifier" in warning


def test_named_targets_are_required(kernel):
    kernel.fails = {"a": AttachError("no")}
    with pytest.raises(AttachError):
        kernel.attaching.attach(NAMED, TargetIdSource.PROGRAM, AttachTarget("a"), 7)
    with pytest.raises(UnsupportedError):
        kernel.attaching.attach(NAMED, TargetIdSource.PROGRAM, AttachTarget("b"), None)


def test_a_pattern_of_which_nothing_can_be_attached_to_is_an_error(kernel):
    kernel.fails = {"a": AttachError("the reason")}
    kernel.attaching.attach(PATTERN, TargetIdSource.PROGRAM, AttachTarget("a"), 7)
    with pytest.raises(AttachError, match="the reason"):
        kernel.attaching.report_failures()


@pytest.mark.parametrize(
    ("kind", "field", "count"), [(7, 4, 5), (7, 3, 5), (7, 1, 0), (8, 4, 0), (None, 0, 0)]
)
def test_missed_runs_of_kprobe_links(monkeypatch, kind, field, count):
    def info(fd: int, buffer: bytearray) -> None:
        struct.pack("I", fd)  # raises struct.error of what is no descriptor, as the real one does
        if kind is None:
            raise OSError(errno.EINVAL, "")
        struct.pack_into("=I", buffer, 0, kind)
        struct.pack_into("=I", buffer, 16, field)
        struct.pack_into("=Q", buffer, 48, 5)

    monkeypatch.setattr(perf, "object_info", info)
    link = perf.PerfLink(os.open(os.devnull, os.O_RDONLY))
    assert (link.uncounted == "") == bool(count)
    link.detach()
    assert link.missed == count


@pytest.mark.parametrize(
    ("number", "loads", "attaches", "reason"),
    [
        (0, 0, 0, "the kernel's BTF does not know vfs_read"),
        (7, errno.EINVAL, 0, "this kernel has no trampolines on functions"),
        (7, errno.EPERM, 0, "refused by somebody"),
        (7, 0, errno.EBUSY, "vfs_read takes no more programs"),
        (7, 0, 524, "this kernel has no trampolines on functions"),
        (7, 0, 0, ""),
    ],
)
def test_support_for_trampolines(monkeypatch, number, loads, attaches, reason):
    def answer(error: int) -> int:
        if error:
            raise OSError(error, os.strerror(error))
        return os.open(os.devnull, os.O_RDONLY)

    monkeypatch.setattr(fentry, "_find_btf_id", lambda tracepoint, name: number)
    monkeypatch.setattr(fentry, "count_words", lambda number: 0)
    monkeypatch.setattr(fentry, "load", lambda *_, **__: answer(loads))
    monkeypatch.setattr(fentry, "raw_tracepoint_open", lambda event, program: answer(attaches))
    monkeypatch.setattr("pytracer.kernel.policy.missing_capabilities", lambda needed: [])
    monkeypatch.setattr("pytracer.kernel.policy.explain_refusal", lambda: "refused by somebody")
    actual = fentry.check_support(Fentry("", function="vfs_read"), SimpleNamespace(missing_capabilities=[]))
    assert actual.is_supported is (not reason)
    assert reason in actual.reason
    assert actual.is_forbidden is ("refused" in reason)
    assert attacher_of(Fexit("")) is fentry


@pytest.mark.parametrize(
    ("cookies", "has_links", "expected"),
    [((), True, [(0,)]), ((), False, [(0,), ()]), ((7,), True, [(7,)]), ((7,), False, [(7,)])],
)
def test_a_trace_event_is_a_link_where_there_are_links(monkeypatch, cookies, has_links, expected):
    actual = []

    def attach(_attr: bytes, _program: int, cookies: tuple[int, ...] = ()) -> int:
        actual.append(cookies)
        if cookies and not has_links:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return 5

    monkeypatch.setattr(perf, "attach_program", attach)
    if cookies and not has_links:  # who needs a cookie cannot do without
        with pytest.raises(OSError, match="Invalid"):
            perf.attach_linked(b"", 3, cookies)
    else:
        assert perf.attach_linked(b"", 3, cookies) == 5
    assert actual == expected
