"""Test plans for kernels described as data: alternatives, macros, columns."""

from __future__ import annotations

import itertools
import subprocess

import pytest

from pytracer.errors import PolicyError, UnknownNameError, UnsupportedError, UsageError
from pytracer.kernel.pcap import ClassicInstruction, CompiledFilter, LinkType
from pytracer.plan import make_plan
from pytracer.request import NameSetValue, Request
from pytracer.spec import (
    Alternative,
    Filter,
    Histogram,
    Hook,
    Kprobe,
    Kretprobe,
    RawTracepoint,
    Table,
    Tracepoint,
    Tracer,
    registry,
)
from support.compilers import compile_files
from support.fake_kernel import FakeKernel

SYSCALLS = registry.get("syscalls")
SOCKCOUNT = registry.get("sockcount")

NO_RAW = FakeKernel(raw_tracepoints=set())
NO_TRACEPOINTS = FakeKernel(raw_tracepoints=set(), tracepoints=set())

RANKED = Tracer(
    name="ranked",
    group="test",
    summary="",
    description="",
    hooks=(
        Hook(
            "begin",
            "things begin",
            (
                Alternative("raw-tracepoint", (RawTracepoint("at", event="begin"),)),
                Alternative("tracepoint", (Tracepoint("at", category="things", event="begin"),)),
                Alternative("kprobe", (Kprobe("at", symbols=("begin_new", "begin_old")),)),
            ),
        ),
    ),
    outputs=(Table("rows", ()),),
)


CALLS = ("enter", "leave")


def plan_of(tracer=SYSCALLS, kernel=None, **request):
    return make_plan(Request(tracer, **request), kernel or FakeKernel())


def defines_of(tracer=SYSCALLS, kernel=None, **request):
    return dict(plan_of(tracer, kernel, **request).defines)


def attached(plan):
    return [(chosen.probe.program, chosen.probe.kind, chosen.name) for chosen in plan.probes]


# Ranked alternatives.


def test_the_best_alternative_is_chosen():
    plan = plan_of()
    assert attached(plan) == [
        ("enter", "raw_tracepoint", "sys_enter"),
        ("leave", "raw_tracepoint", "sys_exit"),
        ("gone", "raw_tracepoint", "sched_process_exit"),
        ("pt_switched", "raw_tracepoint", "sched_switch"),
    ]
    assert plan.hooks.notes == ("syscall: raw-tracepoint", "exit: raw-tracepoint", "switch: raw-tracepoint")


def test_the_next_alternative_is_chosen_if_the_best_is_absent():
    plan = plan_of(kernel=NO_RAW)
    assert attached(plan) == [
        ("enter", "tracepoint", "raw_syscalls:sys_enter"),
        ("leave", "tracepoint", "raw_syscalls:sys_exit"),
        ("gone", "tracepoint", "sched:sched_process_exit"),
        ("pt_switched", "tracepoint", "sched:sched_switch"),
    ]
    assert plan.hooks.notes[0] == "syscall: tracepoint; not raw-tracepoint: no raw_tracepoint sys_enter"


def test_an_alternative_with_a_caveat_is_chosen_only_if_no_other_is_supported():
    plan = plan_of(kernel=FakeKernel(preempts=True))
    assert attached(plan) == [
        ("enter", "tracepoint", "raw_syscalls:sys_enter"),
        ("leave", "tracepoint", "raw_syscalls:sys_exit"),
        ("gone", "tracepoint", "sched:sched_process_exit"),
        ("pt_switched", "raw_tracepoint", "sched_switch"),  # with interrupts off
    ]
    assert plan.hooks.notes[0] == "syscall: tracepoint; not raw-tracepoint: can be preempted"
    plan = plan_of(kernel=FakeKernel(preempts=True, tracepoints=set()))
    assert {chosen.probe.kind for chosen in plan.probes} == {"raw_tracepoint"}
    assert plan.hooks.notes[0] == (
        "syscall: raw-tracepoint (can be preempted); not tracepoint: no tracepoint raw_syscalls:sys_enter; "
        "not kprobe-dispatch: no function x64_sys_call; not kprobe-multi: no kprobe_multi __x64_sys_*; "
        "not kprobe-return: no kprobe_multi __x64_sys_*; not kprobe-events: no kprobe_events __x64_sys_*"
    )


@pytest.mark.parametrize(("helpers", "split"), [({112}, True), ({4}, False)])
def test_user_memory_is_read_where_kernel_memory_may_not_be(helpers, split):
    """lockdown=confidentiality withholds bpf_probe_read_kernel, and bpf_probe_read, which reads both."""
    assert ("PT_HAS_PROBE_READ_KERNEL" in defines_of(kernel=FakeKernel(helpers=helpers))) is split


@pytest.mark.parametrize(
    ("helpers", "refuses", "kind"),
    [
        ({4}, set(), "raw_tracepoint"),
        ({113}, set(), "raw_tracepoint"),
        ({112}, set(), "typed_tracepoint"),
        ({112}, {"typed_tracepoint"}, "raw_tracepoint"),
    ],
)
def test_raw_tracepoints_have_typed_arguments_where_kernel_memory_may_not_be_read(helpers, refuses, kind):
    plan = plan_of(kernel=FakeKernel(helpers=helpers, refuses=refuses), command=("ls",))
    kinds = {
        probe.probe.kind for probe in plan.probes if probe.probe.program in ("pt_fork", "pt_free", "enter")
    }
    assert kinds == {kind}
    assert (("PT_TYPED_ARGUMENTS", "") in plan.defines) is (helpers == {112})


@pytest.mark.parametrize("words", [{"hooks": {"syscall": "raw-tracepoint"}}, {"pack": "a.pack"}])
def test_an_alternative_with_a_caveat_is_chosen_if_it_is_forced_or_packed(words):
    plan = plan_of(kernel=FakeKernel(preempts=True), **words)
    assert plan.probes[0].probe.kind == "raw_tracepoint"


def test_an_alternative_is_chosen_with_all_its_probes_or_not_at_all():
    plan = plan_of(kernel=FakeKernel(raw_tracepoints={"sys_enter", "sched_process_exit"}))
    assert {chosen.probe.kind for chosen in plan.probes[:2]} == {"tracepoint"}
    assert "not raw-tracepoint: no raw_tracepoint sys_exit" in plan.hooks.notes[0]


def test_the_next_alternative_is_chosen_if_the_best_is_refused():
    plan = plan_of(kernel=FakeKernel(refuses={"raw_tracepoint"}))
    assert plan.probes[0].probe.kind == "tracepoint"
    assert "not raw-tracepoint: refused by policy" in plan.hooks.notes[0]


def test_no_alternative_is_an_error_with_every_reason():
    with pytest.raises(UnsupportedError) as excinfo:
        plan_of(RANKED, NO_TRACEPOINTS)
    assert excinfo.value.exit_code == 4
    assert excinfo.value.message == (
        "this kernel has no way to see where things begin: "
        "raw-tracepoint: no raw_tracepoint begin; "
        "tracepoint: no tracepoint things:begin; "
        "kprobe: no function begin_new or begin_old"
    )
    assert "pytracer doctor" in excinfo.value.hint


def test_the_last_alternative_is_chosen_if_no_other_exists():
    plan = plan_of(RANKED, FakeKernel(raw_tracepoints=set(), tracepoints=set(), functions={"begin_old"}))
    assert attached(plan) == [("at", "kprobe", "begin_old")]
    assert plan.hooks.notes[0].count("; not ") == 2


@pytest.mark.parametrize(
    "kernel",
    [
        FakeKernel(refuses={"raw_tracepoint", "tracepoint"}),
        FakeKernel(refuses={"raw_tracepoint"}, tracepoints=set()),
        FakeKernel(raw_tracepoints=set(), refuses={"tracepoint"}),
    ],
    ids=["both", "the-best", "the-last"],
)
def test_a_refusal_by_policy_is_distinguished(kernel):
    with pytest.raises(PolicyError, match="refused by policy") as excinfo:
        plan_of(RANKED, kernel)
    assert excinfo.value.exit_code == 5


PROBED = Tracer(
    name="probed",
    group="test",
    summary="",
    description="",
    hooks=(
        Hook(
            "done",
            "a thing is done",
            (
                Alternative(
                    "kprobe",
                    (
                        Kprobe("enter", symbols=("do_new", "do_old")),
                        Kretprobe("leave", symbols=("do_new", "do_old")),
                        Kprobe("maybe", symbols=("rare",), optional=True),
                    ),
                    defines=("WITH_RETURN",),
                ),
            ),
        ),
    ),
    outputs=(Table("rows", ()),),
)


@pytest.mark.parametrize(
    ("functions", "names"),
    [
        ({"do_new", "do_old"}, ["do_new", "do_new"]),
        ({"do_old"}, ["do_old", "do_old"]),
        ({"do_old", "rare"}, ["do_old", "do_old", "rare"]),
    ],
)
def test_a_function_is_probed_by_the_name_it_has_here(functions, names):
    plan = plan_of(PROBED, FakeKernel(functions=functions))
    assert [chosen.name for chosen in plan.probes] == names
    assert [chosen.probe.kind for chosen in plan.probes][:2] == ["kprobe", "kretprobe"]
    assert {"HOOK_DONE_KPROBE", "WITH_RETURN"} <= set(dict(plan.defines))


def test_a_function_by_none_of_its_names():
    with pytest.raises(UnsupportedError, match="kprobe: no function do_new or do_old"):
        plan_of(PROBED, FakeKernel(functions={"rare"}))


def test_a_kernel_that_refuses_kprobes():
    with pytest.raises(PolicyError, match="see where a thing is done"):
        plan_of(PROBED, FakeKernel(functions={"do_new"}, refuses={"kprobe"}))


def test_a_packet_socket_that_is_refused():
    with pytest.raises(PolicyError, match="see where packets pass"):
        plan_of(SOCKCOUNT, FakeKernel(refuses={"socket_filter"}))


# Hooks that are forced.


def test_a_forced_alternative_is_chosen():
    plan = plan_of(hooks={"syscall": "tracepoint"})
    kinds = [chosen.probe.kind for chosen in plan.probes]
    assert kinds == ["tracepoint", "tracepoint", "raw_tracepoint", "raw_tracepoint"]
    assert plan.hooks.notes == ("syscall: tracepoint", "exit: raw-tracepoint", "switch: raw-tracepoint")


def test_a_forced_alternative_is_not_replaced():
    with pytest.raises(UnsupportedError) as excinfo:
        plan_of(kernel=NO_RAW, hooks={"syscall": "raw-tracepoint"})
    assert excinfo.value.message.endswith("raw-tracepoint: no raw_tracepoint sys_enter")


@pytest.mark.parametrize(
    ("hooks", "message", "hint"),
    [
        ({"syscall": "lsm"}, "no alternative of hook syscall 'lsm'", "raw-tracepoint"),
        ({"syscal": "tracepoint"}, "no hook 'syscal'", "did you mean syscall?"),
        ({"follow": "tracepoint"}, "no hook 'follow'", "exit"),  # no command is followed
    ],
)
def test_unknown_hooks_and_alternatives(hooks, message, hint):
    with pytest.raises(UnknownNameError) as excinfo:
        plan_of(hooks=hooks)
    assert excinfo.value.message == message
    assert hint in excinfo.value.hint
    assert excinfo.value.exit_code == 2


EXIT = "syscall_exit_to_user_mode_prepare"
OLD_EXIT = "exit_to_user_mode_prepare"


@pytest.mark.parametrize(
    ("kernel", "alternative", "kinds"),
    [
        ({"functions": {"x64_sys_call", EXIT}, "patterns": None}, "kprobe-dispatch", ["kprobe", "kprobe"]),
        ({"functions": {EXIT}, "patterns": None}, "kprobe-multi", ["kprobe_multi", "kprobe"]),
        ({"patterns": None}, "kprobe-return", ["kprobe_multi", "kretprobe_multi"]),
        (
            {"functions": {OLD_EXIT}, "patterns": None, "refuses": {"kprobe_multi", "kretprobe_multi"}},
            "kprobe-events",
            ["kprobe_events", "kprobe"],
        ),
    ],
)
def test_a_family_name_selects_its_best_alternative(kernel, alternative, kinds):
    for forced in ("kprobe", alternative):
        plan = plan_of(kernel=FakeKernel(**kernel), hooks={"syscall": forced})
        assert plan.hooks.notes[0].startswith(f"syscall: {alternative}")
        assert [chosen.probe.kind for chosen in plan.probes if chosen.probe.program in CALLS] == kinds
        assert f"HOOK_SYSCALL_{alternative.upper().replace('-', '_')}" in dict(plan.defines)


def test_a_familys_name_is_a_whole_one():
    with pytest.raises(UnknownNameError):
        plan_of(hooks={"syscall": "kpro"})


def test_the_hook_that_follows_a_command_can_be_forced():
    plan = plan_of(command=("ls",), hooks={"follow": "tracepoint"})
    assert plan.hooks.notes[-1] == "follow: tracepoint"


# Macros.

ALWAYS = {
    "PT_ROWS_MAX": "5120",
    "PT_COMPAT": "",
    "PT_HAS_BPF_LOOP": "",
    "PT_HAS_FIND_VMA": "",
    "PT_HAS_LOOPS": "",
    "PT_HAS_PROBE_READ_KERNEL": "",
    "PT_HAS_TASK_BTF": "",
    "PT_HAS_TASK_PT_REGS": "",
}
HOOKS = {
    "HOOK_SYSCALL_RAW_TRACEPOINT": "",
    "HOOK_EXIT_RAW_TRACEPOINT": "",
    "HOOK_SWITCH_RAW_TRACEPOINT": "",
}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, {"BY_SYSCALL": ""}),
        ({"options": {"by": ("pid", "comm")}}, {"BY_PID": "", "BY_COMM": ""}),
        ({"options": {"latency": True}}, {"BY_SYSCALL": "", "LATENCY": ""}),
        ({"options": {"latency": False, "errno": True}}, {"BY_SYSCALL": "", "BY_ERRNO": ""}),
        ({"rows": 17}, {"BY_SYSCALL": "", "PT_ROWS_MAX": "17"}),
        ({"top": 17}, {"BY_SYSCALL": ""}),
        (
            {"command": ("ls",)},
            {"BY_SYSCALL": "", "PT_FOLLOW": "65536", "HOOK_FOLLOW_RAW_TRACEPOINT": ""},
        ),
        (
            {"options": {"calls": NameSetValue((b"12345678",), exclude=False)}},
            {"BY_SYSCALL": "", "FILTER_CALLS": ""},
        ),
        (
            {"options": {"calls": NameSetValue((b"12345678",), exclude=True)}},
            {"BY_SYSCALL": "", "FILTER_CALLS": "", "FILTER_CALLS_EXCEPT": ""},
        ),
        ({"options": {"calls": None}}, {"BY_SYSCALL": ""}),
        *(
            ({"filters": {which: (b"1234",)}}, {"BY_SYSCALL": "", f"PT_FILTER_{which.name}": ""})
            for which in Filter
            if which is not Filter.CGROUP
        ),
        ({"filters": {Filter.CGROUP: (b"/a", b"/b")}}, {"BY_SYSCALL": "", "PT_FILTER_CGROUP": "2"}),
    ],
)
def test_macros(request_, expected):
    assert defines_of(**request_) == ALWAYS | HOOKS | expected


def test_a_flag_brings_its_own_hooks():
    tracer = registry.get("execsnoop")
    assert [name for name, _, _ in attached(plan_of(tracer))] == ["executed"]
    assert "HOOK_RETURN_RAW_TRACEPOINT" not in defines_of(tracer)
    failed = {"options": {"failed": True}}
    assert [name for name, _, _ in attached(plan_of(tracer, **failed))] == ["executed", "returned"]
    assert "HOOK_RETURN_RAW_TRACEPOINT" in defines_of(tracer, **failed)
    forced = {"hooks": {"return": "tracepoint"}}
    names = ["executed", "called", "returned", "abandoned"]
    assert [name for name, _, _ in attached(plan_of(tracer, **failed, **forced))] == names
    with pytest.raises(UnknownNameError):
        plan_of(tracer, **forced)


def test_macros_that_the_kernel_decides():
    refused = {"raw_tracepoint", "typed_tracepoint"}
    kernel = FakeKernel(runs_compat=False, helpers=set(), refuses=refused, has_loops=False)
    defines = defines_of(kernel=kernel)
    assert set(defines) == {
        "BY_SYSCALL",
        "PT_TYPED_ARGUMENTS",
        "HOOK_EXIT_TRACEPOINT",
        "HOOK_SWITCH_TRACEPOINT",
        "HOOK_SYSCALL_TRACEPOINT",
        "PT_ROWS_MAX",
    }


def test_macros_are_sorted_and_formatted_as_compiler_options():
    plan = plan_of(rows=5, command=("ls",))
    assert list(plan.defines) == sorted(plan.defines)
    assert {"-DPT_ROWS_MAX=5", "-DPT_FOLLOW=65536", "-DBY_SYSCALL"} <= set(plan.cflags)


def test_values_that_change_from_run_to_run_change_no_macro():
    first, second = (NameSetValue((bytes([number]) + bytes(7),), False) for number in range(2))
    first_defines = defines_of(filters={Filter.PID: (b"\1\0\0\0",)}, options={"calls": first})
    second_defines = defines_of(filters={Filter.PID: (b"\2\0\0\0",) * 2}, options={"calls": second})
    assert first_defines == second_defines


# Where programs are put.


def test_programs_on_cgroups_are_put_on_those_that_are_named():
    """The program does not check cgroups again."""
    request = Request(registry.get("cgroupcount"), filters={Filter.CGROUP: (b"/a", b"/b c")})
    plan = make_plan(request, FakeKernel())
    assert (plan.attach_cgroups, plan.filter_cgroups, plan.sets) == (("/a", "/b c"), (), {})
    assert not [name for name, _ in plan.defines if name.startswith("PT_FILTER")]
    assert [line for line in plan.describe() if line.startswith("cgroup ")] == [
        "cgroup   /a",
        "cgroup   /b c",
    ]


def test_nested_cgroups_are_attached_to_once():
    paths = (b"/a/b", b"/a", b"/a", b"/ab", b"/c/d", b"/c/d/e/f")
    request = Request(registry.get("cgroupcount"), filters={Filter.CGROUP: paths})
    assert make_plan(request, FakeKernel()).attach_cgroups == ("/a", "/ab", "/c/d")


def test_a_kernel_without_links_for_cgroups_has_another_alternative():
    plan = make_plan(Request(registry.get("socksnoop")), FakeKernel(refuses={"cgroup_sock"}))
    kinds = [chosen_probe.probe.kind for chosen_probe in plan.probes]
    assert set(kinds) == {"cgroup_sock_attach", "cgroup_sock_addr_attach"}
    assert len(kinds) == 9


def test_the_number_of_group_members_is_reported():
    request = Request(registry.get("fanoutcount"), options={"workers": 8}, interfaces={1: "lo"})
    [chosen] = make_plan(request, FakeKernel()).probes
    assert (chosen.members, chosen.target) == (8, "packet_fanout packet sockets (8 in a group)")


# What goes into the maps.


def test_filters_fill_their_maps():
    filters = {Filter.PID: (b"1111", b"2222"), Filter.COMM: (b"ls",), Filter.CGROUP: (b"/a", b"/\xff")}
    plan = plan_of(filters=filters)
    assert plan.sets == {"pt_pids": (b"1111", b"2222"), "pt_comms": (b"ls",)}
    assert plan.filter_cgroups == ("/a", "/\udcff")
    assert plan.attach_cgroups == ()


@pytest.mark.parametrize("exclude", [False, True])
def test_name_sets_fill_their_maps(exclude):
    keys = bytes(8), b"\1" + bytes(7)
    plan = plan_of(options={"calls": NameSetValue(keys, exclude)})
    assert plan.sets == {"wanted": keys}


@pytest.mark.parametrize(
    ("options", "slots"),
    [({}, (0,)), ({"direction": "in"}, (0,)), ({"direction": "out"}, (1,)), ({"direction": "both"}, (2,))],
)
def test_config_slots(options, slots):
    plan = plan_of(SOCKCOUNT, options=options)
    assert plan.config == slots
    defines = dict(plan.defines)
    assert (defines["PT_CFG_DIRECTION"], defines["PT_CFG_SLOTS"]) == ("0", "1")


def test_a_tracer_without_run_time_values_has_no_slots():
    plan = plan_of()
    assert plan.config == ()
    assert "PT_CFG_SLOTS" not in dict(plan.defines)


@pytest.mark.parametrize(("options", "program"), [({}, "c"), ({"program": "bytecode"}, "bytecode")])
def test_program(options, program):
    assert plan_of(SOCKCOUNT, options=options).program == program
    assert plan_of().program == "c"


def test_a_tracer_that_cannot_follow_a_command():
    with pytest.raises(UsageError, match="sockcount cannot tell one command's doings from another's"):
        plan_of(SOCKCOUNT, command=("ls",))


# Outputs and columns.

COUNTERS = ["calls", "errors", "interrupted", "total_ns", "avg_ns"]
TIMES = ["calls", "total_ns", "avg_ns", "max_ns"]
KEYS = {"syscall": ["syscall"], "pid": ["pid"], "comm": ["comm"]}
EVERY_BY = [by for count in (1, 2, 3) for by in itertools.permutations(KEYS, count)]


def expected_keys(by):
    """Return the columns of the keys in order; a process's latest name where rows are not by name anyway."""
    latest = ["comm"] if "pid" in by and "comm" not in by else []
    return [column for key in by for column in KEYS[key]], latest


@pytest.mark.parametrize("by", EVERY_BY, ids=",".join)
@pytest.mark.parametrize(
    ("flag", "keys", "counters"),
    [("", [], COUNTERS), ("errno", ["errno"], ["errors", "interrupted"]), ("latency", [], TIMES)],
    ids=["default", "errno", "latency"],
)
def test_columns(by, flag, keys, counters):
    schema = plan_of(options={"by": by} | ({flag: True} if flag else {})).schema
    grouped, latest = expected_keys(by)
    assert [column.name for column in schema.keys] == grouped + keys
    assert [column.name for column in schema.columns] == grouped + keys + latest + counters
    assert {column.name for column in schema.values if column.last} == set(latest)


def test_columns_of_a_tracer_without_by():
    names = [column.name for column in plan_of(SOCKCOUNT).schema.columns]
    assert names == ["interface", "protocol", "packets", "bytes"]


@pytest.mark.parametrize(
    ("options", "kind", "sort"),
    [
        ({}, Table, "total_ns"),
        ({"errno": True}, Table, "errors"),
        ({"latency": True}, Histogram, ""),
        ({"latency": False, "errno": False}, Table, "total_ns"),
    ],
)
def test_flags_pick_the_output(options, kind, sort):
    plan = plan_of(options=options)
    assert type(plan.schema.output) is kind
    assert plan.sort == sort


def test_flags_that_pick_two_outputs_contradict_each_other():
    with pytest.raises(UsageError, match="--latency and --errno do not go together") as excinfo:
        plan_of(options={"latency": True, "errno": True})
    assert excinfo.value.exit_code == 2


@pytest.mark.parametrize("sort", ["calls", "avg_ns", "syscall"])
def test_rows_are_sorted_by_any_column(sort):
    assert plan_of(sort=sort).sort == sort


@pytest.mark.parametrize(
    ("sort", "options", "hint"),
    [
        ("cals", {}, "did you mean calls?"),
        ("total_ns", {"errno": True}, "errno, errors, interrupted, syscall"),
        ("pid", {}, "there is"),
    ],
)
def test_a_column_that_is_not_shown_cannot_be_sorted_by(sort, options, hint):
    with pytest.raises(UnknownNameError, match=f"no column '{sort}'") as excinfo:
        plan_of(sort=sort, options=options)
    assert hint in excinfo.value.hint


# What --dry-run prints.


def test_describe():
    plan = plan_of(
        kernel=FakeKernel(raw_tracepoints={"sched_process_free"}),
        command=("ls",),
        options={"by": ("pid", "syscall"), "calls": NameSetValue((b"a", b"b"), exclude=True)},
        filters={Filter.UID: (b"0000",)},
    )
    passed = "not raw-tracepoint: no raw_tracepoint"
    assert plan.describe() == [
        "tracer   syscalls",
        "program  c",
        f"hook     syscall: tracepoint; {passed} sys_enter",
        f"hook     exit: tracepoint; {passed} sched_process_exit",
        f"hook     switch: tracepoint; {passed} sched_switch",
        f"hook     follow: tracepoint; {passed} sched_process_fork",
        "attach   enter to tracepoint raw_syscalls:sys_enter",
        "attach   leave to tracepoint raw_syscalls:sys_exit",
        "attach   gone to tracepoint sched:sched_process_exit",
        "attach   pt_switched to tracepoint sched:sched_switch",
        "attach   pt_fork to tracepoint sched:sched_process_fork",
        "attach   pt_exec to tracepoint sched:sched_process_exec",
        "attach   pt_free to raw_tracepoint sched_process_free",
        "define   BY_PID",
        "define   BY_SYSCALL",
        "define   FILTER_CALLS",
        "define   FILTER_CALLS_EXCEPT",
        "define   HOOK_EXIT_TRACEPOINT",
        "define   HOOK_FOLLOW_TRACEPOINT",
        "define   HOOK_SWITCH_TRACEPOINT",
        "define   HOOK_SYSCALL_TRACEPOINT",
        "define   PT_COMPAT",
        "define   PT_FILTER_UID",
        "define   PT_FOLLOW=65536",
        "define   PT_HAS_BPF_LOOP",
        "define   PT_HAS_FIND_VMA",
        "define   PT_HAS_LOOPS",
        "define   PT_HAS_PROBE_READ_KERNEL",
        "define   PT_HAS_TASK_BTF",
        "define   PT_HAS_TASK_PT_REGS",
        "define   PT_ROWS_MAX=5120",
        "set      pt_uids: 1 entries",
        "set      wanted: 2 entries",
        "output   table of pid, syscall, comm, calls, errors, interrupted, total_ns, avg_ns",
    ]


def test_describe_shows_the_values_of_options_and_not_their_slots():
    plan = make_plan(Request(registry.get("biosnoop"), options={"min": 5_000_000}), FakeKernel())
    lines = [line for line in plan.describe() if "min" in line.lower() or "cfg" in line.lower()]
    assert lines == ["config   min=5000000"]


def test_describe_names_cgroups():
    folders = {Filter.CGROUP: (b"/sys/fs/cgroup/a b",)}
    lines = plan_of(command=("ls",), filters=folders).describe()
    assert {"define   PT_FILTER_CGROUP=1", "cgroup   /sys/fs/cgroup/a b"} <= {*lines}
    assert not [line for line in lines if "FOLLOW" in line]  # the command is only the load


def test_describe_names_a_histogram():
    assert (
        plan_of(options={"latency": True}).describe()[-1]
        == f"output   histogram of syscall, {', '.join(TIMES)}"
    )


# Block I/O: forms of an event that are told apart by their arguments, and probes that a flag asks for.

BIOLATENCY = registry.get("biolatency")
ONE_ARGUMENT = dict.fromkeys(("block_rq_insert", "block_rq_merge", "block_rq_issue"), 1)


@pytest.mark.parametrize(
    ("kernel", "alternative"),
    [
        (FakeKernel(), "RAW_TRACEPOINT_QUEUE"),
        (FakeKernel(raw_arguments=ONE_ARGUMENT), "RAW_TRACEPOINT"),
        (FakeKernel(raw_arguments={"block_rq_issue": 1}), "RAW_TRACEPOINT"),
        (NO_RAW, "TRACEPOINT"),
    ],
)
def test_forms_of_a_raw_tracepoint_are_identified_by_its_arguments(kernel, alternative):
    assert f"HOOK_BLOCK_IO_{alternative}" in defines_of(BIOLATENCY, kernel)


def test_a_form_with_the_queue_is_not_taken_for_the_one_without():
    """Of Linux 4.17 to 5.10: its first argument would be looked for as a request, and never come back."""
    kernel = FakeKernel(raw_arguments=dict.fromkeys(ONE_ARGUMENT, 2))
    with pytest.raises(UnsupportedError, match="block_rq_issue has more arguments"):
        plan_of(BIOLATENCY, kernel, hooks={"block_io": "raw-tracepoint"})


def test_a_missing_form_is_reported():
    (note,) = plan_of(BIOLATENCY, FakeKernel(raw_arguments=ONE_ARGUMENT)).hooks.notes
    assert note.endswith("not raw-tracepoint-queue: the raw tracepoint block_rq_issue has fewer arguments")


@pytest.mark.parametrize("kernel", [FakeKernel(), FakeKernel(raw_arguments=ONE_ARGUMENT), NO_RAW])
def test_probes_of_a_flag(kernel):
    def programs(**options):
        return [chosen.probe.program for chosen in plan_of(BIOLATENCY, kernel, options=options).probes]

    assert programs() == programs(queued=False) == ["issued", "completed"]
    assert programs(queued=True) == ["inserted", "merged", "issued", "completed"]


def test_an_event_that_is_younger_is_left_out():
    kernel = FakeKernel(raw_tracepoints={"block_rq_insert", "block_rq_issue", "block_rq_complete"})
    plan = plan_of(BIOLATENCY, kernel, options={"queued": True})
    assert [chosen.probe.program for chosen in plan.probes] == ["inserted", "issued", "completed"]


@pytest.mark.parametrize(
    ("tracer", "options", "chosen"),
    [
        ("xdpcount", {}, "best"),
        ("xdpcount", {"mode": "generic"}, "generic"),
        ("tccount", {}, "in"),
        ("tccount", {"direction": "both"}, "both"),
        ("sockcount", {"direction": "both"}, ""),
    ],
)
def test_the_probe_named_by_an_alternative_is_chosen(tracer, options, chosen):
    plan = make_plan(Request(registry.get(tracer), options=options), FakeKernel())
    assert [chosen_probe.choice for chosen_probe in plan.probes] == [chosen]
    assert all(chosen_probe.target.endswith(f" ({chosen})") for chosen_probe in plan.probes if chosen)


def test_without_links_rtnetlink_attaches():
    for tracer, alternative in (("xdpcount", "xdp"), ("tccount", "tcx")):
        plan = make_plan(Request(registry.get(tracer)), FakeKernel(refuses={alternative}))
        assert [chosen_probe.probe.kind for chosen_probe in plan.probes] == [
            {"xdp": "xdp_netlink", "tcx": "clsact"}[alternative]
        ]


def test_a_filter_is_part_of_the_plan():
    code = (ClassicInstruction(6, 0, 0, 262144),)
    request = Request(registry.get("sockcount"), filter=CompiledFilter("ip", LinkType.ETHERNET, code))
    assert "filter   'ip': 1 instructions of classic BPF" in make_plan(request, FakeKernel()).describe()


HELPERS = {  # as enum bpf_func_id of Linux names them: what the C is told, of which tracer
    "probe_read_user": ("PT_HAS_PROBE_READ_KERNEL", "syscalls"),
    "get_current_task_btf": ("PT_HAS_TASK_BTF", "syscalls"),
    "loop": ("PT_HAS_BPF_LOOP", "syscalls"),
    "task_pt_regs": ("PT_HAS_TASK_PT_REGS", "opensnoop"),
    "for_each_map_elem": ("PT_HAS_D_PATH", "openfiles"),
}


def test_helpers_are_requested_by_the_numbers_of_linux_header(tmp_path):
    prints = "".join(f'printf("%d\\n", BPF_FUNC_{name});' for name in HELPERS)
    source = f"#include <linux/bpf.h>\n#include <stdio.h>\nint main(void) {{ {prints} return 0; }}\n"
    program = compile_files(tmp_path, {"helpers.c": source})
    numbers = subprocess.run([program], stdout=subprocess.PIPE, check=True).stdout.split()
    for number, (macro, tracer) in zip(map(int, numbers), HELPERS.values(), strict=True):
        plan = make_plan(Request(registry.get(tracer)), FakeKernel(helpers={number}))
        reported = {name for name, _ in plan.defines} & {macro for macro, _ in HELPERS.values()}
        assert reported == {macro}
