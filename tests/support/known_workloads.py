"""For each tracer, run a workload with a known number of calls, packets or requests, and return what the
tracer saw.

``words`` are further options; ``before`` are words that stand before the tracer's name.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from support import cgroups, disks, packets
from support.cli import EarlyExit, Result, run, start, stop
from support.workloads import workload

Words = Sequence[object]
LONGEST = 60  # seconds


class Seen(NamedTuple):
    """The numbers ``seen`` and ``made``, to be compared; neither if the run was refused."""

    result: Result
    what: object = None
    made: object = None


def syscalls(*words: object, before: Words = ()) -> Seen:
    """Make 23 getppid calls in a statically linked program."""
    result = _run("syscalls", words, before, workload("calls"), "getppid", 23)
    rows = {r["syscall"]: (r["calls"], r["errors"]) for r in _records(result)}
    return Seen(result, rows, {"execve": (1, 0), "getppid": (23, 0)})


def sockcount(*words: object, before: Words = ()) -> Seen:
    """Send 101 packets on the loopback interface of a new network namespace."""
    return _packets("sockcount", words, before)


def tccount(*words: object, before: Words = ()) -> Seen:
    """Return the same packets in traffic control."""
    return _packets("tccount", words, before)


def xdpcount(*words: object, before: Words = ()) -> Seen:
    """Return the same packets as frames."""
    return _packets("xdpcount", words, before)


def cgroupcount(*words: object, before: Words = ()) -> Seen:
    """Send 101 datagrams, out and in, from a process in a new cgroup."""
    workload = cgroups.DATAGRAMS + 'send(socket.AF_INET, "127.0.0.1", 101, 30)'
    with packets.namespace(), cgroups.cgroup() as folder:
        words = (*words, "--cgroup", folder)
        result = _meanwhile("cgroupcount", words, before, lambda: cgroups.run_in(folder, workload))
    rows = {r["direction"]: (r["protocol"], r["packets"], r["bytes"]) for r in _records(result)}
    return Seen(result, rows, dict.fromkeys(("in", "out"), ("UDP", 101, 101 * 58)))


def socksnoop(*words: object, before: Words = ()) -> Seen:
    """Send 23 datagrams from a process in a new cgroup, each to an address."""
    workload = cgroups.DATAGRAMS + 'send(socket.AF_INET, "127.0.0.1", 23, 30)'
    with packets.namespace(), cgroups.cgroup() as folder:
        words = (*words, "--cgroup", folder)
        result = _meanwhile("socksnoop", words, before, lambda: cgroups.run_in(folder, workload))
    rows = Counter((r["call"], r["address"]) for r in _records(result))
    expected = {
        ("socket", None): 2,
        ("bind", "127.0.0.1"): 1,
        ("bound", "127.0.0.1"): 1,
        ("send", "127.0.0.1"): 23,
    }
    return Seen(result, rows, expected)


def packetsnoop(*words: object, before: Words = ()) -> Seen:
    """Send 101 packets, shown as they go out."""
    frames = [packets.ethernet("UDP", 101, packets.ETH_P_IP, packets.ipv4(17, bytes(30)))]
    with packets.namespace():
        words = (*words, "lo", "--direction", "out")
        result = _meanwhile("packetsnoop", words, before, lambda: packets.send("lo", frames))
    rows = Counter((r["protocol"], r["saddr"], r["daddr"], r["bytes"]) for r in _records(result))
    return Seen(result, rows, {("UDP", "192.0.2.1", "192.0.2.2", 64): 101})


def fanoutcount(*words: object, before: Words = ()) -> Seen:
    """Send 101 packets with the same addresses, so of one worker."""
    frames = [packets.ethernet("UDP", 101, packets.ETH_P_IP, packets.ipv4(17, bytes(30)))]
    with packets.namespace():
        result = _meanwhile("fanoutcount", [*words, "lo"], before, lambda: packets.send("lo", frames))
    return Seen(result, [(r["packets"], r["bytes"]) for r in _records(result)], [(101, 101 * 50)])


def _packets(tracer: str, words: Words, before: Words) -> Seen:
    frames = [packets.ethernet("UDP", 101, packets.ETH_P_IP, packets.ipv4(17, bytes(30)))]
    with packets.namespace():
        result = _meanwhile(tracer, [*words, "lo"], before, lambda: packets.send("lo", frames))
    rows = {r["protocol"]: (r["packets"], r["bytes"]) for r in _records(result)}
    return Seen(result, rows, packets.expected(frames, received=True))


def execsnoop(*words: object, before: Words = ()) -> Seen:
    """Execute 23 programs, in a process that is executed itself."""
    command = [workload("execs"), "times", 23, "/bin/true", "a b"]
    result = _run("execsnoop", words, before, *command)
    expected = [shlex.join(map(str, command)), *["/bin/true 'a b'"] * 23]
    return Seen(result, [r["args"] for r in _records(result)], expected)


def opensnoop(*words: object, before: Words = ()) -> Seen:
    """Make 23 opens that succeed."""
    result = _run("opensnoop", words, before, workload("opens"), "openat", 0, 23, "/dev/null")
    rows = [(r["fd"], r["err"], r["flags"], r["path"]) for r in _records(result)]
    return Seen(result, rows, [(3 + number, None, "RDONLY", "/dev/null") for number in range(23)])


def openfiles(*words: object, before: Words = ()) -> Seen:
    """Open 23 files in this process, beside those that it has open anyway."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = [stack.enter_context((Path(folder) / str(number)).open("w")) for number in range(23)]
        expected = {(file.fileno(), os.fstat(file.fileno()).st_ino) for file in files}
        result = run(*before, "openfiles", "-f", "json", "-v", *words, "-p", os.getpid())
    inodes = {inode for _, inode in expected}
    return Seen(result, {(r["fd"], r["inode"]) for r in _records(result) if r["inode"] in inodes}, expected)


def tasks(*words: object, before: Words = ()) -> Seen:
    """List this process's threads."""
    expected = {int(task.name) for task in Path("/proc/self/task").iterdir()}
    result = run(*before, "tasks", "-f", "json", "-v", *words, "-p", os.getpid())
    return Seen(result, {r["tid"] for r in _records(result)}, expected)


def tcptracer(*words: object, before: Words = ()) -> Seen:
    """Make 23 connections in a new network namespace; both ends are in this process."""

    def connect() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for _ in range(23):
                with socket.create_connection(listener.getsockname()):
                    listener.accept()[0].close()

    with packets.namespace():
        words = (*words, "--netns", "/proc/self/ns/net")
        result = _meanwhile("tcptracer", words, before, connect)
    rows = Counter((r["type"], r["pid"]) for r in _records(result))
    return Seen(
        result,
        rows,
        {(kind, os.getpid()): 23 for kind in ("connect", "accept")} | {("close", os.getpid()): 46},
    )


def biolatency(*words: object, before: Words = ()) -> Seen:
    """Make reads, writes and flushes of a loop device; requests of others are not counted."""
    expected: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder, disks.loop(Path(folder)) as device:

        def ask() -> None:
            expected.update(disks.work(device, reads=101, writes=23, flushes=7))

        result = _meanwhile("biolatency", [*words, "--by", "disk,operation"], before, ask)
    # A probe that interrupts itself, which is a loss, has to do with another disk.
    rows = {r["operation"]: r["requests"] for r in _records(result, "loss") if r["disk"] == device.name}
    return Seen(result, rows, expected)


def profile(*words: object, before: Words = ()) -> Seen:
    """Return a loop, three functions deep; its number of samples is not known."""
    result = _run("profile", words, before, workload("spin"), "user", 500)
    rows = {tuple(r["user"][1:4]) for r in _records(result) if r["user"][:1] == ["spin"]}
    return Seen(result, rows, {("b", "a", "main")})


KNOWN: dict[str, Callable[..., Seen]] = {
    one.__name__: one
    for one in (
        biolatency,
        cgroupcount,
        execsnoop,
        fanoutcount,
        openfiles,
        opensnoop,
        packetsnoop,
        profile,
        sockcount,
        socksnoop,
        syscalls,
        tasks,
        tccount,
        tcptracer,
        xdpcount,
    )
}


def _run(tracer: str, words: Words, before: Words, *command: object) -> Result:
    return run(*before, tracer, "-f", "json", "-v", *words, "--", *command)


def _meanwhile(tracer: str, words: Words, before: Words, workload: Callable[[], object]) -> Result:
    try:
        process = start(tracer, "-f", "json", *words, "-d", LONGEST, before=before)
    except EarlyExit as error:
        return error.result
    try:
        workload()
    finally:
        result = stop(process, signal.SIGTERM)
    result.err = "".join(process.messages) + result.err
    return result


def _records(result: Result, *other: str) -> list[dict[str, Any]]:
    """Return the records of a run, which must have no losses."""
    if result.status:
        return []
    assert {record["kind"] for record in result.records} <= {"summary", "row", "event", "entry", *other}, (
        result.out
    )
    return result.of("summary") + result.of("event") + result.of("entry")
