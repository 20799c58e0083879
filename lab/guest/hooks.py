"""Puts an empty program on every kind of hook and measures what it costs an event, for lab/hooks.py.

Run by the Python that pytracer is installed for, in a VM of the lab or (it touches only events that carry
nothing) on the machine itself. Prints JSON, one object a line: the kernel first ({"release"}), then the hooks
({"hook", "status", "reason", "ns", "noise"}), then the types of maps ({"map", "status", "reason"}).
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.work import flood, work

from pytracer import spec
from pytracer.bpf import features
from pytracer.bpf.attach import kind_of
from pytracer.bpf.attach.kind import Place
from pytracer.bpf.facts import KernelFacts
from pytracer.bpf.probing import load, returning
from pytracer.errors import PytracerError
from pytracer.kernel.targets import cgroup2_roots
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

CALLS, PACKETS, ROUNDS = 100_000, 20_000, 7
_NEWNET = 0x40000000  # CLONE_NEWNET
_ARCHITECTURE = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
FUNCTION = f"__{_ARCHITECTURE}_sys_lseek"  # never inlined; and in BTF, as it uses its argument


@dataclass(frozen=True)
class Hook:
    """A probe, the work whose every unit passes it once, and the program that does nothing there.

    Where nothing passes by itself there is no work: it is only put there."""

    name: str
    probe: Callable[[], Probe]
    do: Callable[[], float] | None
    code: bytes = b""
    choice: str = ""
    members: int = 0
    rate: Rate = NO_RATE


def calls() -> float:
    """Nanoseconds for a system call."""
    return work("calls", str(CALLS), cpu=0)


def seeks() -> float:
    """Nanoseconds for a system call that calls a certain function of the kernel."""
    return work("seeks", str(CALLS), cpu=0)


def functions() -> float:
    """Nanoseconds for a call of a function of a program."""
    return work("functions", str(CALLS), cpu=0)


def packets() -> float:
    """Nanoseconds for a packet on the loopback interface."""
    return work("packets", str(PACKETS), cpu=0)


def sockets() -> float:
    """Nanoseconds for a socket that is made and closed."""
    return work("sockets", str(PACKETS), cpu=0)


def connects() -> float:
    """Nanoseconds for a datagram socket to be connected."""
    return work("connects", str(PACKETS), cpu=0)


def faults() -> float:
    """Nanoseconds for a page that is not there when it is touched."""
    return work("faults", str(CALLS), cpu=0)


HOOKS = (
    Hook("raw tracepoint", lambda: RawTracepoint("", event="sys_enter"), calls),
    Hook("typed tracepoint", lambda: TypedTracepoint("", function="sys_enter"), calls),
    Hook("tracepoint", lambda: Tracepoint("", category="raw_syscalls", event="sys_enter"), calls),
    Hook("kprobe", lambda: Kprobe("", symbols=(FUNCTION,)), seeks),
    Hook("kretprobe", lambda: Kretprobe("", symbols=(FUNCTION,)), seeks),
    Hook("kprobe.multi", lambda: KprobeMulti("", patterns=(FUNCTION,)), seeks),
    Hook("kretprobe.multi", lambda: KretprobeMulti("", patterns=(FUNCTION,)), seeks),
    Hook("kprobe event", lambda: KprobeEvents("bench", patterns=(FUNCTION,)), seeks),
    Hook("fentry", lambda: Fentry("", function=FUNCTION), seeks),
    Hook("fexit", lambda: Fexit("", function=FUNCTION), seeks),
    Hook("uprobe", lambda: Uprobe("", file=flood(), symbol="passed"), functions),
    Hook("uretprobe", lambda: Uretprobe("", file=flood(), symbol="passed"), functions),
    Hook("uprobe.multi", lambda: UprobeMulti("", file=flood(), symbol="passed"), functions),
    Hook("uretprobe.multi", lambda: UretprobeMulti("", file=flood(), symbol="passed"), functions),
    Hook("perf event", lambda: PerfSample("", event="page-faults"), faults, rate=Rate(period=1)),
    Hook("LSM", lambda: Lsm("", function="socket_create"), sockets),
    Hook("override return", lambda: Override("", symbols=(FUNCTION,)), seeks),
    Hook("iterator", lambda: spec.Iterator("", of="task"), None),
    Hook("socket filter", lambda: SocketFilter(""), packets, code=returning(0)),
    Hook("packet fanout", lambda: PacketFanout(""), packets, members=2),
    Hook("XDP, generic", lambda: Xdp(""), packets, choice="generic"),
    Hook("XDP by netlink, generic", lambda: XdpNetlink(""), packets, choice="generic"),
    Hook("tcx", lambda: Tcx(""), packets, choice="in"),
    Hook("clsact", lambda: Clsact(""), packets, choice="in"),
    Hook("cgroup skb", lambda: CgroupSkb("", point="egress"), packets),
    Hook("cgroup sock", lambda: CgroupSock("", point="create"), sockets),
    Hook("cgroup sock_addr", lambda: CgroupSockAddr("", point="connect4"), connects),
)


@contextlib.contextmanager
def attached(hook: Hook, probe: Probe, name: str, own: Sequence[str]) -> Iterator[None]:
    """An empty program on it; on the cgroups ``own`` where it is put on such."""
    kind = kind_of(probe)
    how = kind.load_as(probe)
    code = hook.code or returning(how.result)
    program = load(how.type, code, attach_type=how.attach_type, btf_id=how.btf_id)
    try:
        lo = {socket.if_nametoindex("lo"): "lo"}
        place = Place(name, lo, hook.choice, rate=hook.rate, members=hook.members, cgroups=tuple(own))
        links = kind.put(probe, place, program)
    finally:
        os.close(program)
    try:
        yield
    finally:
        for link in links:
            link.close()


def measure(hook: Hook, facts: KernelFacts, own: Sequence[str]) -> dict[str, object]:
    """What comes of one hook. The least of some rounds: whatever else the machine does only adds."""
    probe = hook.probe()
    answer = facts.probe(probe)
    record = {"hook": hook.name, "status": "granted", "reason": "", "ns": 0.0, "noise": 0.0}
    if not answer.ok:
        return record | {"status": "refused" if answer.refused else "absent", "reason": answer.reason}
    bare, probed = [], []
    do = hook.do or (lambda: 0.0)
    try:
        for _ in range(ROUNDS):
            bare.append(do())
            with attached(hook, probe, answer.name, own):
                probed.append(do())
    except (OSError, PytracerError) as error:
        return record | {"status": "failed", "reason": str(error)}
    noise = max(statistics.median(taken) - min(taken) for taken in (bare, probed))
    return record | {"ns": round(min(probed) - min(bare), 1), "noise": round(noise, 1)}


@contextlib.contextmanager
def own_cgroup() -> Iterator[list[str]]:
    """A cgroup for this process and the work that it starts; none where there are none of version 2."""
    made = list[Path]()
    before = re.search(r"^0::(.*)$", Path("/proc/self/cgroup").read_text(), re.M)
    for root in cgroup2_roots()[:1]:
        made.append(root / f"pytracer-hooks-{os.getpid()}")
        made[0].mkdir()
        (made[0] / "cgroup.procs").write_text("0")
    try:
        yield [str(folder) for folder in made]
    finally:
        for folder in made:
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
    facts = KernelFacts()
    with own_cgroup() as own:
        for hook in (hook for hook in HOOKS if hook.name in names or not names):
            print(json.dumps(measure(hook, facts, own)), flush=True)
    facts.close()
    for feature in features.FEATURES:
        if feature.kind == "map" and not names:
            found = features.probe(feature)
            shown = {"map": feature.name, "status": found.status, "reason": found.reason}
            print(json.dumps(shown), flush=True)


if __name__ == "__main__":
    main()
