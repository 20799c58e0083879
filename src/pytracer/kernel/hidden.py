"""Processes that this one cannot see: outside its PID namespace, or hidden by the mount options of /proc."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pytracer.kernel.policy import effective_capabilities, in_initial_namespace
from pytracer.spec import Iterator as TaskIterator
from pytracer.spec import Tracer

_MOUNTS = Path("/proc/thread-self/mountinfo")
# Values of hidepid that leave processes out of the listing: by name since Linux 5.8 (1c6c4d112e81).
_LEAVES_OUT = ("hidepid=2", "hidepid=4", "hidepid=invisible", "hidepid=ptraceable")


def describe_pid_namespace() -> str:
    """Return a warning that processes outside this PID namespace are hidden; "" in the initial namespace."""
    if in_initial_namespace("pid") is not False:
        return ""
    return "this is a PID namespace of its own: processes outside it are hidden"


def describe_hidepid() -> str:
    """Return a message if /proc hides other users' processes (hidepid); "" if it shows all."""
    if "CAP_SYS_PTRACE" in effective_capabilities():
        return ""
    options = ""
    for line in _MOUNTS.read_text().splitlines():  # of several mounts on one another the last is seen
        fields = line.split(" ")
        if fields[4] == "/proc":
            options = fields[-1]
    option = next((word for word in options.split(",") if word in _LEAVES_OUT), "")
    return f"/proc is mounted with {option}: processes of other users are hidden" if option else ""


def warnings(tracer: Tracer) -> Iterator[str]:
    """Yield warnings about tasks that a tracer cannot list, because the kernel's iterators stay in a PID
    namespace."""
    probes = [p for hook in tracer.hooks for alternative in hook.alternatives for p in alternative.probes]
    lists_tasks = any(isinstance(p, TaskIterator) and p.of.startswith("task") for p in probes)
    if lists_tasks and (reason := describe_pid_namespace()):
        yield f"{reason}, and not listed"
