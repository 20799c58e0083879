"""Hooks: the places to which a program can be attached, and the ways to attach it.

``KINDS`` says which features a kind of probe (``Probe.kind``) needs.
"""

from __future__ import annotations

from pytracer.features.table.feature import BTF, Feature
from pytracer.features.table.helpers import OVERRIDE_RETURN

_ONE = "one function each; not where it is inlined, `notrace` or `noprobe`"
_FTRACE = "only functions that ftrace knows"
_OVERWRITES = "overwrites return addresses: Go and C++ exceptions break; pytracer never chooses it"
_USER = "a trap into the kernel each time; what is inlined is not called"
_FRAMES = "incoming frames alone; an interface has one program, and nobody's is replaced"
_TRAMPOLINE = ("DYNAMIC_FTRACE_WITH_DIRECT_CALLS", BTF)
_CGROUPS = "version 2; not beside a program that allows none"


def _make_hook(
    name: str,
    since: str,
    commit: str,
    *options: str,
    noun: str = "",
    fallback: str = "nothing",
    limits: str = "",
) -> Feature:
    return Feature("hook", name, since, commit, options, 0, noun, fallback, limits)


RAW_TRACEPOINT = _make_hook(
    "raw tracepoint",
    "4.17",
    "c4f6699dfcb8",
    "TRACEPOINTS",
    noun="raw tracepoints",
    fallback="tracepoint",
    limits="arguments without types, that kernels change; preempted from 7.0 on",
)
TRACEPOINT = _make_hook(
    "tracepoint",
    "4.7",
    "98b5c2c65c29",
    "EVENT_TRACING",
    noun="trace events",
    fallback="kprobe",
    limits="needs tracefs; the arguments are laid out for each event; not events within another",
)
TYPED_TRACEPOINT = _make_hook(
    "typed tracepoint",
    "5.5",
    "9e15db66136a",
    BTF,
    noun="typed tracepoints",
    fallback="raw tracepoint",
    limits="needs BTF; a program for each event",
)
# By the perf PMU. Before, a program could be attached to a kprobe that a trace event had made (4.1,
# 2541517c32be), which pytracer does for many functions at once alone (KPROBE_EVENT).
KPROBE = _make_hook(
    "kprobe",
    "4.17",
    "e12f03d7031a",
    "KPROBE_EVENTS",
    noun="kprobes",
    fallback="kprobe event",
    limits=_ONE,
)
KRETPROBE = _make_hook(
    "kretprobe",
    "4.17",
    "e12f03d7031a",
    "KPROBE_EVENTS",
    noun="kprobes",
    fallback="kretprobe.multi",
    limits="has places for so many calls at once, and misses the returns of others",
)
KPROBE_EVENT = _make_hook(
    "kprobe event",
    "5.5",
    "ca89bc071d5e",
    "KPROBE_EVENTS",
    noun="kprobe events",
    fallback="kprobe",
    limits="stays behind a killed process, disarmed, until the next run",
)
KPROBE_MULTI = _make_hook(
    "kprobe.multi", "5.18", "0dcac2725406", "FPROBE", fallback="kprobe, kprobe event", limits=_FTRACE
)
# The link is as old as kprobe.multi's. Since this commit it counts the returns that it misses.
KRETPROBE_MULTI = _make_hook(
    "kretprobe.multi",
    "6.7",
    "e2b2cd592adb",
    "FPROBE",
    fallback="kretprobe",
    limits=f"{_FTRACE}; an older link does not count what it misses",
)
FENTRY = _make_hook(
    "fentry",
    "5.5",
    "fec56f5890d9",
    *_TRAMPOLINE,
    noun="trampolines on functions",
    fallback="kprobe",
    limits="needs BTF; a program for each function",
)
FEXIT = _make_hook(
    "fexit",
    "5.5",
    "fec56f5890d9",
    *_TRAMPOLINE,
    noun="trampolines on functions",
    fallback="kretprobe",
    limits="needs BTF; a program for each function",
)
# By the perf PMU; by trace events since 4.3 (04a22fae4cbc).
UPROBE = _make_hook("uprobe", "4.17", "33ea4b24277b", "UPROBE_EVENTS", noun="uprobes", limits=_USER)
URETPROBE = _make_hook(
    "uretprobe",
    "4.17",
    "33ea4b24277b",
    "UPROBE_EVENTS",
    noun="uprobes",
    fallback="uprobes on the instructions that return",
    limits=f"{_USER}; {_OVERWRITES}",
)
UPROBE_MULTI = _make_hook(
    "uprobe.multi", "6.6", "89ae89f53d20", "UPROBE_EVENTS", fallback="uprobe", limits=_USER
)
URETPROBE_MULTI = _make_hook(
    "uretprobe.multi",
    "6.6",
    "89ae89f53d20",
    "UPROBE_EVENTS",
    noun="uprobe.multi",
    fallback="uprobe.multi on the instructions that return",
    limits=f"{_USER}; {_OVERWRITES}",
)
USDT_SEMAPHORE = _make_hook("USDT semaphore", "4.20", "a6ca88b241d5", "UPROBE_EVENTS", noun="USDT semaphores")
PERF_EVENT = _make_hook(
    "perf event",
    "4.9",
    "0515e5999a46",
    "BPF_EVENTS",
    limits="each CPU its own; the hardware's where the machine counts",
)
HARDWARE_COUNTER = _make_hook(
    "hardware counter", "2.6.31", "0793a61d4df8", "PERF_EVENTS", fallback="cpu-clock"
)
LSM = _make_hook(
    "LSM",
    "5.7",
    "fc611f47f218",
    "BPF_LSM",
    BTF,
    limits="needs BTF, and `bpf` among the security modules in force",
)
MODIFY_RETURN = _make_hook(
    "modify return",
    "5.7",
    "ae24082331d9",
    *_TRAMPOLINE,
    noun="programs that answer for a function",
    fallback="override return",
    limits="needs BTF; only functions named `security_*`, and those that the kernel lists for failures",
)
OVERRIDE = _make_hook(
    "override return",
    OVERRIDE_RETURN.since,
    OVERRIDE_RETURN.commit,
    *OVERRIDE_RETURN.options,
    noun="bpf_override_return",
    limits="only functions that the kernel lists for it",
)
ITERATOR = _make_hook(
    "iterator",
    "5.8",
    "180139dca8b3",
    BTF,
    noun="iterators",
    limits="needs BTF; a moment's view of what there is, when it is read",
)
SOCKET_FILTER = _make_hook(
    "socket filter",
    "3.19",
    "89aa075832b0",
    noun="socket filters",
    limits="sees packets as the stack does: after GRO, before GSO",
)
PACKET_SOCKET = _make_hook("packet socket", "2.2", "", "PACKET", noun="packet sockets")
# A program chooses a socket since 4.3 (f2e520956a1a); since this commit the kernel numbers the group.
PACKET_FANOUT = _make_hook(
    "packet fanout",
    "4.12",
    "4a69a864209e",
    "PACKET",
    noun="fanout groups of packet sockets that a program chooses from",
    fallback="socket filter",
    limits="packets as a socket filter sees them",
)
XDP = _make_hook(
    "XDP",
    "4.8",
    "6a773a15a1e8",
    "NET",
    fallback="tcx, clsact",
    limits=f"{_FRAMES}; behind the driver (generic) since 4.12; stays behind a killed process",
)
XDP_LINK = _make_hook(
    "XDP link", "5.9", "aa8d3a716b59", "NET", noun="links for XDP", fallback="XDP by netlink", limits=_FRAMES
)
CLSACT = _make_hook(
    "clsact",
    "4.5",
    "1f211a1b929c",
    "NET_CLS_BPF",
    "NET_SCH_INGRESS",
    fallback="socket filter",
    limits="both ways; stays behind a killed process until the next run",
)
TCX = _make_hook(
    "tcx",
    "6.6",
    "e420bed02507",
    "NET_XGRESS",
    fallback="clsact",
    limits="packets as the stack makes them, both ways",
)
# A cgroup has several programs of a kind since 4.15 (BPF_F_ALLOW_MULTI); before, the last one replaced all.
CGROUP_SKB = _make_hook(
    "cgroup skb",
    "4.15",
    "324bda9e6c5a",
    "CGROUP_BPF",
    noun="cgroups with several programs",
    limits=f"packets of IPv4 and IPv6 sockets; {_CGROUPS}",
)
CGROUP_SOCK = (
    _make_hook(  # as sockets are made since 4.10 (610236587600), once they are bound since this commit
        "cgroup sock",
        "4.17",
        "aac3fc320d94",
        "CGROUP_BPF",
        noun="programs on bound sockets of cgroups",
        limits=f"IPv4 and IPv6 sockets; {_CGROUPS}",
    )
)
CGROUP_SOCK_ADDR = _make_hook(  # connect and bind since 4.17 (4fbac77d2d09), sendmsg since this commit
    "cgroup sock_addr",
    "4.18",
    "1cedee13d25a",
    "CGROUP_BPF",
    noun="programs on addresses that sockets of cgroups send to",
    limits=f"what is asked for, before it is done; {_CGROUPS}",
)
CGROUP_LINK = _make_hook(
    "cgroup link",
    "5.7",
    "af6eea57437a",
    "CGROUP_BPF",
    noun="links for cgroups",
    fallback="BPF_PROG_ATTACH",
)
SECCOMP = _make_hook("seccomp filter", "3.5", "e2cfabdfd075", "SECCOMP_FILTER")

HOOKS = (
    RAW_TRACEPOINT,
    TRACEPOINT,
    TYPED_TRACEPOINT,
    KPROBE,
    KRETPROBE,
    KPROBE_EVENT,
    KPROBE_MULTI,
    KRETPROBE_MULTI,
    FENTRY,
    FEXIT,
    UPROBE,
    URETPROBE,
    UPROBE_MULTI,
    URETPROBE_MULTI,
    USDT_SEMAPHORE,
    PERF_EVENT,
    HARDWARE_COUNTER,
    LSM,
    MODIFY_RETURN,
    OVERRIDE,
    ITERATOR,
    SOCKET_FILTER,
    PACKET_SOCKET,
    PACKET_FANOUT,
    XDP,
    XDP_LINK,
    CLSACT,
    TCX,
    CGROUP_SKB,
    CGROUP_SOCK,
    CGROUP_SOCK_ADDR,
    CGROUP_LINK,
    SECCOMP,
)

KINDS: dict[str, tuple[Feature, ...]] = {
    "raw_tracepoint": (RAW_TRACEPOINT,),
    "tracepoint": (TRACEPOINT,),
    "typed_tracepoint": (TYPED_TRACEPOINT,),
    "kprobe": (KPROBE,),
    "kretprobe": (KRETPROBE,),
    "kretprobe_event": (KRETPROBE,),
    "kprobe_events": (KPROBE_EVENT,),
    "kprobe_multi": (KPROBE_MULTI,),
    "kretprobe_multi": (KRETPROBE_MULTI,),
    "override": (OVERRIDE, KPROBE),
    "fentry": (FENTRY,),
    "fexit": (FEXIT,),
    "uprobe": (UPROBE,),
    "uretprobe": (URETPROBE,),
    "uprobe_multi": (UPROBE_MULTI,),
    "uretprobe_multi": (URETPROBE_MULTI,),
    "perf_sample": (PERF_EVENT,),
    "task_sample": (PERF_EVENT,),
    "perf_interval": (PERF_EVENT,),
    "run_once": (RAW_TRACEPOINT,),
    "on_signal": (RAW_TRACEPOINT,),
    "watchpoint": (PERF_EVENT,),
    "modify_return": (MODIFY_RETURN,),
    "lsm": (LSM,),
    "seccomp": (SECCOMP,),
    "iterator": (ITERATOR,),
    "socket_filter": (SOCKET_FILTER, PACKET_SOCKET),
    "packet_fanout": (PACKET_FANOUT,),
    "xdp": (XDP_LINK,),
    "xdp_netlink": (XDP,),
    "clsact": (CLSACT,),
    "tcx": (TCX,),
    "cgroup_skb": (CGROUP_SKB, CGROUP_LINK),
    "cgroup_skb_attach": (CGROUP_SKB,),
    "cgroup_sock": (CGROUP_SOCK, CGROUP_LINK),
    "cgroup_sock_attach": (CGROUP_SOCK,),
    "cgroup_sock_addr": (CGROUP_SOCK_ADDR, CGROUP_LINK),
    "cgroup_sock_addr_attach": (CGROUP_SOCK_ADDR,),
}
"""The features that each kind of probe needs."""
