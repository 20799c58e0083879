"""Helpers, the kernel's functions for programs (``enum bpf_func_id``)."""

from __future__ import annotations

from pytracer.features.table.feature import Feature
from pytracer.record import record

KPROBE, SOCKET_FILTER, XDP, PERF_EVENT = 2, 1, 6, 7  # enum bpf_prog_type


@record
class Helper(Feature):
    """``program_type`` is one whose programs may call it."""

    program_type: int = KPROBE


def _helper(
    number: int, name: str, since: str, commit: str, *options: str, program_type: int = KPROBE
) -> Helper:
    return Helper("helper", name, since, commit, options, number, program_type=program_type)


PROBE_READ = _helper(4, "probe_read", "4.1", "2541517c32be")
OVERRIDE_RETURN = _helper(58, "override_return", "4.16", "9802d86585db", "BPF_KPROBE_OVERRIDE")
PROBE_READ_USER = _helper(112, "probe_read_user", "5.5", "6ae08ae3dea2")
PROBE_READ_KERNEL = _helper(113, "probe_read_kernel", "5.5", "6ae08ae3dea2")
CURRENT_TASK_BTF = _helper(158, "get_current_task_btf", "5.11", "3ca1032ab7ab")
FOR_EACH_MAP_ELEM = _helper(164, "for_each_map_elem", "5.13", "69c087ba6225")
ATTACH_COOKIE = _helper(174, "get_attach_cookie", "5.15", "7adfc6c9b315")
TASK_PT_REGS = _helper(175, "task_pt_regs", "5.15", "dd6e10fbd9fb")
LOOP = _helper(181, "loop", "5.17", "e6f2dd0f8067")

HELPERS = (
    PROBE_READ,
    _helper(5, "ktime_get_ns", "4.1", "d9847d310ab4"),
    _helper(12, "tail_call", "4.2", "04fd61ab36ec"),
    _helper(14, "get_current_pid_tgid", "4.2", "ffeedafbf023"),
    _helper(25, "perf_event_output", "4.4", "a43eec304259"),
    _helper(27, "get_stackid", "4.6", "d5a3b1f69186"),
    _helper(35, "get_current_task", "4.8", "606274c5abd8"),
    _helper(36, "probe_write_user", "4.8", "96ae52279594"),
    _helper(37, "current_task_under_cgroup", "4.9", "60d20f9195b2"),
    _helper(44, "xdp_adjust_head", "4.10", "17bedab27231", program_type=XDP),
    _helper(55, "perf_event_read_value", "4.15", "908432ca84fc"),
    OVERRIDE_RETURN,
    _helper(67, "get_stack", "4.18", "de2ff05f48af"),
    _helper(80, "get_current_cgroup_id", "4.18", "bf6fa2c893c5"),
    _helper(109, "send_signal", "5.3", "8b401f9ed244"),
    PROBE_READ_USER,
    PROBE_READ_KERNEL,
    _helper(114, "probe_read_user_str", "5.5", "6ae08ae3dea2"),
    _helper(115, "probe_read_kernel_str", "5.5", "6ae08ae3dea2"),
    _helper(118, "jiffies64", "5.5", "5576b991e9c1"),
    _helper(119, "read_branch_records", "5.6", "fff7b64355ea", program_type=PERF_EVENT),
    _helper(120, "get_ns_current_pid_tgid", "5.7", "b4490c5c4e02"),
    _helper(125, "ktime_get_boot_ns", "5.8", "71d19214776e"),
    _helper(130, "ringbuf_output", "5.8", "457f44363a88"),
    _helper(141, "get_task_stack", "5.9", "fa28dcb82a38"),
    _helper(156, "task_storage_get", "5.11", "4cf1bc1f1045"),
    CURRENT_TASK_BTF,
    _helper(160, "ktime_get_coarse_ns", "5.11", "d05512618056", program_type=SOCKET_FILTER),
    FOR_EACH_MAP_ELEM,
    _helper(165, "snprintf", "5.13", "7b15523a989b"),
    _helper(169, "timer_init", "5.15", "b00628b1c7d5", program_type=XDP),
    _helper(173, "get_func_ip", "5.15", "5d8b583d04ae"),
    ATTACH_COOKIE,
    TASK_PT_REGS,
    _helper(176, "get_branch_snapshot", "5.16", "856c02dbce4f"),
    _helper(180, "find_vma", "5.17", "7c7e3d31e785"),
    LOOP,
    _helper(195, "map_lookup_percpu_elem", "5.19", "07343110b293"),
    _helper(208, "ktime_get_tai_ns", "6.1", "c8996c98f703"),
    _helper(209, "user_ringbuf_drain", "6.1", "205715673844"),
    _helper(210, "cgrp_storage_get", "6.2", "c4bcfb38a95e"),
)
