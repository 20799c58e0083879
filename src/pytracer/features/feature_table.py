"""All BPF features that tracing may use, each with a feature probe.

A feature is a name, the first kernel version that has it (for people to read; nothing is decided by it), and
a probe. Probes load programs, create maps and attach for a moment; nothing stays.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import resource
import struct
from collections.abc import Callable, Iterator

from pytracer.bpf.load import local_storage
from pytracer.bpf.sys import LOCAL_STORAGE, Command, ProgType, SyscallError, bpf
from pytracer.bpf.trial import helper_refusal, load, returning
from pytracer.errors import NotPermittedError, PolicyError, PytracerError, UnsupportedError
from pytracer.features import hook_probes as hooks
from pytracer.features import network_probes as network
from pytracer.features.kconfig import why_absent
from pytracer.kernel import policy
from pytracer.record import record

GRANTED, ABSENT, REFUSED, UNTRIED = "granted", "absent", "refused", "untried"


@record
class Feature:
    """``kind`` is program, map, helper or hook; ``since_version`` the first Linux version that has it.

    ``probe`` returns a note; it raises OSError or PytracerError if the kernel refuses.
    """

    kind: str
    name: str
    since_version: str
    probe: Callable[[], str]


@record
class Result:
    """The result of a probe: ``status`` is granted, absent, refused or untried; ``reason`` explains it."""

    feature: Feature
    status: str
    reason: str = ""


def probe_all() -> Iterator[Result]:
    """Try every feature, hooks first. Without the capabilities for it, nothing is tried."""
    missing = policy.missing_capabilities(policy.TRACING)
    if missing:
        why = f"not tried: needs {' and '.join(missing)}"
        yield from (Result(feature, UNTRIED, why) for feature in FEATURES)
        return
    policy.raise_memlock()
    yield from map(probe, FEATURES)


def probe(feature: Feature) -> Result:
    """Try one feature."""
    try:
        return Result(feature, GRANTED, feature.probe())
    except PolicyError as problem:
        return Result(feature, REFUSED, problem.message)
    except NotPermittedError as problem:
        return Result(feature, UNTRIED, problem.message)
    except UnsupportedError as problem:
        return Result(feature, ABSENT, problem.message)
    except PytracerError as problem:
        return Result(feature, UNTRIED, problem.message)
    except OSError as error:
        number = error.errno or 0
        if number in (errno.EPERM, errno.EACCES):
            return Result(feature, REFUSED, _refusal(error))
        why = why_absent(feature.kind, feature.name, feature.since_version)
        return Result(feature, ABSENT, policy.in_words(number) + (f" ({why})" if why else ""))


def _refusal(error: OSError) -> str:
    """Name the call that the kernel refused, the errno, and the active policies that may have caused it."""
    call = f"{error.call}: " if isinstance(error, SyscallError) else ""
    name = errno.errorcode.get(error.errno or 0, "")
    if policy.is_confidential():
        return f"{call}{name}, by lockdown={policy.CONFIDENTIALITY}"
    suspects = ", ".join(policy.read().refuses) or "no policy that shows itself"
    return f"{call}{name}, by a policy of the kernel; in force: {suspects}"


_SLEEPABLE, _NO_PREALLOC, _MMAPABLE = 1 << 4, 1, 1 << 10  # BPF_F_*

# Number and name of enum bpf_prog_type, since when, and the enum bpf_attach_type that loading asks for.
_PROGRAMS = (
    (1, "socket_filter", "3.19", 0),
    (2, "kprobe", "4.1", 0),
    (3, "sched_cls", "4.1", 0),
    (4, "sched_act", "4.1", 0),
    (5, "tracepoint", "4.7", 0),
    (6, "xdp", "4.8", 0),
    (7, "perf_event", "4.9", 0),
    (8, "cgroup_skb", "4.10", 0),
    (9, "cgroup_sock", "4.10", 2),
    (10, "lwt_in", "4.10", 0),
    (11, "lwt_out", "4.10", 0),
    (12, "lwt_xmit", "4.10", 0),
    (13, "sock_ops", "4.13", 0),
    (14, "sk_skb", "4.14", 0),
    (15, "cgroup_device", "4.15", 0),
    (16, "sk_msg", "4.17", 0),
    (17, "raw_tracepoint", "4.17", 0),
    (18, "cgroup_sock_addr", "4.17", 8),
    (19, "lwt_seg6local", "4.18", 0),
    (20, "lirc_mode2", "4.18", 0),
    (21, "sk_reuseport", "4.19", 0),
    (22, "flow_dissector", "4.20", 0),
    (23, "cgroup_sysctl", "5.2", 0),
    (24, "raw_tracepoint_writable", "5.2", 0),
    (25, "cgroup_sockopt", "5.3", 21),
    (26, "tracing", "5.5", 24),
    (27, "struct_ops", "5.6", 0),
    (28, "ext", "5.6", 0),
    (29, "lsm", "5.7", 27),
    (30, "sk_lookup", "5.9", 36),
    (31, "syscall", "5.14", 0),
    (32, "netfilter", "6.4", 45),
)

PROGRAM_NAMES = {number: name for number, name, *_ in _PROGRAMS}
"""The names of the numbers of ``enum bpf_prog_type``."""

# Number and name of enum bpf_map_type, since when, key and value size, entries, flags.
_PAGE = resource.getpagesize()
_MAPS = (
    (1, "hash", "3.19", 4, 4, 1, 0),
    (2, "array", "3.19", 4, 4, 1, 0),
    (3, "prog_array", "4.2", 4, 4, 1, 0),
    (4, "perf_event_array", "4.3", 4, 4, 1, 0),
    (5, "percpu_hash", "4.6", 4, 4, 1, 0),
    (6, "percpu_array", "4.6", 4, 4, 1, 0),
    (7, "stack_trace", "4.6", 4, 8, 1, 0),
    (8, "cgroup_array", "4.8", 4, 4, 1, 0),
    (9, "lru_hash", "4.10", 4, 4, 1, 0),
    (10, "lru_percpu_hash", "4.10", 4, 4, 1, 0),
    (11, "lpm_trie", "4.11", 8, 8, 1, _NO_PREALLOC),
    (12, "array_of_maps", "4.12", 4, 4, 1, 0),
    (13, "hash_of_maps", "4.12", 4, 4, 1, 0),
    (14, "devmap", "4.14", 4, 4, 1, 0),
    (15, "sockmap", "4.14", 4, 4, 1, 0),
    (16, "cpumap", "4.15", 4, 4, 1, 0),
    (17, "xskmap", "4.18", 4, 4, 1, 0),
    (18, "sockhash", "4.18", 4, 4, 1, 0),
    (19, "cgroup_storage", "4.19", 16, 8, 0, 0),
    (20, "reuseport_sockarray", "4.19", 4, 4, 1, 0),
    (21, "percpu_cgroup_storage", "4.20", 16, 8, 0, 0),
    (22, "queue", "4.20", 0, 4, 1, 0),
    (23, "stack", "4.20", 0, 4, 1, 0),
    (24, "sk_storage", "5.2", 4, 4, 0, _NO_PREALLOC),
    (25, "devmap_hash", "5.4", 4, 4, 1, 0),
    (26, "struct_ops", "5.6", 4, 4, 1, 0),
    (27, "ringbuf", "5.8", 0, 0, _PAGE, 0),
    (28, "inode_storage", "5.10", 4, 4, 0, _NO_PREALLOC),
    (29, "task_storage", "5.11", 4, 4, 0, _NO_PREALLOC),
    (30, "bloom_filter", "5.16", 0, 4, 1, 0),
    (31, "user_ringbuf", "6.1", 0, 0, _PAGE, 0),
    (32, "cgrp_storage", "6.2", 4, 4, 0, _NO_PREALLOC),
    (33, "arena", "6.9", 0, 0, 1, _MMAPABLE),
)
MAP_NAMES = {number: name for number, name, *_ in _MAPS}
"""The names of the numbers of ``enum bpf_map_type``."""
_OF_MAPS, _STRUCT_OPS = (12, 13), 26

# Number and name of enum bpf_func_id, since when, and a program type that may call it.
_KPROBE, _XDP = int(ProgType.KPROBE), 6
_HELPERS = (
    (4, "probe_read", "4.1", _KPROBE),
    (5, "ktime_get_ns", "4.1", _KPROBE),
    (12, "tail_call", "4.2", _KPROBE),
    (14, "get_current_pid_tgid", "4.2", _KPROBE),
    (25, "perf_event_output", "4.4", _KPROBE),
    (27, "get_stackid", "4.6", _KPROBE),
    (35, "get_current_task", "4.8", _KPROBE),
    (36, "probe_write_user", "4.8", _KPROBE),
    (37, "current_task_under_cgroup", "4.9", _KPROBE),
    (44, "xdp_adjust_head", "4.10", _XDP),
    (55, "perf_event_read_value", "4.15", _KPROBE),
    (58, "override_return", "4.16", _KPROBE),
    (67, "get_stack", "4.18", _KPROBE),
    (80, "get_current_cgroup_id", "4.18", _KPROBE),
    (109, "send_signal", "5.3", _KPROBE),
    (112, "probe_read_user", "5.5", _KPROBE),
    (113, "probe_read_kernel", "5.5", _KPROBE),
    (114, "probe_read_user_str", "5.5", _KPROBE),
    (115, "probe_read_kernel_str", "5.5", _KPROBE),
    (118, "jiffies64", "5.5", _KPROBE),
    (119, "read_branch_records", "5.6", 7),
    (120, "get_ns_current_pid_tgid", "5.7", _KPROBE),
    (125, "ktime_get_boot_ns", "5.7", _KPROBE),
    (130, "ringbuf_output", "5.8", _KPROBE),
    (141, "get_task_stack", "5.9", _KPROBE),
    (156, "task_storage_get", "5.11", _KPROBE),
    (158, "get_current_task_btf", "5.11", _KPROBE),
    (160, "ktime_get_coarse_ns", "5.11", 1),
    (164, "for_each_map_elem", "5.13", _KPROBE),
    (165, "snprintf", "5.13", _KPROBE),
    (169, "timer_init", "5.15", _XDP),
    (173, "get_func_ip", "5.15", _KPROBE),
    (174, "get_attach_cookie", "5.15", _KPROBE),
    (176, "get_branch_snapshot", "5.16", _KPROBE),
    (180, "find_vma", "5.17", _KPROBE),
    (181, "loop", "5.17", _KPROBE),
    (195, "map_lookup_percpu_elem", "5.19", _KPROBE),
    (208, "ktime_get_tai_ns", "6.1", _KPROBE),
    (209, "user_ringbuf_drain", "6.1", _KPROBE),
    (210, "cgrp_storage_get", "6.2", _KPROBE),
)
_READERS = (4, 112, 113, 114, 115)  # lockdown=confidentiality takes some of them away, and any lockdown 36
_WRITE_USER = 36


def _program(number: int, attach_type: int) -> str:
    if number == 26:
        return hooks.loads_tracing()
    log = bytearray(4096)
    try:
        os.close(load(number, returning(0), attach_type=attach_type, flags=_flags(number), log=log))
    except OSError as error:
        # The verifier runs only for types that the kernel knows: its complaint is about something else.
        if error.errno in (errno.EPERM, errno.EACCES) or not (log[0] or error.errno == policy.ENOTSUPP):
            raise
        return "known; needs a target in the kernel's BTF"
    return ""


def _flags(number: int) -> int:
    return _SLEEPABLE if number == 31 else 0


def _map(number: int, key: int, value: int, entries: int, flags: int) -> str:
    with contextlib.ExitStack() as held:
        inner, btf = 0, (0, 0, 0)
        if number in _OF_MAPS:
            inner = bpf(Command.MAP_CREATE, struct.pack("IIII", 2, 4, 4, 1))
            held.callback(os.close, inner)
        if number in LOCAL_STORAGE:
            btf = (local_storage.storage_types(value), 1, 2)
            held.callback(os.close, btf[0])
        struct_type = 1 if number == _STRUCT_OPS else 0  # any: no type of that number has operations
        attr = struct.pack("IIIIII", number, key, value, entries, flags, inner).ljust(48, b"\0")
        try:
            os.close(bpf(Command.MAP_CREATE, attr + struct.pack("IIII", *btf, struct_type)))
        except OSError as error:
            if error.errno != policy.ENOTSUPP:  # known, but needs a struct of the kernel's BTF
                raise
            return "known; needs a struct of the kernel's BTF"
    return ""


def _helper(number: int, kind: int) -> str:
    refusal = helper_refusal(kind, number)
    if not refusal:
        return ""
    locked = policy.lockdown()
    if (number == _WRITE_USER and locked not in ("none", "")) or (
        number in _READERS and locked == policy.CONFIDENTIALITY
    ):
        raise PolicyError(f"lockdown={locked} withholds it")
    raise UnsupportedError(refusal)


def _features() -> Iterator[Feature]:
    for hook, since, ask in (
        ("raw tracepoint", "4.17", hooks.raw_tracepoint),
        ("tracepoint", "4.7", hooks.tracepoint),
        ("BTF tracepoint", "5.5", hooks.btf_tracepoint),
        ("kprobe", "4.1", hooks.kprobe),
        ("kretprobe", "4.1", hooks.kretprobe),
        ("kprobe event", "5.5", hooks.kprobe_event),
        ("kprobe.multi", "5.18", hooks.kprobe_multi),
        ("kretprobe.multi", "5.18", hooks.kretprobe_multi),
        ("fentry", "5.5", hooks.fentry),
        ("fexit", "5.5", hooks.fexit),
        ("uprobe", "4.3", hooks.uprobe),
        ("uretprobe", "4.3", hooks.uretprobe),
        ("uprobe.multi", "6.6", hooks.uprobe_multi),
        ("USDT semaphore", "4.20", hooks.usdt_semaphore),
        ("perf event", "4.9", hooks.perf_event),
        ("hardware counter", "2.6.31", hooks.hardware_counter),
        ("LSM", "5.7", hooks.lsm),
        ("iterator", "5.8", hooks.iterator),
        ("socket filter", "3.19", hooks.socket_filter),
        ("packet socket", "2.2", hooks.packet_socket),
        ("packet fanout", "4.12", network.packet_fanout),
        ("XDP", "4.8", network.xdp),
        ("XDP link", "5.9", network.xdp_link),
        ("tc", "4.5", network.tc),
        ("tcx", "6.6", network.tcx),
        ("cgroup skb", "4.15", network.cgroup_skb),
        ("cgroup sock", "4.15", network.cgroup_sock),
        ("cgroup sock_addr", "4.18", network.cgroup_sock_addr),
        ("cgroup link", "5.7", network.cgroup_link),
        ("seccomp filter", "3.5", hooks.seccomp),
    ):
        yield Feature("hook", hook, since, ask)
    for number, name, since, attach_type in _PROGRAMS:
        yield Feature("program", name, since, functools.partial(_program, number, attach_type))
    for number, name, since, *sizes in _MAPS:
        yield Feature("map", name, since, functools.partial(_map, number, *sizes))
    for number, name, since, kind in _HELPERS:
        yield Feature("helper", name, since, functools.partial(_helper, number, kind))


FEATURES = tuple(_features())
"""All features: hooks, then program types, map types and helpers."""
