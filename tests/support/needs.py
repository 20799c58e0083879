"""State what a kernel may lack, and why. This is the only place that excuses a kernel test.

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

from pytracer.features.table import changes, helpers
from pytracer.features.table.feature import Feature, Version, parse_version
from pytracer.features.table.hook_features import KINDS, USDT_SEMAPHORE
from pytracer.features.table.map_types import BLOOM_FILTER, RINGBUF
from pytracer.kernel.kconfig import option as kernel_config
from pytracer.spec import Hook, registry
from pytracer.spec.common import FOLLOW
from support.cli import Result

DEBIANS = "cloud" in platform.release()
"""Whether this is one of the kernels whose configuration and policy are known."""


@dataclass(frozen=True)
class Need:
    """The requirements of an alternative or a test: all these ``features`` of the table.

    ``says`` matches the reason that pytracer must give if it is refused.
    """

    features: tuple[Feature, ...]
    says: str = ""


def _need(*features: Feature, says: str = "") -> Need:
    return Need(features, says)


def _kind(kind: str, says: str) -> Need:
    return Need(KINDS[kind], says)


_NO_FUNCTION = "no kprobes|no function|may not be traced|in parts only|kprobe.multi|trace event|tracefs"
_USER_MULTI = _kind("uprobe_multi", "uprobe.multi")
_USER = _kind("uprobe", "no uprobes")
# Not of the kernel, but of what Debian and Fedora build, and of the byte order.
_PYTHON = Feature("machine", "python3 with probes", machines=("x86_64", "aarch64"))
_LITTLE = Feature(
    "machine", "little-endian", machines=("x86_64", "aarch64", "riscv64", "ppc64le", "loongarch64")
)

# A key is HOOK=ALTERNATIVE, as --hook takes it, if that alternative has a history of its own. Else it is the
# kind of its probes (Probe.kind), or a name that tests use. Versions are in pytracer.features.table alone.
NEEDS: dict[str, Need] = {
    "raw_tracepoint": _kind("raw_tracepoint", "raw tracepoint"),
    "tracepoint": _kind("tracepoint", "trace event|tracefs"),
    "kprobe": _kind("kprobe", "kprobe|function"),
    "kretprobe": _kind("kretprobe", "kprobe|function"),
    "override": _kind("override", "ERROR_INJECTION|KPROBE_OVERRIDE"),
    "perf_sample": _kind("perf_sample", "takes no samples"),
    "task_sample": _kind("task_sample", "takes no samples"),
    "iterator": _kind("iterator", "no iterator"),
    "socket_filter": _kind("socket_filter", "packet socket|socket filter"),
    "packet_fanout": _kind("packet_fanout", "fanout|packet socket|socket filter"),
    "xdp": _kind("xdp", "XDP"),
    "xdp_netlink": _kind("xdp_netlink", "XDP"),
    "tcx": _kind("tcx", "tcx"),
    "clsact": _kind("clsact", "clsact"),
    "cgroup_skb": _kind("cgroup_skb", "cgroup"),
    "cgroup_skb_attach": _kind("cgroup_skb_attach", "cgroup"),
    "cgroup_sock": _kind("cgroup_sock", "cgroup"),
    "cgroup_sock_attach": _kind("cgroup_sock_attach", "cgroup"),
    "cgroup_sock_addr": _kind("cgroup_sock_addr", "cgroup"),
    "cgroup_sock_addr_attach": _kind("cgroup_sock_addr_attach", "cgroup"),
    "kprobe_multi": _kind("kprobe_multi", "kprobe|function"),
    "kretprobe_multi": _kind("kretprobe_multi", "kprobe|function"),
    "uprobe": _kind("uprobe", "uprobes"),
    "uretprobe": _kind("uretprobe", "uprobes"),
    "uprobe_multi": _USER_MULTI,
    "uretprobe_multi": _kind("uretprobe_multi", "uprobe.multi"),
    "uprobe_multi for all threads of a process": _need(changes.ALL_THREADS),
    "cookies": _need(changes.COOKIES),
    "python3 with probes": _need(_PYTHON),
    "kprobe_events": _kind("kprobe_events", "kprobe|function|trace event|tracefs"),
    "return=fexit": _need(*KINDS["fexit"], helpers.TASK_PT_REGS, says="trampoline|BTF"),
    "return=call-tracepoints": _need(
        *KINDS["tracepoint"], helpers.CURRENT_TASK_BTF, helpers.TASK_PT_REGS, says="bpf_|trace event|tracefs"
    ),
    "syscall=fentry": _need(*KINDS["fentry"], helpers.TASK_PT_REGS, says="trampoline|BTF"),
    "syscall=kprobe-dispatch": _need(changes.DISPATCHER, says=_NO_FUNCTION),
    "syscall=kprobe-multi": _need(*KINDS["kprobe_multi"], changes.SHARED_EXIT, says=_NO_FUNCTION),
    "syscall=kprobe-events": _need(*KINDS["kprobe_events"], changes.SHARED_EXIT, says=_NO_FUNCTION),
    "syscall=kprobe-return": _need(*KINDS["kretprobe_multi"], changes.X86, says=_NO_FUNCTION),
    "k=kprobe-multi": _kind("kprobe_multi", "kprobe.multi"),
    "k=kprobe": _kind("kprobe", "no kprobes"),
    "k=kprobe-events": _kind("kprobe_events", "no kprobes"),
    "kr=kretprobe-multi": _kind("kretprobe_multi", "kprobe.multi|does not count"),
    "kr=kretprobe-events": _kind("kretprobe_event", "no kprobes"),
    "kr=kretprobe": _kind("kretprobe", "no kprobes"),
    "f=fentry": _kind("fentry", "trampoline|BTF"),
    "fr=fexit": _kind("fexit", "trampoline|BTF"),
    "lsm=lsm": _kind("lsm", "security module|BTF"),
    "lsm": _kind("lsm", "security module|BTF"),
    "modify_return": _kind("modify_return", "answer for a function|BTF"),
    "t=tracepoint": _kind("tracepoint", "trace event|tracefs"),
    "rt=raw-tracepoint": _kind("raw_tracepoint", "raw tracepoint"),
    "rt=typed": _kind("typed_tracepoint", "typed tracepoint|BTF"),
    "u=uprobe-multi": _USER_MULTI,
    "u=uprobe": _USER,
    "ur=return-sites-multi": _USER_MULTI,
    "ur=return-sites": _USER,
    "ur=uretprobe-multi": _USER_MULTI,
    "ur=uretprobe": _USER,
    "usdt=uprobe-multi": _USER_MULTI,
    "usdt=uprobe": _need(USDT_SEMAPHORE, says="no uprobes|USDT semaphores"),
    "tasks=iterator": _need(*KINDS["iterator"], changes.TASK_STATE, says="has no task_struct.__state"),
    "tasks=iterator-older": _need(
        *KINDS["iterator"], changes.OLD_TASK_STATE, says="has no task_struct.state"
    ),
    "block_io=raw-tracepoint-queue": _need(changes.REQUEST_BEHIND_QUEUE, says="fewer arguments"),
    "block_io=raw-tracepoint": _need(changes.REQUEST_WITHOUT_QUEUE, says="more arguments"),
    "block_submit=request": _need(changes.BLOCK_IO_EVENTS, says="raw tracepoint"),
    "block_submit=bio": _need(changes.BIO_WITHOUT_QUEUE, says="raw tracepoint"),
    "block_submit=bio-queue": _need(changes.BIO_BEHIND_QUEUE, says="fewer arguments"),
    "socket_bytes=raw-tracepoint": _need(changes.SOCKET_BYTES, says="raw tracepoint"),
    "socket_bytes=fexit": _kind("fexit", "trampoline|BTF"),
    "ring_splice=fexit": _kind("fexit", "trampoline|BTF"),
    "looked_up=fexit": _kind("fexit", "trampoline|BTF"),
    "drop=raw-tracepoint-socket": _need(changes.DROP_SOCKET, says="fewer arguments"),
    "drop=raw-tracepoint-reason": _need(changes.DROP_REASON, says="fewer arguments"),
    "queue=raw-tracepoint": _need(changes.QDISC_ENQUEUE, says="raw tracepoint"),
    "mapping=fexit": _need(*KINDS["fexit"], changes.TRACEABLE_PERF, says="trampoline|BTF"),
    "mapping=raw-tracepoint-path": _need(
        changes.MMAP_LOCK_EVENTS, changes.MMAP_LOCK_PATHS, says="raw tracepoint"
    ),
    "mapping=raw-tracepoint": _need(changes.MMAP_LOCK_EVENTS, says="raw tracepoint"),
    "mapping=kprobe": _kind("kprobe", "kprobe|function"),
    "checked=raw-tracepoint": _need(changes.CAPABLE_EVENT, says="raw tracepoint"),
    "called=fentry": _kind("fentry", "trampoline|BTF"),
    "checked=fexit": _kind("fexit", "trampoline|BTF"),
    "victim=raw-tracepoint": _need(changes.OOM_VICTIM, says="raw tracepoint"),
    "contention=raw-tracepoint": _need(changes.CONTENTION, says="raw tracepoint"),
    "contention=fexit": _kind("fexit", "trampoline|BTF"),
    "contention=kprobe": _kind("kretprobe", "kprobe|function"),
    "held=fexit": _kind("fexit", "trampoline|BTF"),
    "held=kprobe": _kind("kretprobe", "kprobe|function"),
    "allocation=raw-tracepoint": _need(changes.SLAB_CACHE, says="fewer arguments"),
    "allocation=raw-tracepoint-nodes": _need(changes.SLAB_ON_NODES, says="raw tracepoint"),
    "slab=raw-tracepoint": _need(changes.SLAB_CACHE, says="raw tracepoint"),
    "dirtied=raw-tracepoint": _need(changes.DIRTY_FOLIO, says="raw tracepoint"),
    "dirtied=raw-tracepoint-page": _need(changes.DIRTY_PAGE, says="raw tracepoint"),
    "ring_request=tracepoint": _need(changes.RING_REQUEST, says="trace event|tracefs"),
    "ring_request=tracepoint-sqe": _need(changes.RING_SQE, says="trace event|tracefs"),
    "ring_file=tracepoint": _need(changes.RING_REQUEST, says="trace event|tracefs"),
    "ring_file=tracepoint-sqe": _need(changes.RING_SQE, says="trace event|tracefs"),
    "requests in the events of io_uring": _need(changes.RING_REQUESTS_IN_EVENTS),
    "multishot polls of io_uring": _need(changes.RING_MULTISHOT_POLLS),
    "skipped completions of io_uring": _need(changes.RING_SKIPPED),
    "sockets of io_uring": _need(changes.RING_SOCKETS),
    "collapse=tracepoint": _need(changes.COLLAPSE_EVENTS_OF_FILES, says="trace event|tracefs"),
    "MADV_COLLAPSE": _need(changes.MADV_COLLAPSE),
    "ringbuf": _need(RINGBUF),
    "task storage": _need(changes.TASK_STORAGE_ANYWHERE),
    "bloom filter": _need(BLOOM_FILTER),
    "stacks of kretprobes": _need(changes.WHOLE_RETURN_STACKS),
    "paths of iterators": _need(changes.ITERATOR_PATHS),
    "BTF": _need(changes.KERNEL_BTF),
    "loops by bpf_loop": _need(helpers.LOOP),
    "stacks by tables": _need(helpers.LOOP, helpers.TASK_PT_REGS, changes.X86),
    "tun": _need(changes.TUN),
    "memory of a process that exits": _need(changes.ARGUMENTS_AT_EXIT),
    "little-endian": _need(_LITTLE),
}


def needed(name: str) -> list[Need]:
    """Return what must be there for a feature, or for a way to hook."""
    if name in NEEDS or "=" not in name:
        return [NEEDS[name]]
    hook, _, alternative_name = name.partition("=")
    alternatives = (
        alternative
        for candidate in hooks()
        if candidate.name == hook
        for alternative in candidate.alternatives
    )
    alternative = next(alternative for alternative in alternatives if alternative.name == alternative_name)
    kinds = dict.fromkeys(probe.kind for probe in alternative.probes if not probe.optional)
    unknown = [kind for kind in kinds if kind not in NEEDS]
    assert not unknown, f"{name} stands on {unknown}: not in the table of tests/support/needs.py"
    return [NEEDS[kind] for kind in kinds]


def hooks() -> list[Hook]:
    """Return every hook of every tracer. Hooks of one name may have different alternatives, but
    alternatives of one name are the same."""
    return [
        hook
        for tracer in registry.all_tracers()
        for hook in (*tracer.hooks, FOLLOW, *(hook for output in tracer.outputs for hook in output.hooks))
    ]


@dataclass(frozen=True)
class KernelUnderTest:
    """A kernel to look for features in. ``option`` returns y, m, n, or None if it is not known."""

    release: str
    machine: str
    option: Callable[[str], str | None]

    @property
    def version(self) -> Version:
        """Return the first two numbers of the release."""
        return parse_version(self.release)

    def excuse(self, name: str) -> str:
        """Return why this kernel may lack a feature, or ""."""
        features = (feature for need in needed(name) for feature in need.features)
        return next((reason for feature in features if (reason := self._lacks(feature))), "")

    def _lacks(self, feature: Feature) -> str:
        if feature.since and self.version < parse_version(feature.since):
            return f"it came with Linux {feature.since}, and this is {self.release}"
        if feature.until and self.version >= parse_version(feature.until):
            return f"Linux {feature.until} took it away, and this is {self.release}"
        if feature.machines and self.machine not in feature.machines:
            return f"it is for {', '.join(feature.machines)}, and this is {self.machine}"
        option = feature.missing_option(self.option)
        return f"built without CONFIG_{option}" if option else ""


def running() -> KernelUnderTest:
    """Return the kernel that runs."""
    return KernelUnderTest(platform.release(), platform.machine(), kernel_config)


class DeclaredSkip(pytest.skip.Exception):
    """Skips a test for a declared reason."""


def needs(name: str, present: object) -> None:
    """Continue if the feature is ``present``; else skip if this kernel may lack it, and fail if not."""
    if present:
        return
    excuse = running().excuse(name)
    if not excuse:
        pytest.fail(f"{name} is missing, and this kernel ({platform.release()}) has no excuse for that")
    raise DeclaredSkip(f"no {name}: {excuse}")


def refused_by_right(
    status: int, message: str, alternatives: dict[str, str], kernel: KernelUnderTest | None = None
) -> bool:
    """Return whether a run with ``--hook`` for each of ``alternatives`` was refused, as this kernel may;
    False if it ran.

    Fails where the kernel should have served it, where the refusal is not "unsupported" (4) with a declared
    reason, and where it ran though the table says that it is gone.
    """
    kernel = kernel or running()
    names = [f"{hook}={alternative}" for hook, alternative in alternatives.items()]
    excuses = {name: excuse for name in names if (excuse := kernel.excuse(name))}
    if status == 0:
        # Backports are welcome; what was taken away or left out does not come back by itself.
        stale = [f"{name}: {excuse}" for name, excuse in excuses.items() if "came with" not in excuse]
        assert not stale, f"it ran: tests/support/needs.py is out of date, {stale}"
        return False
    assert excuses, f"{alternatives} must run on {kernel.release}, but: {status}, {message}"
    assert status == 4, message
    messages = [need.says for name in excuses for need in needed(name)]
    assert any(re.search(text, message) for text in messages), f"not for {excuses}: {message}"
    return True


def was_refused(result: Result, alternatives: dict[str, str]) -> bool:
    """Return whether the kernel refused runs with ``--hook`` for each of ``alternatives``; asserts that the
    message names a policy or a missing feature. False if they ran."""
    if DEBIANS:
        return refused_by_right(result.status, result.err, alternatives)
    if result.status not in (4, 5):
        return False
    assert re.search("no way to see where .*: .+", result.err), result.err
    return True
