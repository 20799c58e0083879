"""The user's request, parsed and resolved, independent of the kernel."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytracer.record import default_factory, record
from pytracer.spec import Choice, Filter, Number, Source, Tracer

if TYPE_CHECKING:
    from pytracer.kernel.pcap import CompiledFilter
    from pytracer.lang import ProbeSpec
    from pytracer.lang.script import Script


_NAMED = (Filter.PID, Filter.CGROUP, Filter.NETNS, Filter.MNTNS)
"""Filters by which tasks are named that a command is none of; the others narrow the command's family."""


@record
class NameSetValue:
    """A parsed :class:`~pytracer.spec.NameSet`: the map keys, and whether they are to be left out."""

    keys: tuple[bytes, ...]
    exclude: bool


@record
class Condition:
    """Of an argument of a system call (0 to 5, 64 bits): ``argument & mask OPERATION value``."""

    index: int
    operation: str
    value: int
    mask: int = (1 << 64) - 1


@record
class Fault:
    """A kernel function or a system call that is to fail, and how: an error, ``NULL`` or ``TRUE``. All
    ``conditions`` have to hold for a call to fail."""

    function: str
    error: str
    conditions: tuple[Condition, ...] = ()


@record
class Confinement:
    """A filter of system calls for a command: classic BPF, 8 bytes for each instruction, and flags for
    seccomp(2). ``no_new_privs``: what is executed under it gains no privileges."""

    program: bytes
    flags: int = 0
    no_new_privs: bool = True


@record
class ScriptRequest:
    """A script to run.

    ``parameters`` are the values of ``$1`` and so on, ``named`` those of getopt(), ``settings`` override
    those of the script. ``unsafe``: it may change what is traced, and run commands. ``checks``: reads that
    fail are reported. ``traceable`` are the functions of the kernel that may be probed (None: all).
    """

    script: Script
    parameters: tuple[str, ...] = ()
    named: Mapping[str, str] = default_factory(factory=dict)
    settings: Mapping[str, str] = default_factory(factory=dict)
    unsafe: bool = False
    checks: bool = False
    traceable: frozenset[str] | None = None


@record
class Request:
    """One run of a tracer.

    ``options`` holds the tracer's own options by name: bool (Flag), str (Choice), int (Number), tuple of
    key names (GroupBy), NameSetValue (NameSet). ``filters`` holds the keys of each filter's map, for CGROUP
    the folders; ``viewer`` is a process in whose root file names are resolved (0: ours), ``roots``
    are processes that are traced with their descendants. ``interfaces``
    maps the index of each interface to its name, 0 for all; ``filter`` selects their packets (None: all).
    ``sources`` name the attach targets, at most ``max_probes`` (None: the plan's default). ``hooks`` forces
    alternatives by name (for tests and comparisons), ``headers`` the source of kernel types, ``pack`` a
    file with compiled programs. ``rows`` is the map capacity (None: the plan's default), ``top`` the number
    of rows shown; ``buffer`` is the size of the event ring in bytes (None: the plan's default). ``fault``
    is the fault to inject, ``probe_specs`` the probe specs, ``script`` the script, for tracers that take
    them. ``load``: the ``command`` is a load, and not itself traced. ``wait_all``: after the ``command``
    exits, the run goes on until its descendants have exited. ``audit``: the results are compared with the
    kernel's counter.
    """

    tracer: Tracer
    options: Mapping[str, object] = default_factory(factory=dict)
    filters: Mapping[Filter, tuple[bytes, ...]] = default_factory(factory=dict)
    viewer: int = 0
    roots: tuple[int, ...] = ()
    interfaces: Mapping[int, str] = default_factory(factory=dict)
    sources: tuple[Source, ...] = ()
    max_probes: int | None = None
    command: tuple[str, ...] = ()
    load: bool = False
    wait_all: bool = False
    audit: bool = False
    interval: float | None = None
    count: int | None = None
    duration: float | None = None
    top: int | None = None
    rows: int | None = None
    buffer: int | None = None
    sort: str = ""
    hooks: Mapping[str, str] = default_factory(factory=dict)
    headers: str = ""
    pack: str = ""
    filter: CompiledFilter | None = None
    fault: Fault | None = None
    probe_specs: tuple[ProbeSpec, ...] = ()
    script: ScriptRequest | None = None

    @property
    def follows(self) -> bool:
        """True if processes and their descendants are traced: those of ``roots``, or the command."""
        return bool(self.roots) or self.follows_command

    @property
    def follows_command(self) -> bool:
        """True where only the command and its descendants are traced.

        Where the tasks are named in another way, both would have to hold, and nothing would be seen: there
        the command is only the load that bounds the time, as with ``load``.
        """
        named = self.roots or any(map(self.filters.get, _NAMED))
        return bool(self.command) and not self.load and not named

    @property
    def processes(self) -> tuple[int, ...]:
        """The processes that the user named; the trace ends with the last of them."""
        named = self.filters.get(Filter.PID, ())
        return self.roots or tuple(int.from_bytes(key, sys.byteorder) for key in named)

    @property
    def process(self) -> int:
        """The traced process if there is exactly one, else 0."""
        processes = self.filters.get(Filter.PID, ())
        return int.from_bytes(processes[0], sys.byteorder) if len(processes) == 1 else 0


def number_of(name: str, request: Request) -> int:
    """Return the value of a Number option, or its default."""
    option = next(o for o in request.tracer.options if isinstance(o, Number) and o.name == name)
    value = request.options.get(name)
    return value if isinstance(value, int) else option.default


def choice_of(name: str, request: Request) -> str:
    """Return the value of a Choice option, or its default."""
    option = next(o for o in request.tracer.options if isinstance(o, Choice) and o.name == name)
    value = request.options.get(name)
    return value if isinstance(value, str) else option.default
