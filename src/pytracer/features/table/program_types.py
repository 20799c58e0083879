"""The types of programs (``enum bpf_prog_type``)."""

from __future__ import annotations

from pytracer.features.table.feature import Feature
from pytracer.record import record


@record
class ProgramType(Feature):
    """``attach_type`` is the ``enum bpf_attach_type`` that loading requires."""

    attach_type: int = 0


def _make_program_type(
    number: int, name: str, since: str, commit: str, *options: str, attach_type: int = 0
) -> ProgramType:
    return ProgramType("program", name, since, commit, options, number, attach_type=attach_type)


PROGRAM_TYPES = (
    _make_program_type(1, "socket_filter", "3.19", "ddd872bc3098"),
    _make_program_type(2, "kprobe", "4.1", "2541517c32be", "BPF_EVENTS"),
    _make_program_type(3, "sched_cls", "4.1", "96be4325f443"),
    _make_program_type(4, "sched_act", "4.1", "94caee8c312d"),
    _make_program_type(5, "tracepoint", "4.7", "98b5c2c65c29", "BPF_EVENTS"),
    _make_program_type(6, "xdp", "4.8", "6a773a15a1e8"),
    _make_program_type(7, "perf_event", "4.9", "0515e5999a46", "BPF_EVENTS"),
    _make_program_type(8, "cgroup_skb", "4.10", "0e33661de493", "CGROUP_BPF"),
    _make_program_type(9, "cgroup_sock", "4.10", "610236587600", "CGROUP_BPF", attach_type=2),
    _make_program_type(10, "lwt_in", "4.10", "3a0af8fd61f9", "LWTUNNEL_BPF"),
    _make_program_type(11, "lwt_out", "4.10", "3a0af8fd61f9", "LWTUNNEL_BPF"),
    _make_program_type(12, "lwt_xmit", "4.10", "3a0af8fd61f9", "LWTUNNEL_BPF"),
    _make_program_type(13, "sock_ops", "4.13", "40304b2a1567", "CGROUP_BPF"),
    _make_program_type(14, "sk_skb", "4.14", "b005fd189cec"),
    _make_program_type(15, "cgroup_device", "4.15", "ebc614f68736", "CGROUP_BPF"),
    _make_program_type(16, "sk_msg", "4.17", "4f738adba30a"),
    _make_program_type(17, "raw_tracepoint", "4.17", "c4f6699dfcb8", "BPF_EVENTS"),
    _make_program_type(18, "cgroup_sock_addr", "4.17", "4fbac77d2d09", "CGROUP_BPF", attach_type=8),
    _make_program_type(19, "lwt_seg6local", "4.18", "004d4b274e2a", "IPV6_SEG6_BPF"),
    _make_program_type(20, "lirc_mode2", "4.18", "f4364dcfc86d", "BPF_LIRC_MODE2"),
    _make_program_type(21, "sk_reuseport", "4.19", "2dbb9b9e6df6"),
    _make_program_type(22, "flow_dissector", "4.20", "d58e468b1112"),
    _make_program_type(23, "cgroup_sysctl", "5.2", "7b146cebe30c", "CGROUP_BPF"),
    _make_program_type(24, "raw_tracepoint_writable", "5.2", "9df1c28bb752", "BPF_EVENTS"),
    _make_program_type(25, "cgroup_sockopt", "5.3", "0d01da6afc54", "CGROUP_BPF", attach_type=21),
    _make_program_type(26, "tracing", "5.5", "f1b9509c2fb0", attach_type=24),
    _make_program_type(27, "struct_ops", "5.6", "27ae7997a661", "BPF_JIT"),
    _make_program_type(28, "ext", "5.6", "be8704ff07d2"),
    _make_program_type(29, "lsm", "5.7", "fc611f47f218", "BPF_LSM", attach_type=27),
    _make_program_type(30, "sk_lookup", "5.9", "e9ddbb7707ff", attach_type=36),
    _make_program_type(31, "syscall", "5.14", "79a7f8bdb159"),
    _make_program_type(32, "netfilter", "6.4", "fd9c663b9ad6", "NETFILTER_BPF_LINK", attach_type=45),
)

PROGRAM_NAMES = {program.number: program.name for program in PROGRAM_TYPES}
"""The names of the numbers of ``enum bpf_prog_type``."""
