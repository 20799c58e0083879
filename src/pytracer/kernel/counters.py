"""Read counters that the kernel maintains independently of tracing."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

from pytracer.errors import UnsupportedError
from pytracer.procfs import living
from pytracer.record import record

_PROC = Path("/proc")
# Fields of /proc/diskstats after the name: completed reads, writes, discards (Linux 4.18), flushes (5.5).
_COMPLETED = (0, 4, 11, 15)


@record
class CounterScope:
    """Limits a counter to these interfaces (names; none: all) and network namespaces (inode numbers; none:
    all that a process is in)."""

    interfaces: tuple[str, ...] = ()
    netns: tuple[int, ...] = ()


@record
class Counter:
    """A counter: the file that shows it to users, and a function that reads it now."""

    source: str
    read: Callable[[CounterScope], int]


def _read_softirqs(_scope: CounterScope) -> int:
    return sum(_parse_numbers((_PROC / "softirqs").read_text().splitlines()[1:]))


def _read_interrupts(_scope: CounterScope) -> int:
    """Sum the interrupts that have a number: the others have no handlers."""
    lines = (_PROC / "interrupts").read_text().splitlines()
    cpus = len(lines[0].split())
    numbered = (line.split() for line in lines[1:] if line.split(":")[0].strip().isdigit())
    return sum(int(word) for words in numbered for word in words[1 : 1 + cpus])


def _parse_numbers(lines: Iterable[str]) -> Iterable[int]:
    return (int(word) for line in lines for word in line.split()[1:])


def _read_disk_requests(_scope: CounterScope) -> int:
    """Sum the completed requests of all disks; partitions, RAID and other stacked devices have none of
    their own."""
    disks = {path.parent.name for path in Path("/sys/block").glob("*/mq")}
    total = 0
    for line in (_PROC / "diskstats").read_text().splitlines():
        name, *fields = line.split()[2:]
        if name in disks:
            total += sum(int(fields[column]) for column in _COMPLETED if column < len(fields))
    return total


def _read_received_packets(scope: CounterScope) -> int:
    """Sum the packets that the interfaces of this thread's network namespace received."""
    total = 0
    for line in (_PROC / "thread-self/net/dev").read_text().splitlines()[2:]:
        name, _, numbers = line.partition(":")
        if not scope.interfaces or name.strip() in scope.interfaces:
            total += int(numbers.split()[1])
    return total


def _read_retransmissions(scope: CounterScope) -> int:
    return sum(_read_snmp(file, "Tcp", "RetransSegs") for file in _iter_namespaces("net/snmp", scope))


def _iter_namespaces(name: str, scope: CounterScope) -> Iterable[Path]:
    """Yield the file ``/proc/PID/NAME`` of one process of each network namespace."""
    seen_inodes = set[int]()
    processes = (int(path.name) for path in _PROC.iterdir() if path.name.isdigit())
    live_pids = (str(living(process, _PROC)) for process in processes)
    for folder in (_PROC / name for name in itertools.chain(["thread-self"], live_pids)):
        with contextlib.suppress(OSError):
            inode = (folder / "ns/net").stat().st_ino
            if inode not in seen_inodes and (not scope.netns or inode in scope.netns):
                seen_inodes.add(inode)
                yield folder / name


def _read_snmp(file: Path, protocol: str, name: str) -> int:
    lines = file.read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith(f"{protocol}:"))
    return int(values[names.index(name)])


def _make_vmstat_reader(*names: str) -> Callable[[CounterScope], int]:
    """Return a reader of the sum of the counters that begin so."""

    def read(_scope: CounterScope) -> int:
        lines = (line.split() for line in (_PROC / "vmstat").read_text().splitlines())
        return sum(int(value) for name, value in lines if name.startswith(names))

    return read


def _read_forks(_scope: CounterScope) -> int:
    lines = (_PROC / "stat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("processes "))


def _read_timeslices(_scope: CounterScope) -> int:
    """Sum how often the CPUs began to run a thread other than the idle one: the last number of each CPU's
    line (schedstat version 15 or later). Raises UnsupportedError."""
    try:
        lines = (_PROC / "schedstat").read_text().splitlines()
    except FileNotFoundError:
        raise UnsupportedError(
            "no audit: this kernel has no /proc/schedstat", hint="CONFIG_SCHEDSTATS"
        ) from None
    return sum(int(line.split()[9]) for line in lines if line.startswith("cpu"))


COUNTERS: dict[str, Counter] = {
    "softirqs": Counter("/proc/softirqs", _read_softirqs),
    "interrupts": Counter("/proc/interrupts", _read_interrupts),
    "disk_requests": Counter("/proc/diskstats", _read_disk_requests),
    "rx_packets": Counter("/proc/net/dev", _read_received_packets),
    "retransmissions": Counter("RetransSegs in /proc/net/snmp", _read_retransmissions),
    "oom_kills": Counter("oom_kill in /proc/vmstat", _make_vmstat_reader("oom_kill")),
    "reclaims": Counter("allocstall in /proc/vmstat", _make_vmstat_reader("allocstall")),
    "timeslices": Counter("timeslices in /proc/schedstat", _read_timeslices),
    "forks": Counter("processes in /proc/stat", _read_forks),
}
"""By the name that declarations use (:class:`pytracer.spec.audit.Audit`)."""
