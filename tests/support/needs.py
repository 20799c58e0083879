"""What a kernel may lack, and why: the one place where a kernel test may be let off.

A feature may be missing only where the kernel is outside the versions that have it, runs on another machine,
or was built without it on purpose. Anything else is a failure: a probe that broke looks just like a kernel
without the feature. ``PYTRACER_NO_SKIP`` fails all other skips, never these (tests/conftest.py).
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from pytracer.kernel.config import option as kernel_config
from pytracer.spec import Hook, registry
from pytracer.spec.common import FOLLOW
from support.cli import Result

Version = tuple[int, int]
DEBIANS = "cloud" in platform.release()
"""Whether this is one of the kernels whose configuration and policy are known."""


@dataclass(frozen=True)
class Feature:
    """In Linux from ``since`` on and before ``until``, if built with the ``options``, on these ``machines``.

    ``says`` matches the reason that pytracer must give where it is refused.
    """

    since: Version = (0, 0)
    until: Version | None = None
    options: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    says: str = ""


_NO_FUNCTION = "no kprobes|no function|may not be traced|in parts only|kprobe.multi|trace event|tracefs"

# A key is HOOK=ALTERNATIVE, as --hook takes it, if that alternative has a history of its own. Else it is the
# kind of its probes (Probe.kind).
FEATURES: dict[str, Feature] = {
    "raw_tracepoint": Feature((4, 17), options=("TRACEPOINTS",), says="raw tracepoint"),
    "tracepoint": Feature((4, 7), options=("EVENT_TRACING",), says="trace event|tracefs"),
    "kprobe": Feature((4, 1), options=("KPROBE_EVENTS",), says="kprobe|function"),
    "kretprobe": Feature((4, 1), options=("KPROBE_EVENTS",), says="kprobe|function"),
    "override": Feature((4, 16), options=("BPF_KPROBE_OVERRIDE",), says="ERROR_INJECTION|KPROBE_OVERRIDE"),
    "perf_sample": Feature((4, 9), options=("PERF_EVENTS",), says="takes no samples"),
    "task_sample": Feature((4, 9), options=("PERF_EVENTS",), says="takes no samples"),
    "iterator": Feature((5, 8), options=("DEBUG_INFO_BTF",), says="no iterator"),
    "socket_filter": Feature((3, 19), options=("PACKET",), says="packet socket|socket filter"),
    "packet_fanout": Feature((4, 12), options=("PACKET",), says="fanout|packet socket|socket filter"),
    "xdp": Feature((5, 9), options=("NET",), says="XDP"),
    "xdp_netlink": Feature((4, 8), options=("NET",), says="XDP"),
    "tcx": Feature((6, 6), options=("NET_XGRESS",), says="tcx"),
    "clsact": Feature((4, 5), options=("NET_CLS_BPF", "NET_SCH_INGRESS"), says="clsact"),
    "cgroup_skb": Feature((5, 7), options=("CGROUP_BPF",), says="cgroup"),
    "cgroup_skb_attach": Feature((4, 15), options=("CGROUP_BPF",), says="cgroup"),
    "cgroup_sock": Feature((5, 7), options=("CGROUP_BPF",), says="cgroup"),
    "cgroup_sock_attach": Feature((4, 17), options=("CGROUP_BPF",), says="cgroup"),
    "cgroup_sock_addr": Feature((5, 7), options=("CGROUP_BPF",), says="cgroup"),
    "cgroup_sock_addr_attach": Feature((4, 18), options=("CGROUP_BPF",), says="cgroup"),
    "kprobe_multi": Feature((5, 18), options=("FPROBE",), says="kprobe|function"),
    "kretprobe_multi": Feature((6, 7), options=("FPROBE",), says="kprobe|function"),
    "uprobe": Feature((4, 17), options=("UPROBE_EVENTS",), says="uprobes"),
    "uretprobe": Feature((4, 17), options=("UPROBE_EVENTS",), says="uprobes"),
    "uprobe_multi": Feature((6, 6), options=("UPROBE_EVENTS",), says="uprobe.multi"),
    "uretprobe_multi": Feature((6, 6), options=("UPROBE_EVENTS",), says="uprobe.multi"),
    "uprobe_multi for all threads of a process": Feature((6, 10)),  # 46ba0e49b642
    "cookies": Feature((5, 15)),  # 82e6b1eee6a8
    "python3 with probes": Feature(machines=("x86_64", "aarch64")),  # of Debian and Fedora
    "kprobe_events": Feature((5, 5), options=("KPROBE_EVENTS",), says="kprobe|function|trace event|tracefs"),
    "syscall=kprobe-dispatch": Feature(
        (6, 1),  # 1e3ad78334a6 and its backports
        (7, 0),  # the dispatcher is notrace
        options=("KPROBE_EVENTS",),
        machines=("x86_64",),
        says=_NO_FUNCTION,
    ),
    # The function that all exits share is inlined from 7.0 on.
    "syscall=kprobe-multi": Feature(
        (5, 18), (7, 0), options=("FPROBE",), machines=("x86_64",), says=_NO_FUNCTION
    ),
    "syscall=kprobe-events": Feature(
        (5, 5), (7, 0), options=("KPROBE_EVENTS",), machines=("x86_64",), says=_NO_FUNCTION
    ),
    "syscall=kprobe-return": Feature((6, 7), options=("FPROBE",), machines=("x86_64",), says=_NO_FUNCTION),
    "k=kprobe-multi": Feature((5, 18), options=("FPROBE",), says="kprobe.multi"),
    "k=kprobe": Feature((4, 17), options=("KPROBE_EVENTS",), says="no kprobes"),
    "k=kprobe-events": Feature((5, 5), options=("KPROBE_EVENTS",), says="no kprobes"),
    "kr=kretprobe-multi": Feature((6, 7), options=("FPROBE",), says="kprobe.multi|does not count"),
    "kr=kretprobe-events": Feature((4, 17), options=("KPROBE_EVENTS",), says="no kprobes"),
    "kr=kretprobe": Feature((4, 17), options=("KPROBE_EVENTS",), says="no kprobes"),
    "f=fentry": Feature((5, 5), options=("DEBUG_INFO_BTF",), says="trampoline|BTF"),
    "fr=fexit": Feature((5, 5), options=("DEBUG_INFO_BTF",), says="trampoline|BTF"),
    "t=tracepoint": Feature((4, 7), options=("EVENT_TRACING",), says="trace event|tracefs"),
    "rt=raw-tracepoint": Feature((4, 17), options=("TRACEPOINTS",), says="raw tracepoint"),
    "rt=typed": Feature((5, 5), options=("DEBUG_INFO_BTF",), says="typed tracepoint|BTF"),
    "u=uprobe-multi": Feature((6, 6), options=("UPROBE_EVENTS",), says="uprobe.multi"),
    "u=uprobe": Feature((4, 17), options=("UPROBE_EVENTS",), says="no uprobes"),
    "ur=return-sites-multi": Feature((6, 6), options=("UPROBE_EVENTS",), says="uprobe.multi"),
    "ur=return-sites": Feature((4, 17), options=("UPROBE_EVENTS",), says="no uprobes"),
    "ur=uretprobe-multi": Feature((6, 6), options=("UPROBE_EVENTS",), says="uprobe.multi"),
    "ur=uretprobe": Feature((4, 17), options=("UPROBE_EVENTS",), says="no uprobes"),
    "usdt=uprobe-multi": Feature((6, 6), options=("UPROBE_EVENTS",), says="uprobe.multi"),
    "usdt=uprobe": Feature((4, 20), options=("UPROBE_EVENTS",), says="no uprobes|semaphores"),
    "tasks=iterator": Feature((5, 14), options=("DEBUG_INFO_BTF",), says="has no task_struct.__state"),
    "tasks=iterator-older": Feature((5, 8), (5, 14), says="has no task_struct.state"),
    "block_submit=request": Feature((6, 5), options=("BLOCK",), says="raw tracepoint"),
    "block_submit=bio": Feature((5, 11), options=("BLOCK",), says="raw tracepoint"),
    "block_submit=bio-queue": Feature((4, 17), (5, 11), options=("BLOCK",), says="fewer arguments"),
    "socket_bytes=raw-tracepoint": Feature((6, 3), options=("NET",), says="raw tracepoint"),
    "drop=raw-tracepoint-socket": Feature((6, 11), options=("NET",), says="fewer arguments"),
    "drop=raw-tracepoint-reason": Feature((5, 17), options=("NET",), says="fewer arguments"),
    "queue=raw-tracepoint": Feature((5, 14), options=("NET",), says="raw tracepoint"),
    "mapping=fexit": Feature((5, 5), options=("DEBUG_INFO_BTF",), says="trampoline|BTF"),
    "mapping=raw-tracepoint-path": Feature((5, 11), (6, 14), options=("TRACEPOINTS",), says="raw tracepoint"),
    "mapping=raw-tracepoint": Feature((5, 11), options=("TRACEPOINTS",), says="raw tracepoint"),
    "checked=raw-tracepoint": Feature((6, 14), options=("TRACEPOINTS",), says="raw tracepoint"),
    "checked=fexit": Feature((5, 5), options=("DEBUG_INFO_BTF",), says="trampoline|BTF"),
    "victim=raw-tracepoint": Feature((6, 9), options=("TRACEPOINTS",), says="raw tracepoint"),  # 72ba14deb40a
    "contention=raw-tracepoint": Feature((5, 19), options=("TRACEPOINTS",), says="raw tracepoint"),
    "slab=raw-tracepoint": Feature((5, 19), options=("TRACEPOINTS",), says="raw tracepoint"),
    "ringbuf": Feature((5, 8)),
    "task storage": Feature((5, 12)),  # for programs on tracepoints: a10787e6d58c
    "bloom filter": Feature((5, 16)),
    "stacks of kretprobes": Feature((5, 16)),  # 19138af1bd88 on x86, and its like elsewhere
    "paths of iterators": Feature((5, 12)),  # 3d06f34aa89e
    "BTF": Feature((5, 2), options=("DEBUG_INFO_BTF",)),
    "tun": Feature(options=("TUN",)),
    "memory of a process that exits": Feature((6, 16)),  # the event came behind exit_mm() before
    "little-endian": Feature(machines=("x86_64", "aarch64", "riscv64", "ppc64le", "loongarch64")),
}


def features(name: str) -> list[Feature]:
    """What must be there for a feature, or for a way to hook."""
    if name in FEATURES or "=" not in name:
        return [FEATURES[name]]
    hook, _, wanted = name.partition("=")
    [way] = [way for way in hooks()[hook].alternatives if way.name == wanted]
    kinds = dict.fromkeys(probe.kind for probe in way.probes if not probe.optional)
    missing = [kind for kind in kinds if kind not in FEATURES]
    assert not missing, f"{name} stands on {missing}: not in the table of tests/support/needs.py"
    return [FEATURES[kind] for kind in kinds]


def hooks() -> dict[str, Hook]:
    """Every hook of every tracer, by name."""
    return {hook.name: hook for tracer in registry.all_tracers() for hook in (*tracer.hooks, FOLLOW)}


@dataclass(frozen=True)
class Kernel:
    """The kernel that a feature is looked for in. ``option`` gives y, m, n, or None where it is not known."""

    release: str
    machine: str
    option: Callable[[str], str | None]

    @property
    def version(self) -> Version:
        """The first two numbers of the release."""
        match = re.match(r"(\d+)\.(\d+)", self.release)
        assert match, self.release
        return int(match[1]), int(match[2])

    def excuse(self, name: str) -> str:
        """Why this kernel may be without a feature, or ""."""
        return next((why for known in features(name) if (why := self._lacks(known))), "")

    def _lacks(self, known: Feature) -> str:
        if self.version < known.since:
            return f"it came with Linux {_shown(known.since)}, and this is {self.release}"
        if known.until is not None and self.version >= known.until:
            return f"Linux {_shown(known.until)} took it away, and this is {self.release}"
        if known.machines and self.machine not in known.machines:
            return f"it is for {', '.join(known.machines)}, and this is {self.machine}"
        missing = [option for option in known.options if self.option(option) == "n"]
        return f"built without CONFIG_{missing[0]}" if missing else ""


def running() -> Kernel:
    """The kernel that runs."""
    return Kernel(platform.release(), platform.machine(), kernel_config)


class Excused(pytest.skip.Exception):
    """A skip that a kernel has a declared reason for."""


def needs(name: str, present: object) -> None:
    """Go on where the feature is ``present``; else skip if this kernel may lack it, and fail if not."""
    if present:
        return
    excuse = running().excuse(name)
    if not excuse:
        pytest.fail(f"{name} is missing, and this kernel ({platform.release()}) has no excuse for that")
    raise Excused(f"no {name}: {excuse}")


def refused_by_right(status: int, said: str, wanted: dict[str, str], kernel: Kernel | None = None) -> bool:
    """Whether a run with ``--hook`` for each of ``wanted`` was refused, as this kernel may; False if it ran.

    Fails where the kernel should have served it, where the refusal is not "unsupported" (4) with a declared
    reason, and where it ran though the table says that it is gone.
    """
    kernel = kernel or running()
    names = [f"{hook}={way}" for hook, way in wanted.items()]
    excuses = {name: excuse for name in names if (excuse := kernel.excuse(name))}
    if status == 0:
        # Backports are welcome; what was taken away or left out does not come back by itself.
        stale = [f"{name}: {excuse}" for name, excuse in excuses.items() if "came with" not in excuse]
        assert not stale, f"it ran: tests/support/needs.py is out of date, {stale}"
        return False
    assert excuses, f"{wanted} must run on {kernel.release}, but: {status}, {said}"
    assert status == 4, said
    says = [known.says for name in excuses for known in features(name)]
    assert any(re.search(text, said) for text in says), f"not for {excuses}: {said}"
    return True


def refused(result: Result, wanted: dict[str, str]) -> bool:
    """Whether a run with ``--hook`` for each of ``wanted`` was refused: on Debian's kernels by right, on
    others for what their policy is, which must be said. False if it ran."""
    if DEBIANS:
        return refused_by_right(result.status, result.err, wanted)
    if result.status not in (4, 5):
        return False
    assert re.search("no way to see where .*: .+", result.err), result.err
    return True


def _shown(version: Version) -> str:
    return ".".join(map(str, version))
