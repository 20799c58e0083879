"""Measure what a process that is not traced pays for each of its system calls while another one is traced."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from collections.abc import Callable, Iterator

from bench.cost import CALLS, Measure, Peer, bpftrace, run_measures, run_pytracer, while_attached
from bench.measure import MissingPeerError, Result
from bench.work import work
from pytracer.bpf.attach import raw_tracepoint
from pytracer.bpf.sys import ProgType, prog_load
from pytracer.bpf.trial import return_code

OPENS = """
tracepoint:syscalls:sys_enter_openat /pid == {pid}/ { @path[tid] = args->filename; }
tracepoint:syscalls:sys_exit_openat /@path[tid]/ {
    printf("%d %s %d %s\\n", pid, comm, args->ret, str(@path[tid]));
    delete(@path[tid]);
}
"""
FEW = """
tracepoint:syscalls:sys_enter_openat /pid == {pid}/ { @start[tid] = nsecs; }
tracepoint:syscalls:sys_exit_openat /@start[tid]/ {
    @calls = count();
    @ns = sum(nsecs - @start[tid]);
    delete(@start[tid]);
}
"""
CONNECTIONS = """
tracepoint:sock:inet_sock_set_state /pid == {pid}/ { printf("%d %s %d\\n", pid, comm, args->newstate); }
tracepoint:syscalls:sys_exit_accept4 /pid == {pid}/ { printf("%d %s %d\\n", pid, comm, args->ret); }
"""
ALL = """
tracepoint:raw_syscalls:sys_enter /pid == {pid}/ { @start[tid] = nsecs; }
tracepoint:raw_syscalls:sys_exit /@start[tid]/ {
    @calls[args->id] = count();
    @ns[args->id] = sum(nsecs - @start[tid]);
    delete(@start[tid]);
}
"""


def _calls() -> float:
    return work("calls", str(CALLS), cpu=0)


@contextlib.contextmanager
def empty_programs(*events: str) -> Iterator[None]:
    """Attach an empty program to each of these raw tracepoints."""
    with contextlib.ExitStack() as stack:
        for event in events:
            program = prog_load(ProgType.RAW_TRACEPOINT, return_code(0))
            stack.callback(os.close, program)
            stack.callback(os.close, raw_tracepoint.attach_to_event(event, program))
        yield


def _at_both() -> contextlib.AbstractContextManager[None]:
    return empty_programs("sys_enter", "sys_exit")


def _script(text: str, pid: int) -> Callable[[], float]:
    return while_attached(lambda: bpftrace(text.replace("{pid}", str(pid))), _calls)


def _measure(pid: int, name: str, *words: str, script: str, target: float | None = 1.0) -> Measure:
    """Measure a tracer of the process ``pid`` beside a script for bpftrace, and two empty programs."""
    command = " ".join((*words, "-p"))
    return Measure(
        f"what {command} costs a system call of a process that is not traced",
        _calls,
        functools.partial(run_pytracer, *words, "-p", str(pid)),
        (
            Peer(f"bystander-{name}-bpftrace", "bpftrace", _script(script, pid), target),
            Peer(
                f"bystander-{name}-empty",
                "empty programs at all entries and exits",
                while_attached(_at_both, _calls),
                1.2 if name == "syscalls" else None,
            ),
        ),
    )


def measures(rounds: int) -> Iterator[Result | MissingPeerError]:
    """Measure the tracers that people leave running beside a busy server."""
    idle = subprocess.Popen(["sleep", "86400"])
    try:
        yield from run_measures(
            (
                _measure(idle.pid, "opensnoop", "opensnoop", script=OPENS),
                _measure(idle.pid, "few", "syscalls", "-e", "openat", script=FEW),
                _measure(idle.pid, "tcptracer", "tcptracer", script=CONNECTIONS),
                _measure(idle.pid, "syscalls", "syscalls", script=ALL),
            ),
            rounds,
        )
    finally:
        idle.kill()
        idle.wait()
