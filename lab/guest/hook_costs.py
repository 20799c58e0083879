"""Measure the cost of a program for an event on each kind of hook, for lab/hook_costs.py: of one that does
nothing, and of one that counts in a hash.

Run by the Python that pytracer is installed for, in a VM of the lab whose clock counts instructions, or (it
touches only events that carry nothing) on the machine itself. Prints JSON, one object a line: the kernel
first ({"release"}), then the hooks ({"hook", "status", "reason", "ns": [empty, counting], "noise"}), then the
types of maps ({"map", "status", "reason", "ns": {operation: each}}; lab/guest/map_costs.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.work import flood, lanes, work
from lab.guest import map_costs

from pytracer import spec
from pytracer.bpf.attach import attacher_of
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.bpf.trial import load, return_code
from pytracer.errors import PytracerError
from pytracer.features import feature_table
from pytracer.features.kernel_facts import RunningKernel
from pytracer.features.table.feature import Feature
from pytracer.kernel.filter_values import cgroup2_roots
from pytracer.spec import (
    NO_RATE,
    CgroupSkb,
    CgroupSock,
    CgroupSockAddr,
    Clsact,
    Fentry,
    Fexit,
    Kprobe,
    KprobeEvents,
    KprobeMulti,
    Kretprobe,
    KretprobeMulti,
    Lsm,
    ModifyReturn,
    Override,
    PacketFanout,
    PerfSample,
    Probe,
    Rate,
    RawTracepoint,
    SocketFilter,
    Tcx,
    Tracepoint,
    TypedTracepoint,
    Uprobe,
    UprobeMulti,
    Uretprobe,
    UretprobeMulti,
    Xdp,
    XdpNetlink,
)

CALLS, PACKETS, ROUNDS = 20_000, 4_000, 5
_NEWNET = 0x40000000  # CLONE_NEWNET
_ARCHITECTURE = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
FUNCTION = f"__{_ARCHITECTURE}_sys_lseek"  # never inlined; and in BTF, as it uses its argument


@dataclass(frozen=True)
class MeasuredHook:
    """A probe, work that hits it ``passes`` times in each unit, and the value that a program must return
    there.

    A hook that nothing hits by itself has no work: a program is only attached.
    """

    name: str
    probe: Callable[[], Probe]
    do: Callable[[], float] | None
    result: int | None = None
    passes: int = 1
    choice: str = ""
    members: int = 0
    rate: Rate = NO_RATE


def calls() -> float:
    """Return the nanoseconds for a system call."""
    return work("calls", str(CALLS), cpu=0)


def seeks() -> float:
    """Return the nanoseconds for a system call that calls a certain function of the kernel."""
    return work("seeks", str(CALLS), cpu=0)


def schedulers() -> float:
    """Return the nanoseconds for a system call with an LSM hook."""
    return work("schedulers", str(CALLS), cpu=0)


def functions() -> float:
    """Return the nanoseconds for a call of a function of a program."""
    return work("functions", str(CALLS), cpu=0)


def packets() -> float:
    """Return the nanoseconds for a packet on the loopback interface."""
    return statistics.median(took for (took,) in lanes(PACKETS, "/proc/self/ns/net", cpu=0))


def sockets() -> float:
    """Return the nanoseconds for a socket that is made and closed."""
    return work("sockets", str(CALLS), cpu=0)


def connects() -> float:
    """Return the nanoseconds for a datagram socket to be connected."""
    return work("connects", str(PACKETS), cpu=0)


def faults() -> float:
    """Return the nanoseconds for a page that is not there when it is touched."""
    return work("faults", str(CALLS), cpu=0)


HOOKS = (
    MeasuredHook("raw tracepoint", lambda: RawTracepoint("", event="sys_enter"), calls),
    MeasuredHook("typed tracepoint", lambda: TypedTracepoint("", function="sys_enter"), calls),
    MeasuredHook("tracepoint", lambda: Tracepoint("", category="raw_syscalls", event="sys_enter"), calls),
    MeasuredHook("kprobe", lambda: Kprobe("", symbols=(FUNCTION,)), seeks),
    MeasuredHook("kretprobe", lambda: Kretprobe("", symbols=(FUNCTION,)), seeks),
    MeasuredHook("kprobe.multi", lambda: KprobeMulti("", patterns=(FUNCTION,)), seeks),
    MeasuredHook("kretprobe.multi", lambda: KretprobeMulti("", patterns=(FUNCTION,)), seeks),
    MeasuredHook("kprobe event", lambda: KprobeEvents("bench", patterns=(FUNCTION,)), seeks),
    MeasuredHook("fentry", lambda: Fentry("", function=FUNCTION), seeks),
    MeasuredHook("fexit", lambda: Fexit("", function=FUNCTION), seeks),
    MeasuredHook("uprobe", lambda: Uprobe("", file=flood(), symbol="passed"), functions),
    MeasuredHook("uretprobe", lambda: Uretprobe("", file=flood(), symbol="passed"), functions),
    MeasuredHook("uprobe.multi", lambda: UprobeMulti("", file=flood(), symbol="passed"), functions),
    MeasuredHook("uretprobe.multi", lambda: UretprobeMulti("", file=flood(), symbol="passed"), functions),
    MeasuredHook("perf event", lambda: PerfSample("", event="page-faults"), faults, rate=Rate(period=1)),
    MeasuredHook("LSM", lambda: Lsm("", function="task_getscheduler"), schedulers),
    MeasuredHook(
        "modify return", lambda: ModifyReturn("", function="security_task_getscheduler"), schedulers
    ),
    MeasuredHook("override return", lambda: Override("", symbols=(FUNCTION,)), seeks),
    MeasuredHook("iterator", lambda: spec.Iterator("", of="task"), None),
    MeasuredHook("socket filter", lambda: SocketFilter(""), packets, result=0, passes=2),
    MeasuredHook("packet fanout", lambda: PacketFanout(""), packets, passes=2, members=2),
    MeasuredHook("XDP, generic", lambda: Xdp(""), packets, choice="generic"),
    MeasuredHook("XDP by netlink, generic", lambda: XdpNetlink(""), packets, choice="generic"),
    MeasuredHook("tcx", lambda: Tcx(""), packets, choice="in"),
    MeasuredHook("clsact", lambda: Clsact(""), packets, choice="in"),
    MeasuredHook("cgroup skb", lambda: CgroupSkb("", point="egress"), packets),
    MeasuredHook("cgroup sock", lambda: CgroupSock("", point="create"), sockets),
    MeasuredHook("cgroup sock_addr", lambda: CgroupSockAddr("", point="connect4"), connects),
)


@contextlib.contextmanager
def attached(
    hook: MeasuredHook, probe: Probe, name: str, own_cgroups: Sequence[str], write: Callable[[int], bytes]
) -> Iterator[None]:
    """Attach a program with a given result, which ``write`` makes; to the cgroups ``own_cgroups`` if it is
    of that kind."""
    kind = attacher_of(probe)
    attributes = kind.load_attributes(probe)
    code = write(attributes.result if hook.result is None else hook.result)
    program = load(attributes.type, code, attach_type=attributes.attach_type, btf_id=attributes.btf_id)
    try:
        lo = {socket.if_nametoindex("lo"): "lo"}
        target = AttachTarget(
            name, lo, hook.choice, rate=hook.rate, members=hook.members, cgroups=tuple(own_cgroups)
        )
        links = kind.attach(probe, target, program)
    finally:
        os.close(program)
    try:
        yield
    finally:
        for link in links:
            link.close()


def measure(hook: MeasuredHook, facts: RunningKernel, own_cgroups: Sequence[str]) -> dict[str, object]:
    """Measure one hook."""
    probe = hook.probe()
    answer = facts.probe(probe)
    record: dict[str, object] = {"hook": hook.name, "status": "granted", "reason": "", "ns": [], "noise": 0.0}
    if not answer.is_supported:
        return record | {"status": "refused" if answer.is_forbidden else "absent", "reason": answer.reason}
    try:
        with map_costs.counter() as table:
            writers: list[Callable[[int], bytes]] = [return_code, partial(map_costs.counting, table)]
            costs, noise = measure_costs(
                hook.do or (lambda: 0.0),
                [partial(attached, hook, probe, answer.name, own_cgroups, write) for write in writers],
            )
    except (OSError, PytracerError) as error:
        return record | {"status": "failed", "reason": str(error)}
    pass_costs = [round(cost / hook.passes, 1) for cost in (*costs, noise)]
    return record | ({"ns": pass_costs[:2], "noise": pass_costs[2]} if hook.do else {})


def measure_costs(
    do: Callable[[], float], attachments: Sequence[Callable[[], contextlib.AbstractContextManager[None]]]
) -> tuple[list[float], float]:
    """Return the time in nanoseconds that each of them adds to some work, and the difference between rounds.

    Takes the minimum of several rounds: any other load of the machine only adds.
    """
    rounds = list[list[float]]()
    for _ in range(ROUNDS):
        rounds.append([do()])
        for attachment in attachments:
            with attachment():
                rounds[-1].append(do())
    bare, *attached_times = ([min(times), statistics.median(times)] for times in zip(*rounds, strict=True))
    noise = max(middle - minimum for minimum, middle in (bare, *attached_times))
    return [minimum - bare[0] for minimum, _ in attached_times], noise


def measure_map(
    feature: Feature, hooks: Mapping[str, MeasuredHook], facts: RunningKernel, own_cgroups: Sequence[str]
) -> dict[str, object]:
    """Test whether maps of one type exist, and measure each operation on one in a program."""
    result = feature_table.probe(feature)
    costs = dict[str, float]()
    record: dict[str, object] = {
        "map": feature.name,
        "status": result.status,
        "reason": result.reason,
        "ns": costs,
    }
    if result.status != feature_table.GRANTED:
        return record
    for operation in map_costs.OPERATIONS.get(feature.name, ()):
        hook = hooks[operation.hook]
        probe, do = hook.probe(), hook.do
        answer = facts.probe(probe)
        if not answer.is_supported or do is None:
            continue
        try:
            with operation.made() as map_fd:
                writers = [partial(operation.program, map_fd, times) for times in (0, operation.times)]
                attachments = [
                    partial(attached, hook, probe, answer.name, own_cgroups, write) for write in writers
                ]
                (floor, total), _ = measure_costs(do, attachments)
        except OSError as error:
            return record | {"status": "failed", "reason": f"{operation.name}: {error}"}
        costs[operation.name] = round((total - floor) / operation.times, 1)
    return record


@contextlib.contextmanager
def own_cgroup() -> Iterator[list[str]]:
    """Make a cgroup for this process and the work that it starts; none without cgroups of version 2."""
    folders = list[Path]()
    before = re.search(r"^0::(.*)$", Path("/proc/self/cgroup").read_text(), re.M)
    for root in cgroup2_roots()[:1]:
        folders.append(root / f"pytracer-hooks-{os.getpid()}")
        folders[0].mkdir()
        (folders[0] / "cgroup.procs").write_text("0")
    try:
        yield [str(folder) for folder in folders]
    finally:
        for folder in folders:
            home = folder.parent / (before[1].lstrip("/") if before else "")
            (home / "cgroup.procs").write_text("0")
            folder.rmdir()


def main() -> None:
    """Print all of it, or of the hooks that are named, line by line as it comes.

    The loopback interface is one of its own.
    """
    names = sys.argv[1:]
    if ctypes.CDLL(None, use_errno=True).unshare(_NEWNET):
        sys.exit(f"hooks: no network namespace: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    print(json.dumps({"release": os.uname().release}), flush=True)
    facts = RunningKernel()
    hooks = {hook.name: hook for hook in HOOKS}
    with own_cgroup() as own_cgroups:
        for hook in (hook for hook in HOOKS if hook.name in names or not names):
            print(json.dumps(measure(hook, facts, own_cgroups)), flush=True)
        for feature in feature_table.FEATURES:
            if feature.kind == "map" and (feature.name in names or not names):
                print(json.dumps(measure_map(feature, hooks, facts, own_cgroups)), flush=True)
    facts.close()


if __name__ == "__main__":
    main()
