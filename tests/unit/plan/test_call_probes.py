"""Probes of single system calls: their functions and trace events, for kernels described as data."""

from __future__ import annotations

import struct

import pytest

from pytracer.errors import UnsupportedError
from pytracer.kernel import compat, syscalls
from pytracer.kernel.btf import BtfKind
from pytracer.plan import make_plan
from pytracer.request import NameSetValue, Request
from pytracer.spec import Filter, registry
from support.btf_builder import Builder
from support.fake_kernel import FakeKernel

pytestmark = pytest.mark.skipif(not syscalls.have_names(), reason="libseccomp.so.2 is not installed")
OPENSNOOP, SYSCALLS = registry.get("opensnoop"), registry.get("syscalls")
PROCESS = {Filter.PID: (struct.pack("I", 1),)}
OPENS = (
    "__x64_sys_open", "__x64_sys_creat", "__x64_sys_openat", "__x64_sys_openat2",
    "__ia32_sys_creat", "__ia32_sys_openat2", "__ia32_compat_sys_open", "__ia32_compat_sys_openat",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_32_bit_programs(monkeypatch):
    monkeypatch.setattr(compat, "running_32_bit", lambda: "")
    monkeypatch.setattr(compat, "named_32_bit", lambda call_options: iter(()))


def kernel(*functions, **facts):
    builder = Builder()
    prototype = builder.add(BtfKind.FUNC_PROTO, "", 0)
    for function in functions:
        builder.add(BtfKind.FUNC, function, prototype)
    return FakeKernel(types=builder.btf(), **facts)


def plan_of(tracer, kernel, **request):
    return make_plan(Request(tracer, **request), kernel)


def attached(plan, *programs):
    return [
        f"{chosen.probe.kind} {chosen.name}" for chosen in plan.probes if chosen.probe.program in programs
    ]


def call_options(*calls, exclude=False):
    keys = tuple(struct.pack("Q", call) for call in syscalls.calls_named(calls, "x86_64"))
    return {"calls": NameSetValue(keys, exclude)}


def test_functions_of_every_abi_come_first():
    plan = plan_of(OPENSNOOP, kernel(*OPENS, "__x64_sys_read"))
    assert sorted(attached(plan, "returned")) == sorted(f"fexit {name}" for name in OPENS)
    assert "HOOK_RETURN_FEXIT" in dict(plan.defines)


def test_many_functions_are_skipped_unless_requested():
    setids = registry.get("setids")
    names = [name for name in setids.hooks[0].alternatives[0].probes[0].calls if not name.endswith("32")]
    functions = [f"__{abi}_sys_{name}" for abi in ("x64", "ia32") for name in names]
    plan = plan_of(setids, kernel(*functions))
    assert attached(plan, "returned") == ["raw_tracepoint sys_exit"]
    assert "not fexit: it would take long to detach from 18 functions" in plan.hooks.notes[0]
    forced = plan_of(setids, kernel(*functions), hooks={"return": "fexit"})
    assert len(attached(forced, "returned")) == len(functions)


def test_probes_of_32_bit_programs_are_left_out_where_none_can_run():
    plan = plan_of(OPENSNOOP, kernel(*OPENS, runs_compat=False))
    assert sorted(attached(plan, "returned")) == sorted(f"fexit {name}" for name in OPENS if "x64" in name)


def test_without_trampolines_the_events_of_the_calls_serve_who_is_selected():
    without = kernel(*OPENS, refuses={"fexit"})
    events = [f"tracepoint syscalls:sys_exit_{call}" for call in ("open", "creat", "openat", "openat2")]
    assert attached(plan_of(OPENSNOOP, without, filters=PROCESS), "returned") == events
    assert attached(plan_of(OPENSNOOP, without, command=("true",)), "returned") == events
    everyone = plan_of(OPENSNOOP, without)
    assert attached(everyone, "returned") == ["raw_tracepoint sys_exit"]
    assert "32-bit programs do not raise them, and all are traced" in everyone.hooks.notes[0]
    plan = plan_of(OPENSNOOP, kernel(*OPENS, refuses={"fexit"}, runs_compat=False))
    assert attached(plan, "returned") == events
    forced = plan_of(OPENSNOOP, without, hooks={"return": "call-tracepoints"})
    assert attached(forced, "returned") == events


@pytest.mark.parametrize(
    ("filters", "scanned"), [(PROCESS, False), ({Filter.COMM: (b"a".ljust(16, b"\0"),)}, True)]
)
def test_a_32_bit_program_that_may_be_meant_is_seen(filters, scanned, monkeypatch):
    without = kernel(*OPENS, refuses={"fexit"})
    monkeypatch.setattr(compat, "running_32_bit", lambda: "process 7")
    plan = plan_of(OPENSNOOP, without, filters=filters)
    assert (attached(plan, "returned") == ["raw_tracepoint sys_exit"]) is scanned
    monkeypatch.setattr(compat, "named_32_bit", lambda call_options: iter(["process 8"]))
    plan = plan_of(OPENSNOOP, without, filters=filters)
    assert attached(plan, "returned") == ["raw_tracepoint sys_exit"]
    assert "process 8 may be a 32-bit program" in plan.hooks.notes[0]


def test_a_call_without_an_event_is_not_left_out():
    events = {f"syscalls:sys_exit_{call}" for call in ("open", "creat", "openat")}
    facts = {"refuses": {"fexit"}, "tracepoints": events}
    plan = plan_of(OPENSNOOP, kernel(*OPENS, **facts), filters=PROCESS)
    assert attached(plan, "returned") == ["raw_tracepoint sys_exit"]
    older = kernel(*(name for name in OPENS if "openat2" not in name), **facts)  # has no such call
    assert sorted(attached(plan_of(OPENSNOOP, older, filters=PROCESS), "returned")) == sorted(
        f"tracepoint {event}" for event in events
    )


def test_few_calls_that_the_user_names_need_no_program_at_context_switches():
    plan = plan_of(
        SYSCALLS, kernel("__x64_sys_newstat", "__ia32_compat_sys_newstat"), options=call_options("stat")
    )
    assert sorted(attached(plan, "enter", "leave", "pt_switched")) == [
        "fentry __ia32_compat_sys_newstat",
        "fentry __x64_sys_newstat",
        "fexit __ia32_compat_sys_newstat",
        "fexit __x64_sys_newstat",
    ]
    assert plan.hooks.notes == ("syscall: fentry", "exit: raw-tracepoint", "switch: none")


@pytest.mark.parametrize(
    "options",
    [
        {},
        call_options("stat", exclude=True),
        call_options(*["read", "write", "open", "close", "stat", "fstat", "lstat", "poll", "lseek"]),
    ],
)
def test_many_calls_are_seen_at_all_entries_and_exits(options):
    plan = plan_of(SYSCALLS, kernel("__x64_sys_newstat"), options=options)
    assert plan.hooks.notes == ("syscall: raw-tracepoint", "exit: raw-tracepoint", "switch: raw-tracepoint")


def test_a_call_whose_function_is_unknown_is_not_left_out():
    plan = plan_of(SYSCALLS, kernel("__x64_sys_read"), options=call_options("read", "stat"), filters=PROCESS)
    assert attached(plan, "enter") == [
        "tracepoint syscalls:sys_enter_read",
        "tracepoint syscalls:sys_enter_newstat",
    ]


def test_calls_whose_return_raises_no_event():
    without = kernel("__x64_sys_execve", refuses={"fentry"})
    plan = plan_of(SYSCALLS, without, options=call_options("execve"), filters=PROCESS)
    assert attached(plan, "enter") == ["raw_tracepoint sys_enter"]
    assert "execve may return without a trace event" in plan.hooks.notes[0]


def test_an_unsupported_requested_alternative_is_refused():
    with pytest.raises(UnsupportedError, match="it takes 1 to 8 calls by name"):
        plan_of(SYSCALLS, kernel(), hooks={"syscall": "fentry"})
    with pytest.raises(UnsupportedError, match="no BTF"):
        plan_of(OPENSNOOP, FakeKernel(), hooks={"return": "fexit"})


def test_a_function_without_arguments_has_one_name_in_btf():
    plan = plan_of(SYSCALLS, kernel("__do_sys_getppid"), options=call_options("getppid"))
    assert attached(plan, "enter", "leave") == ["fentry __do_sys_getppid", "fexit __do_sys_getppid"]


@pytest.mark.parametrize("helpers", [{4, 113}, None])  # reads of memory alone, all
def test_registers_that_btf_only_declares_are_read_by_a_helper_or_not_at_all(helpers):
    builder = Builder()
    pointer = builder.ptr(builder.add(BtfKind.FWD, "pt_regs", 0))
    prototype = builder.add(BtfKind.FUNC_PROTO, "", 0, 0, pointer, count=1)
    for function in OPENS:
        builder.add(BtfKind.FUNC, function, prototype)
    plan = plan_of(OPENSNOOP, FakeKernel(types=builder.btf(), helpers=helpers))
    if helpers is None:
        assert len(attached(plan, "returned")) == len(OPENS)
    else:
        assert attached(plan, "returned") == ["raw_tracepoint sys_exit"]
        assert "BTF has no type for the registers that __x64_sys_open is given" in plan.hooks.notes[0]
    assert {chosen.probe.preempted for chosen in plan.probes if chosen.probe.kind == "fexit"} <= {True}


def test_a_pack_chooses_alternatives_that_it_can_contain():
    plan = plan_of(OPENSNOOP, kernel(*OPENS, refuses={"fexit"}), filters=PROCESS, pack="file")
    assert attached(plan, "returned") == ["raw_tracepoint sys_exit"]
