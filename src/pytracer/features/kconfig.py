"""Explain the absence of a feature: the kernel is older, or was built without an option."""

from __future__ import annotations

from pytracer.kernel import config

# The options that the kernel's Kconfig and Makefiles name for each, by kind and name of a feature.
_OPTIONS = {
    "hook": {
        "tracepoint": "EVENT_TRACING",
        "kprobe": "KPROBE_EVENTS",
        "kretprobe": "KPROBE_EVENTS",
        "kprobe event": "KPROBE_EVENTS",
        "kprobe.multi": "FPROBE",
        "kretprobe.multi": "FPROBE",
        "fentry": "DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
        "fexit": "DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
        "uprobe": "UPROBE_EVENTS",
        "uretprobe": "UPROBE_EVENTS",
        "uprobe.multi": "UPROBES",
        "perf event": "BPF_EVENTS",
        "LSM": "BPF_LSM",
        "packet socket": "PACKET",
        "packet fanout": "PACKET",
        "tc": "NET_CLS_BPF",
        "tcx": "NET_XGRESS",
        "cgroup skb": "CGROUP_BPF",
        "cgroup sock": "CGROUP_BPF",
        "cgroup sock_addr": "CGROUP_BPF",
        "cgroup link": "CGROUP_BPF",
        "seccomp filter": "SECCOMP_FILTER",
    },
    "program": {
        "kprobe": "BPF_EVENTS",
        "tracepoint": "BPF_EVENTS",
        "perf_event": "BPF_EVENTS",
        "raw_tracepoint": "BPF_EVENTS",
        "raw_tracepoint_writable": "BPF_EVENTS",
        "lsm": "BPF_LSM",
        "lirc_mode2": "BPF_LIRC_MODE2",
        "lwt_in": "LWTUNNEL_BPF",
        "lwt_out": "LWTUNNEL_BPF",
        "lwt_xmit": "LWTUNNEL_BPF",
        "lwt_seg6local": "IPV6_SEG6_BPF",
        "netfilter": "NETFILTER_BPF_LINK",
        "struct_ops": "BPF_JIT",
    },
    "map": {"xskmap": "XDP_SOCKETS", "stack_trace": "PERF_EVENTS"},
    "helper": {"override_return": "BPF_KPROBE_OVERRIDE"},
}


def why_absent(kind: str, name: str, since: str) -> str:
    """Explain why the kernel lacks a feature: it is older, or was built without an option."""
    if not config.is_since(since):
        return f"it came with Linux {since}"
    option = _OPTIONS.get(kind, {}).get(name, "")
    if not option:
        return f"Linux has it since {since}, and this kernel was built without it"
    value = config.option(option)
    if value is None:
        return f"it takes CONFIG_{option}"
    return f"this kernel is built without CONFIG_{option}" if value == "n" else ""
