"""Helpers, the kernel's functions for programs (``enum bpf_func_id``)."""

from __future__ import annotations

from pytracer.features.table.feature import Feature
from pytracer.record import record

# enum bpf_prog_type
KPROBE, SOCKET_FILTER, SCHED_CLS, XDP, PERF_EVENT, TRACING = 2, 1, 3, 6, 7, 26
CGROUP_SKB, CGROUP_SOCK, CGROUP_SOCK_ADDR = 8, 9, 18
TRACING_TYPES = frozenset((KPROBE, 5, PERF_EVENT, 17, TRACING, 29))
"""The types that share the helpers of tracing programs (bpf_tracing_func_proto): kprobe, tracepoint, perf
event, raw tracepoint, tracing, LSM."""


@record
class Helper(Feature):
    """``program_type`` is one whose programs may call it. Programs of all types may, since the same version,
    if it is for ``all_types``. If it ``varies``, tracing types got it one by one, or it depends on what a
    program is attached to."""

    program_type: int = KPROBE
    all_types: bool = False
    varies: bool = False


def _make_helper(
    number: int,
    name: str,
    since: str,
    commit: str,
    *options: str,
    program_type: int = KPROBE,
    all_types: bool = False,
    varies: bool = False,
) -> Helper:
    return Helper(
        "helper",
        name,
        since,
        commit,
        options,
        number,
        program_type=program_type,
        all_types=all_types,
        varies=varies,
    )


PROBE_READ = _make_helper(4, "probe_read", "4.1", "2541517c32be")
PERF_EVENT_OUTPUT = _make_helper(25, "perf_event_output", "4.4", "a43eec304259")
CURRENT_TASK = _make_helper(35, "get_current_task", "4.8", "606274c5abd8")
PROBE_READ_STR = _make_helper(45, "probe_read_str", "4.11", "a5e8c07059d0")
OVERRIDE_RETURN = _make_helper(
    58, "override_return", "4.16", "9802d86585db", "BPF_KPROBE_OVERRIDE", varies=True
)
PROBE_READ_USER = _make_helper(112, "probe_read_user", "5.5", "6ae08ae3dea2")
PROBE_READ_KERNEL = _make_helper(113, "probe_read_kernel", "5.5", "6ae08ae3dea2")
PROBE_READ_KERNEL_STR = _make_helper(115, "probe_read_kernel_str", "5.5", "6ae08ae3dea2")
CURRENT_TASK_BTF = _make_helper(158, "get_current_task_btf", "5.11", "3ca1032ab7ab")
FOR_EACH_MAP_ELEM = _make_helper(164, "for_each_map_elem", "5.13", "69c087ba6225")
ATTACH_COOKIE = _make_helper(174, "get_attach_cookie", "5.15", "7adfc6c9b315", varies=True)
TASK_PT_REGS = _make_helper(175, "task_pt_regs", "5.15", "dd6e10fbd9fb")
FIND_VMA = _make_helper(180, "find_vma", "5.17", "7c7e3d31e785")
LOOP = _make_helper(181, "loop", "5.17", "e6f2dd0f8067")
MAP_LOOKUP_PERCPU_ELEM = _make_helper(195, "map_lookup_percpu_elem", "5.19", "07343110b293")

HELPERS = (
    _make_helper(1, "map_lookup_elem", "3.19", "d0003ec01c66", all_types=True),
    _make_helper(2, "map_update_elem", "3.19", "d0003ec01c66", all_types=True),
    _make_helper(3, "map_delete_elem", "3.19", "d0003ec01c66", all_types=True),
    PROBE_READ,
    _make_helper(5, "ktime_get_ns", "4.1", "d9847d310ab4", all_types=True),
    _make_helper(7, "get_prandom_u32", "4.1", "03e69b508b6f", all_types=True),
    _make_helper(8, "get_smp_processor_id", "4.1", "c04167ce2ca0", all_types=True),
    _make_helper(12, "tail_call", "4.2", "04fd61ab36ec", all_types=True),
    _make_helper(14, "get_current_pid_tgid", "4.2", "ffeedafbf023"),
    _make_helper(15, "get_current_uid_gid", "4.2", "ffeedafbf023"),
    _make_helper(16, "get_current_comm", "4.2", "ffeedafbf023"),
    PERF_EVENT_OUTPUT,
    _make_helper(26, "skb_load_bytes", "4.5", "05c74e5e53f6", program_type=SOCKET_FILTER),
    _make_helper(27, "get_stackid", "4.6", "d5a3b1f69186"),
    CURRENT_TASK,
    _make_helper(36, "probe_write_user", "4.8", "96ae52279594"),
    _make_helper(37, "current_task_under_cgroup", "4.9", "60d20f9195b2"),
    _make_helper(44, "xdp_adjust_head", "4.10", "17bedab27231", program_type=XDP),
    PROBE_READ_STR,
    _make_helper(46, "get_socket_cookie", "4.12", "91b8270f2a4d", program_type=SOCKET_FILTER),
    _make_helper(55, "perf_event_read_value", "4.15", "908432ca84fc"),
    OVERRIDE_RETURN,
    _make_helper(67, "get_stack", "4.18", "de2ff05f48af"),
    _make_helper(68, "skb_load_bytes_relative", "4.18", "4e1ec56cdc59", program_type=SOCKET_FILTER),
    _make_helper(79, "skb_cgroup_id", "4.18", "cb20b08ead40", program_type=SCHED_CLS),
    _make_helper(80, "get_current_cgroup_id", "4.18", "bf6fa2c893c5"),
    _make_helper(109, "send_signal", "5.3", "8b401f9ed244"),
    PROBE_READ_USER,
    PROBE_READ_KERNEL,
    _make_helper(114, "probe_read_user_str", "5.5", "6ae08ae3dea2"),
    PROBE_READ_KERNEL_STR,
    _make_helper(118, "jiffies64", "5.5", "5576b991e9c1"),
    _make_helper(119, "read_branch_records", "5.6", "fff7b64355ea", program_type=PERF_EVENT, varies=True),
    _make_helper(120, "get_ns_current_pid_tgid", "5.7", "b4490c5c4e02"),
    _make_helper(125, "ktime_get_boot_ns", "5.8", "71d19214776e"),
    _make_helper(127, "seq_write", "5.7", "492e639f0c22", program_type=TRACING, varies=True),
    _make_helper(130, "ringbuf_output", "5.8", "457f44363a88"),
    _make_helper(141, "get_task_stack", "5.9", "fa28dcb82a38"),
    _make_helper(156, "task_storage_get", "5.11", "4cf1bc1f1045", varies=True),
    CURRENT_TASK_BTF,
    _make_helper(160, "ktime_get_coarse_ns", "5.11", "d05512618056", program_type=SOCKET_FILTER),
    FOR_EACH_MAP_ELEM,
    _make_helper(165, "snprintf", "5.13", "7b15523a989b"),
    _make_helper(169, "timer_init", "5.15", "b00628b1c7d5", program_type=XDP),
    _make_helper(173, "get_func_ip", "5.15", "5d8b583d04ae", varies=True),
    ATTACH_COOKIE,
    TASK_PT_REGS,
    _make_helper(176, "get_branch_snapshot", "5.16", "856c02dbce4f"),
    FIND_VMA,
    LOOP,
    MAP_LOOKUP_PERCPU_ELEM,
    _make_helper(208, "ktime_get_tai_ns", "6.1", "c8996c98f703"),
    _make_helper(209, "user_ringbuf_drain", "6.1", "205715673844"),
    _make_helper(210, "cgrp_storage_get", "6.2", "c4bcfb38a95e"),
)

BY_NUMBER = {helper.number: helper for helper in HELPERS}
"""The helpers by their numbers."""

_LATER = {
    "5.3": ((79, CGROUP_SKB),),
    "5.4": ((25, SOCKET_FILTER), (25, CGROUP_SKB)),
    "5.7": tuple((number, kind) for number in (14, 16, 25) for kind in (CGROUP_SOCK, CGROUP_SOCK_ADDR)),
}
_LATER_BY_TYPE = {use: version for version, uses in _LATER.items() for use in uses}


def since(helper: Helper, program_type: int) -> str:
    """Return the version from which on programs of a type may call a helper; "" if that is not known."""
    if later := _LATER_BY_TYPE.get((helper.number, program_type)):
        return later
    is_its_own = program_type == helper.program_type or {program_type, helper.program_type} <= TRACING_TYPES
    return helper.since if is_its_own or helper.all_types else ""
